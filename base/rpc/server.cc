#include "base/rpc/server.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/rpc/internal/loop.h"

namespace keelson::rpc {
namespace {

class ServerImpl final : public Server {
 public:
  explicit ServerImpl(const ServerOptions& options) : options_(options) {
    if (options_.threads <= 0) {
      options_.threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / 2);
    }
  }
  ~ServerImpl() override { Stop(absl::ZeroDuration()); }

  void Register(Method method) override {
    KEELSON_CHECK(loops_.empty()) << "registered after the start";
    KEELSON_CHECK(method.start != nullptr) << method.path;
    const std::string path = method.path;
    KEELSON_CHECK(methods_.emplace(path, std::move(method)).second) << path << " twice";
  }

  void Start() override {
    absl::MutexLock lock(&mu_);
    std::vector<EventLoop*> threads = options_.loops;
    if (threads.empty()) {
      for (int i = 0; i < options_.threads; ++i) {
        threads.push_back(own_.emplace_back(std::make_unique<EventLoop>("rpc")).get());
      }
    }
    for (EventLoop* const thread : threads) {
      loops_.push_back(std::make_shared<internal::Loop>(thread, &options_, &methods_, &counters_));
    }
  }

  void Adopt(UniqueFd fd, bool tls) override {
    KEELSON_CHECK(!tls || options_.tls != nullptr) << "a TLS connection without a certificate";
    absl::MutexLock lock(&mu_);
    if (stopped_ || loops_.empty()) return;
    loops_[next_loop_++ % loops_.size()]->Adopt(std::move(fd), tls);
  }

  void Stop(absl::Duration grace) override {
    {
      absl::MutexLock lock(&mu_);
      if (std::exchange(stopped_, true)) return;
    }
    for (const auto& loop : loops_) loop->Drain();
    const absl::Duration deadline = RealClock().Monotonic() + grace;
    for (const auto& loop : loops_) {
      (void)loop->WaitUntilDrained(
          std::max(deadline - RealClock().Monotonic(), absl::ZeroDuration()));
    }
    for (const auto& loop : loops_) loop->Stop();
    for (const auto& thread : own_) thread->Stop();
  }

  ServerStats Stats() const override {
    return {.connections = counters_.connections,
            .calls = counters_.calls,
            .connections_total = counters_.connections_total,
            .calls_total = counters_.calls_total,
            .received_bytes_total = counters_.received_bytes_total,
            .sent_bytes_total = counters_.sent_bytes_total};
  }

 private:
  ServerOptions options_;
  internal::Methods methods_;
  internal::Counters counters_;
  absl::Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  size_t next_loop_ ABSL_GUARDED_BY(mu_) = 0;
  // Constant once started.
  std::vector<std::unique_ptr<EventLoop>> own_;
  std::vector<std::shared_ptr<internal::Loop>> loops_;
};

}  // namespace

std::unique_ptr<Server> Server::Create(const ServerOptions& options) {
  return std::make_unique<ServerImpl>(options);
}

}  // namespace keelson::rpc
