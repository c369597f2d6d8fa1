#include "kvstore/daemon/member_tls.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/logging.h"
#include "base/status.h"
#include "kvstore/client/certificate_reload.h"
#include "kvstore/config/data_dir.h"
#include "kvstore/daemon/self_signed.h"

namespace keelson::kvstore {
namespace {

// Logs connections that failed, without filling the disk for who makes many.
class FailureLog {
 public:
  explicit FailureLog(std::string traffic) : traffic_(std::move(traffic)) {}

  void Add(std::string_view peer, std::string_view why) ABSL_LOCKS_EXCLUDED(mu_) {
    uint64_t unsaid = 0;
    {
      absl::MutexLock lock(&mu_);
      const absl::Duration now = RealClock().Monotonic();
      if (now - period_start_ >= kPeriod) {
        period_start_ = now;
        said_ = 0;
      }
      if (said_ >= kSaidMax) {
        ++unsaid_;
        return;
      }
      ++said_;
      unsaid = std::exchange(unsaid_, 0);
    }
    // etcd's words.
    LogWarning(absl::StrCat("rejected connection on ", traffic_, " endpoint"),
               {{"remote", std::string(peer)},
                {"error", std::string(why)},
                {"others_not_logged", unsaid}});
  }

 private:
  static constexpr absl::Duration kPeriod = absl::Seconds(10);
  static constexpr int kSaidMax = 20;

  const std::string traffic_;
  absl::Mutex mu_;
  absl::Duration period_start_ ABSL_GUARDED_BY(mu_) = -absl::InfiniteDuration();
  int said_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t unsaid_ ABSL_GUARDED_BY(mu_) = 0;
};

absl::StatusOr<ListenerTls> Load(FileSystem& fs, TlsFiles files, const TlsPolicy& policy,
                                 const std::string& traffic, const SelfSignedOptions* own) {
  if (own != nullptr) {
    KEELSON_ASSIGN_OR_RETURN(const TlsFiles made,
                             SelfSignedCertificate(fs, *own, RealClock().Now()));
    files.cert_file = made.cert_file;
    files.key_file = made.key_file;
  }
  ListenerTls tls{.files = files, .material = {}, .policy = policy};
  if (files.cert_file.empty()) return tls;
  const auto log = std::make_shared<FailureLog>(traffic);
  tls.policy.on_failure = [log](std::string_view peer, std::string_view why) {
    log->Add(peer, why);
  };
  KEELSON_ASSIGN_OR_RETURN(tls.material, LoadTlsMaterial(files));
  return tls;
}

SelfSignedOptions OwnCertificate(const std::string& directory, const Options& options,
                                 const std::vector<Url>& urls) {
  SelfSignedOptions own{.directory = directory, .validity = options.auto_tls_validity};
  for (const Url& url : urls) {
    if (!url.is_socket()) own.hosts.push_back(url.host);
  }
  if (own.hosts.empty()) own.hosts.emplace_back("localhost");
  return own;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const TlsServerContext>> ListenerTls::MakeContext(
    TlsProtocol protocol) const {
  KEELSON_ASSIGN_OR_RETURN(auto context, TlsServerContext::Create(material, protocol));
  KEELSON_RETURN_IF_ERROR(ApplyTlsPolicy(*context, policy));
  FollowCertificate(
      *context->ssl_ctx(),
      {.cert_file = files.cert_file,
       .key_file = files.key_file,
       .on_trouble = [](const absl::Status& status) {
         LogError("the new certificate cannot be used, keeping the old one", {{"err", status}});
       }});
  return context;
}

absl::StatusOr<std::shared_ptr<const TlsClientContext>> MemberTls::MakeCallerContext() const {
  KEELSON_ASSIGN_OR_RETURN(auto context,
                           TlsClientContext::Create(peer_caller, TlsProtocol::kHttp2));
  KEELSON_RETURN_IF_ERROR(ApplyTlsPolicy(*context, called_policy));
  return context;
}

absl::StatusOr<MemberTls> LoadMemberTls(FileSystem& fs, const Options& options) {
  const DataDir paths = DataDirAt(options.data_dir, options.wal_dir);
  const SelfSignedOptions for_clients =
      OwnCertificate(paths.client_certificate, options, options.listen_client_urls);
  const SelfSignedOptions for_peers =
      OwnCertificate(paths.peer_certificate, options, options.listen_peer_urls);
  MemberTls tls;
  KEELSON_ASSIGN_OR_RETURN(tls.client,
                           Load(fs, options.client_tls, options.client_tls_policy, "client",
                                options.client_auto_tls ? &for_clients : nullptr));
  KEELSON_ASSIGN_OR_RETURN(tls.peer, Load(fs, options.peer_tls, options.peer_tls_policy, "peer",
                                          options.peer_auto_tls ? &for_peers : nullptr));
  if (options.peer_auto_tls) {
    // Nobody's certificate is looked at, so none is asked for.
    tls.peer.material.verify_peer = false;
    tls.peer.material.require_client_cert = false;
  }
  tls.peer_caller = tls.peer.material;
  tls.called_policy = options.peer_tls_policy;
  if (!options.peer_client_cert_file.empty()) {
    TlsFiles caller = options.peer_tls;
    caller.cert_file = options.peer_client_cert_file;
    caller.key_file = options.peer_client_key_file;
    KEELSON_ASSIGN_OR_RETURN(tls.peer_caller, LoadTlsMaterial(caller));
  }
  return tls;
}

}  // namespace keelson::kvstore
