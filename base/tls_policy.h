// What a TLS listener or caller asks of connections beyond base/tls.h: versions, suites, names, and
// certificates that are not revoked.
//
//   KEELSON_ASSIGN_OR_RETURN(auto context, TlsServerContext::Create(material));
//   KEELSON_RETURN_IF_ERROR(ApplyTlsPolicy(*context, {.allowed_common_names = {"member"}}));
#ifndef KEELSON_BASE_TLS_POLICY_H_
#define KEELSON_BASE_TLS_POLICY_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/tls.h"

namespace keelson {

enum class TlsVersion : uint8_t { kTls12, kTls13 };

struct TlsPolicy {
  // OpenSSL's names, joined by ':', for TLS 1.2 (see ParseTlsCipherSuites); empty: those of tls.h.
  std::string tls12_ciphers = {};
  TlsVersion min_version = TlsVersion::kTls12;
  TlsVersion max_version = TlsVersion::kTls13;
  // The other side's certificate must have one of these common names; empty: any.
  std::vector<std::string> allowed_common_names = {};
  // It must be for one of these host names and IP addresses; empty: any.
  std::vector<std::string> allowed_hosts = {};
  // Certificates with a serial number of this list (DER or PEM) are refused, wherever in the chain
  // they stand. As in etcd neither the list's signature nor its age counts. The file is read
  // again when it has changed; while it cannot be read every certificate is refused.
  std::string crl_file = {};
  // Called, on the thread of the connection, when a handshake fails by an alert of either side:
  // "remote error: tls: bad certificate". `peer` is an address, or "unknown". May be null.
  std::function<void(std::string_view peer, std::string_view why)> on_failure = {};

  // Whether something is asked of the other side's certificate.
  [[nodiscard]] bool LooksAtCertificates() const {
    return !allowed_common_names.empty() || !allowed_hosts.empty() || !crl_file.empty();
  }
};

// For every connection made from `context` from now on; before the first one.
//
// INVALID_ARGUMENT: max_version below min_version, suites that OpenSSL does not know, names or a
// list for a server that does not insist on certificates, a list that is none; any other from
// reading it.
absl::Status ApplyTlsPolicy(const TlsServerContext& context, const TlsPolicy& policy);
absl::Status ApplyTlsPolicy(const TlsClientContext& context, const TlsPolicy& policy);

// Names of suites as Go and the IANA spell them (TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256).
struct TlsCipherSuites {
  std::string tls12 = {};                 // for TlsPolicy
  std::vector<std::string> refused = {};  // known, but without ECDHE or AEAD, so left out
};
// INVALID_ARGUMENT: a name that is not known, or no suite that remains.
absl::StatusOr<TlsCipherSuites> ParseTlsCipherSuites(const std::vector<std::string>& names);

}  // namespace keelson

#endif  // KEELSON_BASE_TLS_POLICY_H_
