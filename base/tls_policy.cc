#include "base/tls_policy.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "base/net/address.h"
#include "base/openssl_free.h"
#include "base/status.h"

namespace keelson {
namespace {

struct Suite {
  std::string_view name;     // Go's
  std::string_view openssl;  // empty: refused
};

constexpr Suite kSuites[] = {
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
    {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"},
    {"TLS_RSA_WITH_RC4_128_SHA", ""},
    {"TLS_RSA_WITH_3DES_EDE_CBC_SHA", ""},
    {"TLS_RSA_WITH_AES_128_CBC_SHA", ""},
    {"TLS_RSA_WITH_AES_256_CBC_SHA", ""},
    {"TLS_RSA_WITH_AES_128_CBC_SHA256", ""},
    {"TLS_RSA_WITH_AES_128_GCM_SHA256", ""},
    {"TLS_RSA_WITH_AES_256_GCM_SHA384", ""},
    {"TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", ""},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", ""},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", ""},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", ""},
    {"TLS_ECDHE_RSA_WITH_RC4_128_SHA", ""},
    {"TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", ""},
    {"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", ""},
    {"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", ""},
    {"TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", ""},
};

using BioPtr = std::unique_ptr<BIO, OpenSslFree<BIO_free_all>>;
using CrlPtr = std::unique_ptr<X509_CRL, OpenSslFree<X509_CRL_free>>;

// Of the subject; the last, which is the most specific one, as ReadPeerCertificate has it. Empty when
// it has none.
std::string CommonNameOf(const X509* certificate) {
  std::string name;
  const X509_NAME* const subject = X509_get_subject_name(certificate);
  for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;) {
    const ASN1_STRING* const text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    name.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                static_cast<size_t>(ASN1_STRING_length(text)));
  }
  return name;
}

// Why a certificate was refused; `code` is OpenSSL's verify result.
std::string CertificateErrorText(long code) {
  // etcd's words, for servers as for clients.
  if (code == X509_V_ERR_CERT_REJECTED) return "client certificate authentication failed";
  return X509_verify_cert_error_string(code);
}

// All lists of a file, in PEM, or the one in DER.
absl::StatusOr<std::vector<CrlPtr>> ReadLists(const std::string& path) {
  errno = 0;
  const BioPtr bio(BIO_new_file(path.c_str(), "rb"));
  if (!bio) {
    const int error = errno;
    ERR_clear_error();
    return ErrnoError(error, absl::StrCat("open '", path, "'"));
  }
  std::vector<CrlPtr> lists;
  while (X509_CRL* list = PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr)) {
    lists.emplace_back(list);
  }
  const bool complete = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (lists.empty()) {
    (void)BIO_reset(bio.get());
    if (X509_CRL* list = d2i_X509_CRL_bio(bio.get(), nullptr)) lists.emplace_back(list);
    ERR_clear_error();
  } else if (!complete) {
    lists.clear();  // Half a list must not count as a whole one.
  }
  if (lists.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", path, "' is no list of revoked certificates in PEM or DER form"));
  }
  return lists;
}

// A file of revoked certificates as it is now. Thread-safe.
class RevocationFile {
 public:
  explicit RevocationFile(std::string path) : path_(std::move(path)) {}

  // OpenSSL's verify result for a certificate: X509_V_OK when it is not listed.
  int Check(const X509* certificate) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    struct stat now {};
    if (::stat(path_.c_str(), &now) != 0) {
      known_ = {};
      return X509_V_ERR_UNABLE_TO_GET_CRL;
    }
    const Signature signature{now.st_ino, now.st_size, now.st_mtim.tv_sec, now.st_mtim.tv_nsec};
    if (signature != known_ || lists_.empty()) {
      absl::StatusOr<std::vector<CrlPtr>> lists = ReadLists(path_);
      lists_.clear();
      if (lists.ok()) lists_ = *std::move(lists);
      known_ = signature;
    }
    if (lists_.empty()) return X509_V_ERR_UNABLE_TO_GET_CRL;
    for (const CrlPtr& list : lists_) {
      X509_REVOKED* entry = nullptr;
      // 2 says that an entry takes a certificate off the list again.
      if (X509_CRL_get0_by_serial(list.get(), &entry, X509_get0_serialNumber(certificate)) == 1) {
        return X509_V_ERR_CERT_REVOKED;
      }
    }
    return X509_V_OK;
  }

 private:
  using Signature = std::tuple<uint64_t, int64_t, int64_t, int64_t>;

  const std::string path_;
  absl::Mutex mu_;
  Signature known_ ABSL_GUARDED_BY(mu_);
  std::vector<CrlPtr> lists_ ABSL_GUARDED_BY(mu_);
};

// What hangs on a context.
struct State {
  TlsPolicy policy;
  std::unique_ptr<RevocationFile> revoked;  // null: none
};

int StateIndex() {
  static const int index = SSL_CTX_get_ex_new_index(
      0, nullptr, nullptr, nullptr, [](void*, void* state, CRYPTO_EX_DATA*, int, long, void*) {
        delete static_cast<State*>(state);
      });
  return index;
}

State* StateOf(const SSL* ssl) {
  return static_cast<State*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), StateIndex()));
}

bool IsFor(X509* certificate, const std::string& host) {
  unsigned char bytes[16];
  if (::inet_pton(AF_INET, host.c_str(), bytes) == 1 ||
      ::inet_pton(AF_INET6, host.c_str(), bytes) == 1) {
    return X509_check_ip_asc(certificate, host.c_str(), 0) == 1;
  }
  // The common name says nothing about hosts, as in Go.
  constexpr unsigned kFlags =
      X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
  return X509_check_host(certificate, host.data(), host.size(), kFlags, nullptr) == 1;
}

int Verify(int accepted, X509_STORE_CTX* store) {
  if (accepted != 1) return accepted;
  const auto* ssl = static_cast<const SSL*>(
      X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  const State* const state = StateOf(ssl);
  X509* const certificate = X509_STORE_CTX_get_current_cert(store);
  if (state == nullptr || certificate == nullptr) return 0;
  int verdict = X509_V_OK;
  if (state->revoked != nullptr) verdict = state->revoked->Check(certificate);
  if (verdict == X509_V_OK && X509_STORE_CTX_get_error_depth(store) == 0) {
    const TlsPolicy& policy = state->policy;
    const std::vector<std::string>& names = policy.allowed_common_names;
    const std::vector<std::string>& hosts = policy.allowed_hosts;
    const bool named =
        names.empty() || std::count(names.begin(), names.end(), CommonNameOf(certificate)) > 0;
    const bool placed = hosts.empty() || std::any_of(hosts.begin(), hosts.end(),
                                                     [certificate](const std::string& host) {
                                                       return IsFor(certificate, host);
                                                     });
    if (!named || !placed) verdict = X509_V_ERR_CERT_REJECTED;
  }
  if (verdict == X509_V_OK) return 1;
  X509_STORE_CTX_set_error(store, verdict);
  return 0;
}

std::string PeerOf(const SSL* ssl) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  const int fd = SSL_get_rfd(ssl);
  if (fd < 0 || ::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return "unknown";
  }
  return net::AddressText(reinterpret_cast<const sockaddr*>(&address), size);
}

void OnEvent(const SSL* ssl, int where, int alert) {
  if ((where & SSL_CB_ALERT) == 0 || *SSL_alert_type_string(alert) != 'F') return;
  const State* const state = StateOf(ssl);
  if (state == nullptr || !state->policy.on_failure) return;
  const std::string words = absl::StrCat("tls: ", SSL_alert_desc_string_long(alert));
  std::string why = words;
  if ((where & SSL_CB_READ) != 0) {
    why = absl::StrCat("remote error: ", words);
  } else if (const long verified = SSL_get_verify_result(ssl); verified != X509_V_OK) {
    why = CertificateErrorText(verified);
  }
  state->policy.on_failure(PeerOf(ssl), why);
}

int VersionNumber(TlsVersion version) {
  return version == TlsVersion::kTls12 ? TLS1_2_VERSION : TLS1_3_VERSION;
}

}  // namespace

absl::StatusOr<TlsCipherSuites> ParseTlsCipherSuites(const std::vector<std::string>& names) {
  TlsCipherSuites suites;
  std::vector<std::string_view> kept;
  bool tls13 = false;
  for (const std::string& name : names) {
    // Those of TLS 1.3 cannot be chosen, neither here nor in Go: they are all in use.
    if (name == "TLS_AES_128_GCM_SHA256" || name == "TLS_AES_256_GCM_SHA384" ||
        name == "TLS_CHACHA20_POLY1305_SHA256") {
      tls13 = true;
      continue;
    }
    const Suite* found = nullptr;
    for (const Suite& suite : kSuites) {
      if (suite.name == name) found = &suite;
    }
    if (found == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("unexpected TLS cipher suite \"", name, "\""));
    }
    if (found->openssl.empty()) {
      suites.refused.push_back(name);
    } else {
      kept.push_back(found->openssl);
    }
  }
  if (kept.empty() && !tls13) {
    return absl::InvalidArgumentError(absl::StrCat("no suite with ECDHE and an AEAD is left of ",
                                                   absl::StrJoin(suites.refused, ", ")));
  }
  for (const std::string_view name : kept) {
    suites.tls12.append(suites.tls12.empty() ? "" : ":").append(name);
  }
  return suites;
}

namespace {

absl::Status Apply(SSL_CTX* ctx, const TlsPolicy& policy) {
  const bool ciphers_fit = policy.tls12_ciphers.empty() ||
                           SSL_CTX_set_cipher_list(ctx, policy.tls12_ciphers.c_str()) == 1;
  if (policy.max_version < policy.min_version) {
    return absl::InvalidArgumentError("the highest version of TLS is below the lowest");
  }
  if (!ciphers_fit || SSL_CTX_set_min_proto_version(ctx, VersionNumber(policy.min_version)) != 1 ||
      SSL_CTX_set_max_proto_version(ctx, VersionNumber(policy.max_version)) != 1) {
    return absl::InvalidArgumentError(absl::StrCat("TLS policy: ", TakeTlsErrors()));
  }
  auto state = std::make_unique<State>();
  state->policy = policy;
  if (!policy.crl_file.empty()) {
    KEELSON_RETURN_IF_ERROR(ReadLists(policy.crl_file).status());
    state->revoked = std::make_unique<RevocationFile>(policy.crl_file);
  }
  if (SSL_CTX_set_ex_data(ctx, StateIndex(), state.get()) != 1) {
    return absl::ResourceExhaustedError("TLS policy: no memory");
  }
  (void)state.release();  // The context's now.
  if (policy.on_failure) SSL_CTX_set_info_callback(ctx, OnEvent);
  const int mode = SSL_CTX_get_verify_mode(ctx);
  if (policy.LooksAtCertificates() && mode != SSL_VERIFY_NONE) {
    SSL_CTX_set_verify(ctx, mode, Verify);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ApplyTlsPolicy(const TlsServerContext& context, const TlsPolicy& policy) {
  const int mode = SSL_CTX_get_verify_mode(context.ssl_ctx());
  if (policy.LooksAtCertificates() && (mode & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) == 0) {
    return absl::InvalidArgumentError(
        "who need not show a certificate cannot be held to what stands in it");
  }
  return Apply(context.ssl_ctx(), policy);
}

absl::Status ApplyTlsPolicy(const TlsClientContext& context, const TlsPolicy& policy) {
  return Apply(context.ssl_ctx(), policy);
}

}  // namespace keelson
