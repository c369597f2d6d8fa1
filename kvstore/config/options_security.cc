// The flags about certificates, users and who may ask.
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "kvstore/config/internal/raw_options.h"

namespace keelson::kvstore::internal {
namespace {

std::vector<std::string> WordsOf(const std::string& list) {
  std::vector<std::string> words;
  for (absl::string_view word : absl::StrSplit(list, ',')) {
    word = absl::StripAsciiWhitespace(word);
    if (!word.empty()) words.emplace_back(word);
  }
  return words;
}

// A list without a name would be no restriction.
absl::Status SetNames(const char* flag, const std::string& list, std::vector<std::string>& names) {
  names = WordsOf(list);
  return list.empty() == names.empty() ? absl::OkStatus() : Bad(flag, "names nobody");
}

absl::Status CheckTls(const TlsFiles& files, const TlsPolicy& policy, bool cert_auth,
                      const std::string& prefix) {
  if (files.cert_file.empty() != files.key_file.empty()) {
    return Bad(files.cert_file.empty() ? prefix + "cert-file" : prefix + "key-file",
               absl::StrCat("must be set together with --",
                            files.cert_file.empty() ? prefix + "key-file" : prefix + "cert-file"));
  }
  if (cert_auth && files.ca_file.empty()) {
    return Bad(prefix + "client-cert-auth", absl::StrCat("needs --", prefix, "trusted-ca-file"));
  }
  if (!policy.allowed_common_names.empty() && !policy.allowed_hosts.empty()) {
    return Bad(prefix + "cert-allowed-cn",
               absl::StrCat("cannot be set together with --", prefix, "cert-allowed-hostname"));
  }
  const std::pair<std::string, bool> need_certificates[] = {
      {prefix + "cert-allowed-cn", !policy.allowed_common_names.empty()},
      {(prefix.empty() ? "client-" : prefix) + "cert-allowed-hostname",
       !policy.allowed_hosts.empty()},
      {(prefix.empty() ? "client-" : prefix) + "crl-file", !policy.crl_file.empty()}};
  for (const auto& [flag, set] : need_certificates) {
    if (set && files.ca_file.empty()) {
      return Bad(flag, absl::StrCat("needs --", prefix, "trusted-ca-file"));
    }
  }
  return absl::OkStatus();
}

absl::Status SetPolicy(const RawOptions& raw, TlsPolicy& policy,
                       std::vector<std::string>& warnings) {
  const auto version = [](const char* flag, const std::string& text, TlsVersion otherwise,
                          TlsVersion& out) {
    out = text == "TLS1.2" ? TlsVersion::kTls12 : text == "TLS1.3" ? TlsVersion::kTls13 : otherwise;
    if (text.empty() || text == "TLS1.2" || text == "TLS1.3") return absl::OkStatus();
    return Bad(flag, absl::StrCat("'", text, "' is neither TLS1.2 nor TLS1.3"));
  };
  KEELSON_RETURN_IF_ERROR(
      version("tls-min-version", raw.tls_min_version, TlsVersion::kTls12, policy.min_version));
  KEELSON_RETURN_IF_ERROR(
      version("tls-max-version", raw.tls_max_version, TlsVersion::kTls13, policy.max_version));
  if (policy.max_version < policy.min_version) {
    return Bad("tls-max-version",
               absl::StrCat("is below --tls-min-version, ", raw.tls_min_version));
  }
  const std::vector<std::string> names = WordsOf(raw.cipher_suites);
  if (names.empty()) return absl::OkStatus();
  if (policy.min_version == TlsVersion::kTls13) {
    return Bad("cipher-suites", "the suites of TLS 1.3 cannot be chosen");
  }
  absl::StatusOr<TlsCipherSuites> suites = ParseTlsCipherSuites(names);
  if (!suites.ok()) return Bad("cipher-suites", suites.status().message());
  policy.tls12_ciphers = std::move(suites->tls12);
  if (!suites->refused.empty()) {
    warnings.push_back(absl::StrCat("--cipher-suites: without ECDHE or an AEAD, so not used: ",
                                    absl::StrJoin(suites->refused, ", ")));
  }
  return absl::OkStatus();
}

}  // namespace

void RegisterSecurityFlags(FlagSet& flags, RawOptions& raw, Options& options) {
  flags.Section("Security");
  flags.String("auth-token", &options.auth_token,
               "Kind of token of users: 'simple', or 'jwt,sign-method=RS256,pub-key=FILE,"
               "priv-key=FILE,ttl=5m'.");
  flags.Uint64("auth-token-ttl", &raw.auth_token_ttl_s,
               "Seconds after its last use that a simple token is good for.");
  flags.Uint64("bcrypt-cost", &raw.bcrypt_cost, "Cost of hashing passwords, from 4 to 31.");
  const auto side = [&flags](const std::string& prefix, const std::string& what, TlsFiles& files,
                             TlsPolicy& policy, bool& cert_auth, std::string& hosts) {
    flags.String(prefix + "cert-file", &files.cert_file, "Certificate for " + what + " traffic.");
    flags.String(prefix + "key-file", &files.key_file, "Key for " + what + " traffic.");
    flags.String(prefix + "trusted-ca-file", &files.ca_file,
                 "Certificate authorities; " + what + " connections without a certificate of " +
                     "theirs are refused.");
    flags.Bool(prefix + "client-cert-auth", &cert_auth,
               "Insist on --" + prefix + "trusted-ca-file" +
                   (prefix.empty() ? ", and know users by the name in their certificate." : "."));
    const std::string own = prefix.empty() ? "client-" : prefix;
    flags.String(own + "crl-file", &policy.crl_file,
                 "List of certificates that are refused in " + what +
                     " connections; read again when it changes.");
    flags.String(own + "cert-allowed-hostname", &hosts,
                 "Host names and addresses; " + what + " certificates must be for one of them.");
    flags.Alias(own + "allowed-hostname", own + "cert-allowed-hostname");  // in files
  };
  side("", "client", options.client_tls, options.client_tls_policy, raw.client_cert_auth,
       raw.client_allowed_hosts);
  flags.Bool("auto-tls", &options.client_auto_tls,
             "Without --cert-file: serve clients with a certificate made at the first start.");
  side("peer-", "peer", options.peer_tls, options.peer_tls_policy, raw.peer_client_cert_auth,
       raw.peer_allowed_hosts);
  flags.String("peer-cert-allowed-cn", &raw.peer_allowed_names,
               "Common names; peer certificates must have one of them.");
  flags.Alias("peer-allowed-cn", "peer-cert-allowed-cn");  // in files
  flags.String("peer-client-cert-file", &options.peer_client_cert_file,
               "Certificate for calling members; empty means --peer-cert-file.");
  flags.String("peer-client-key-file", &options.peer_client_key_file,
               "Key for calling members; empty means --peer-key-file.");
  flags.Bool(
      "peer-auto-tls", &options.peer_auto_tls,
      "Without --peer-cert-file: speak TLS with members, each with a certificate that it made "
      "itself and nobody verifies.");
  flags.Uint64("self-signed-cert-validity", &raw.self_signed_years,
               "Years that such certificates are valid.");
  flags.String("cipher-suites", &raw.cipher_suites,
               "Suites for TLS 1.2 by Go's names; only those with ECDHE and an AEAD are used.");
  flags.String("tls-min-version", &raw.tls_min_version, "TLS1.2 or TLS1.3.");
  flags.String("tls-max-version", &raw.tls_max_version, "TLS1.2 or TLS1.3; empty means 1.3.");
  flags.String("host-whitelist", &raw.host_whitelist,
               "Host names that HTTP requests without TLS may ask for; '*' means any.");
  flags.String("cors", &raw.cors, "Origins whose pages may read answers; '*' means any.");
}

absl::Status SetTls(const RawOptions& raw, Options& options, std::vector<std::string>& warnings) {
  TlsPolicy& peer_policy = options.peer_tls_policy;
  KEELSON_RETURN_IF_ERROR(SetNames("client-cert-allowed-hostname", raw.client_allowed_hosts,
                                   options.client_tls_policy.allowed_hosts));
  KEELSON_RETURN_IF_ERROR(
      SetNames("peer-cert-allowed-hostname", raw.peer_allowed_hosts, peer_policy.allowed_hosts));
  KEELSON_RETURN_IF_ERROR(
      SetNames("peer-cert-allowed-cn", raw.peer_allowed_names, peer_policy.allowed_common_names));
  KEELSON_RETURN_IF_ERROR(
      CheckTls(options.client_tls, options.client_tls_policy, raw.client_cert_auth, ""));
  KEELSON_RETURN_IF_ERROR(
      CheckTls(options.peer_tls, options.peer_tls_policy, raw.peer_client_cert_auth, "peer-"));
  if (options.peer_client_cert_file.empty() != options.peer_client_key_file.empty()) {
    return Bad("peer-client-cert-file", "must be set together with --peer-client-key-file");
  }
  if (!options.peer_client_cert_file.empty() && options.peer_tls.cert_file.empty()) {
    return Bad("peer-client-cert-file", "needs --peer-cert-file");
  }
  KEELSON_RETURN_IF_ERROR(SetPolicy(raw, options.client_tls_policy, warnings));
  std::vector<std::string> again;
  KEELSON_RETURN_IF_ERROR(SetPolicy(raw, options.peer_tls_policy, again));
  if (raw.self_signed_years == 0 || raw.self_signed_years > 100) {
    return Bad("self-signed-cert-validity", "must be 1 to 100 years");
  }
  options.auto_tls_validity = absl::Hours(24 * 365) * raw.self_signed_years;
  const auto ignore = [&warnings](const char* flag, const TlsFiles& files, bool& auto_tls) {
    if (!auto_tls || files.cert_file.empty()) return;
    auto_tls = false;
    warnings.push_back(absl::StrCat("--", flag, ": ignored, since a certificate is given"));
  };
  ignore("auto-tls", options.client_tls, options.client_auto_tls);
  ignore("peer-auto-tls", options.peer_tls, options.peer_auto_tls);
  // As in etcd, to name authorities is to insist on their certificates.
  options.client_cert_auth = raw.client_cert_auth;
  options.client_tls.require_client_cert = !options.client_tls.ca_file.empty();
  options.peer_tls.require_client_cert = !options.peer_tls.ca_file.empty();
  return absl::OkStatus();
}

absl::Status SetAuth(const RawOptions& raw, Options& options) {
  const std::string& token = options.auth_token;
  if (token != "simple" && token != "jwt" && !token.starts_with("simple,") &&
      !token.starts_with("jwt,")) {
    return Bad("auth-token", absl::StrCat("'", token, "' is neither 'simple' nor 'jwt,...'"));
  }
  if (raw.bcrypt_cost < 4 || raw.bcrypt_cost > 31) return Bad("bcrypt-cost", "must be 4 to 31");
  constexpr uint64_t kYear = 365 * 86400;
  if (raw.auth_token_ttl_s == 0 || raw.auth_token_ttl_s > kYear) {
    return Bad("auth-token-ttl", absl::StrCat("must be 1 to ", kYear));
  }
  options.bcrypt_cost = static_cast<int>(raw.bcrypt_cost);
  options.auth_token_ttl = absl::Seconds(static_cast<int64_t>(raw.auth_token_ttl_s));
  return absl::OkStatus();
}

absl::Status SetHttpAccess(const RawOptions& raw, Options& options) {
  const auto set = [](const std::string& list) {
    const std::vector<std::string> words = WordsOf(list);
    // As in etcd, an empty list is no restriction.
    if (words.empty()) return std::set<std::string>{"*"};
    return std::set<std::string>(words.begin(), words.end());
  };
  options.host_whitelist = set(raw.host_whitelist);
  options.cors = set(raw.cors);
  for (const std::string& origin : options.cors) {
    if (origin == "*") continue;
    const absl::StatusOr<Url> url = ParseUrl(origin);
    if (!url.ok()) return Bad("cors", url.status().message());
  }
  return absl::OkStatus();
}

}  // namespace keelson::kvstore::internal
