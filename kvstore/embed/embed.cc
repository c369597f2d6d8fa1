#include "kvstore/embed/embed.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/event_loop.h"
#include "base/logging.h"
#include "base/metrics.h"
#include "base/rpc/local.h"
#include "base/status.h"
#include "kvstore/client/internal/rpc_client.h"
#include "kvstore/client/internal/thread_runtime.h"
#include "kvstore/config/options.h"
#include "kvstore/daemon/member.h"

namespace keelson::kvstore {
namespace {

constexpr char kEndpoint[] = "embedded";

// A folder that lives in memory while this does.
class MemoryFolder {
 public:
  ~MemoryFolder() {
    std::error_code ignored;  // It is not worth ending a program for.
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  absl::Status Make() {
    std::string path = "/dev/shm/keelson-store-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr)
      return ErrnoError(errno, absl::StrCat("make '", path, "'"));
    path_ = path;
    return absl::OkStatus();
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// What the store's clients call. Shared with them, since they may outlive it.
struct Services {
  explicit Services(Member& member)
      : server(rpc::LocalServer::Create(
            {.loop = &loop,
             .run_on_loop = [this](const Executor::Task& task) { loop.Await(task); }})) {
    member.RegisterServices(server.get(), &metrics);
    server->Start();
  }
  ~Services() { Stop(); }
  void Stop() {
    server->Stop(absl::ZeroDuration());
    loop.Stop();
  }

  EventLoop loop{"kv-embed"};
  MetricRegistry metrics;
  std::unique_ptr<rpc::LocalServer> server;
};

class LocalRuntime final : public client_internal::ThreadRuntime {
 public:
  explicit LocalRuntime(std::shared_ptr<Services> services) : services_(std::move(services)) {}
  ~LocalRuntime() override { Stop(); }

  absl::StatusOr<std::unique_ptr<rpc::Channel>> Open(const std::string& endpoint) override {
    return services_->server->Connect(
        {.name = endpoint, .loop = &loop(), .run_on_loop = [this](const Executor::Task& task) {
           RunOnLoop(task);
         }});
  }

 private:
  const std::shared_ptr<Services> services_;
};

absl::StatusOr<Options> ReadOptions(const EmbedOptions& embed, const std::string& directory) {
  std::vector<std::string> flags = {absl::StrCat("--data-dir=", directory)};
  if (!embed.listen_client_urls.empty()) {
    flags.push_back(
        absl::StrCat("--listen-client-urls=", absl::StrJoin(embed.listen_client_urls, ",")));
    flags.push_back(
        absl::StrCat("--advertise-client-urls=", absl::StrJoin(embed.listen_client_urls, ",")));
  }
  bool listens_to_peers = false;
  for (const std::string& flag : embed.flags) {
    listens_to_peers |= flag.find("listen-peer-urls") != std::string::npos;
    flags.push_back(flag);
  }
  KEELSON_ASSIGN_OR_RETURN(CommandLine line, ParseCommandLine(flags, {}));
  if (line.text.has_value()) {
    return absl::InvalidArgumentError("a flag that only prints something is of no use here");
  }
  for (const std::string& warning : line.warnings) LogWarning(warning);
  if (embed.listen_client_urls.empty()) {
    line.options.listen_client_urls.clear();
    line.options.advertise_client_urls.clear();
  }
  if (!listens_to_peers) line.options.listen_peer_urls.clear();
  if (embed.directory.empty()) line.options.unsafe_no_fsync = true;
  return std::move(line.options);
}

class EmbeddedStoreImpl final : public EmbeddedStore {
 public:
  explicit EmbeddedStoreImpl(EmbedOptions options) : options_(std::move(options)) {}
  ~EmbeddedStoreImpl() override { Stop(); }

  absl::Status Init() {
    std::string directory = options_.directory;
    if (directory.empty()) {
      KEELSON_RETURN_IF_ERROR(memory_.Make());
      directory = memory_.path() + "/store";
    }
    KEELSON_ASSIGN_OR_RETURN(const Options options, ReadOptions(options_, directory));
    // Shared: the member may be ready after we have given up.
    const auto ready = std::make_shared<absl::Notification>();
    Member::Hooks hooks;
    hooks.on_ready = [ready] { ready->Notify(); };
    hooks.on_removed = [] { LogError("this member has been removed from the cluster"); };
    hooks.on_fatal = [told = options_.on_fatal](const absl::Status& status) {
      LogError("the embedded store cannot go on", {{"err", status}});
      if (told) return told(status);
      ShutdownLogging();
      std::abort();
    };
    KEELSON_ASSIGN_OR_RETURN(member_, Member::Start(options, std::move(hooks)));
    services_ = std::make_shared<Services>(*member_);
    if (!ready->WaitForNotificationWithTimeout(options_.start_timeout)) {
      return absl::DeadlineExceededError(absl::StrCat(
          "the store does not serve after ", absl::FormatDuration(options_.start_timeout)));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<Client>> NewClient(EmbedClientOptions options) override {
    return client_internal::MakeClient(std::make_unique<LocalRuntime>(services_), {kEndpoint},
                                       {.dial_timeout = options.command_timeout,
                                        .command_timeout = options.command_timeout,
                                        .user = std::move(options.user),
                                        .password = std::move(options.password)});
  }

  void Stop() override {
    absl::MutexLock lock(&stop_mu_);
    if (std::exchange(stopped_, true)) return;
    if (services_ != nullptr) services_->Stop();
    if (member_ != nullptr) member_->Stop();
  }

  [[nodiscard]] std::vector<std::string> client_addresses() const override {
    return member_->client_addresses();
  }

 private:
  const EmbedOptions options_;
  MemoryFolder memory_;  // Goes last.
  std::unique_ptr<Member> member_;
  std::shared_ptr<Services> services_;  // Its handlers use the member until Stop.
  absl::Mutex stop_mu_;
  bool stopped_ ABSL_GUARDED_BY(stop_mu_) = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<EmbeddedStore>> EmbeddedStore::Start(EmbedOptions options) {
  auto store = std::make_unique<EmbeddedStoreImpl>(std::move(options));
  KEELSON_RETURN_IF_ERROR(store->Init());
  return store;
}

}  // namespace keelson::kvstore
