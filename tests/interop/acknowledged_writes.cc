// Writes without a pause and tells which writes were acknowledged, for kill9_test.py.
//
//   acknowledged_writes --endpoints=A,B,C --writers=16
//
// Writer W puts "load/W/N" = "N" for N = 0, 1, ..., one after another, and prints a line
// "W N BEGIN" for each put that was answered OK; BEGIN is when it began, in seconds of the
// monotonic clock. A put without an answer is not repeated: the next N follows. Ends when its
// standard input is closed, with a line "unanswered COUNT".
#include <CLI/CLI.hpp>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "kvstore/client/client.h"

namespace keelson::kvstore {
namespace {

struct Shared {
  std::atomic<bool> stopping = false;
  std::atomic<int> unanswered = 0;
  absl::Mutex out_mu;  // Keeps lines whole.
};

void Write(Client& client, int writer, Shared& shared) {
  for (int number = 0; !shared.stopping; ++number) {
    const double begin = absl::ToDoubleSeconds(RealClock().Monotonic());
    const auto put =
        client.Put(PutOf(absl::StrFormat("load/%02d/%07d", writer, number), absl::StrCat(number)));
    if (!put.ok()) {
      ++shared.unanswered;
      continue;
    }
    absl::MutexLock lock(&shared.out_mu);
    std::printf("%d %d %.6f\n", writer, number, begin);
    std::fflush(stdout);
  }
}

int Run(const std::string& endpoints, int writers) {
  ConnectOptions options;
  options.endpoints = absl::StrSplit(endpoints, ',');
  options.dial_timeout = absl::Milliseconds(500);
  options.command_timeout = absl::Milliseconds(500);  // Bounds how exactly a failover is timed.
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < writers; ++i) {
    auto client = Connect(options);
    if (!client.ok()) {
      std::fprintf(stderr, "%s\n", client.status().ToString().c_str());
      return 2;
    }
    clients.push_back(*std::move(client));
    // Each begins at another member, so that all of them forward and lead.
    std::rotate(options.endpoints.begin(), options.endpoints.begin() + 1, options.endpoints.end());
  }
  Shared shared;
  std::vector<std::thread> threads;
  for (int i = 0; i < writers; ++i) {
    threads.emplace_back([&, i] { Write(*clients[static_cast<size_t>(i)], i, shared); });
  }
  std::string line;
  while (std::getline(std::cin, line)) {
  }
  shared.stopping = true;
  for (std::thread& thread : threads) thread.join();
  std::printf("unanswered %d\n", shared.unanswered.load());
  return 0;
}

}  // namespace
}  // namespace keelson::kvstore

int main(int argc, char** argv) {
  CLI::App app("Writes without a pause and tells which writes were acknowledged.");
  std::string endpoints = "127.0.0.1:2379";
  int writers = 16;
  app.add_option("--endpoints", endpoints, "Members, comma separated");
  app.add_option("--writers", writers, "Writers at once")->check(CLI::Range(1, 99));
  CLI11_PARSE(app, argc, argv);
  return keelson::kvstore::Run(endpoints, writers);
}
