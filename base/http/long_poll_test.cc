// Ten thousand requests that wait at once: they cost descriptors and memory, not threads.
// The clients live in a process of their own, since both ends together need twice the descriptors.
#include <catch2/catch.hpp>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "base/http/client.h"
#include "base/http/message.h"
#include "base/http/server.h"
#include "base/testing/status_matchers.h"

namespace keelson::http {
namespace {

#ifdef KEELSON_SANITIZED
constexpr int kWaiters = 2'000;  // A sanitizer needs several times the memory and time.
#else
constexpr int kWaiters = 10'000;
#endif
constexpr int kOtherFds = 100;

// Raises the soft limit to the hard one and returns it.
int RaiseFdLimit() {
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  return static_cast<int>(std::min<rlim_t>(limit.rlim_max, 1'000'000));
}

size_t ThreadCount() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator("/proc/self/task")) {
    ++count;
  }
  return count;
}

long ResidentKib() {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  long size = 0;
  long resident = 0;
  REQUIRE(std::fscanf(file, "%ld %ld", &size, &resident) == 2);
  (void)std::fclose(file);
  return resident * (::sysconf(_SC_PAGESIZE) / 1024);
}

// In the child: waits for the port, sends `count` requests, exits 0 when all were answered.
[[noreturn]] void RunClients(int port_pipe, int count) {
  uint16_t port = 0;
  if (::read(port_pipe, &port, sizeof(port)) != sizeof(port)) ::_exit(2);
  auto client = Client::Create({});
  if (!client.ok()) ::_exit(3);
  absl::BlockingCounter left(count);
  std::atomic<int> right{0};
  for (int i = 0; i < count; ++i) {
    const std::string target = "/wait?i=" + std::to_string(i);
    (*client)->Fetch({.url = "http://127.0.0.1:" + std::to_string(port) + target,
                      .connect_timeout = absl::Minutes(4),
                      .timeout = absl::Minutes(4)},
                     [&, target](absl::StatusOr<Response> response) {
                       if (response.ok() && response->body == target) ++right;
                       left.DecrementCount();
                     });
  }
  left.Wait();
  ::_exit(right == count ? 0 : 1);
}

TEST_CASE("Ten thousand long polls wait on one thread", "[http][long_poll]") {
  const int fds = RaiseFdLimit();
  const int waiters = std::min(kWaiters, fds - kOtherFds);
  if (waiters < kWaiters) {
    WARN("only " << waiters << " waiters: the limit of descriptors is " << fds);
  }
  int pipe_fds[2];
  REQUIRE(::pipe(pipe_fds) == 0);
  const pid_t child = ::fork();  // Before any thread exists.
  REQUIRE(child >= 0);
  if (child == 0) RunClients(pipe_fds[0], waiters);

  absl::Mutex mu;
  std::vector<std::pair<std::string, std::shared_ptr<ResponseWriter>>> waiting;
  const long before_kib = ResidentKib();
  auto server = Server::Start(
      {.listen = {"127.0.0.1:0"}, .limits = {.connections_max = static_cast<size_t>(waiters)}},
      [&](const Request& request, std::shared_ptr<ResponseWriter> writer) {
        absl::MutexLock lock(&mu);
        waiting.emplace_back(request.target, std::move(writer));
      });
  KEELSON_REQUIRE_OK(server);
  const uint16_t port = (*server)->port();
  REQUIRE(::write(pipe_fds[1], &port, sizeof(port)) == sizeof(port));
  {
    absl::MutexLock lock(&mu);
    const auto all = [&] { return waiting.size() == static_cast<size_t>(waiters); };
    REQUIRE(mu.AwaitWithTimeout(absl::Condition(&all), absl::Minutes(3)));
  }

  const long kib_each = (ResidentKib() - before_kib) / waiters;
  CHECK(ThreadCount() <= 3);
  CHECK((*server)->Stats().connections_open == static_cast<uint64_t>(waiters));
  std::printf("%d requests waited at once: %zu threads, about %ld KiB of memory each\n", waiters,
              ThreadCount(), kib_each);
  for (const auto& [target, writer] : waiting) writer->Send(TextResponse(200, target));

  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK((*server)->Stats().requests_total == static_cast<uint64_t>(waiters));
}

}  // namespace
}  // namespace keelson::http
