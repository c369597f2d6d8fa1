#include "kvstore/cmd/load.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <thread>

#include "absl/time/clock.h"
#include "base/random.h"
#include "kvstore/cmd/outcome.h"

namespace keelson::kvctl {
namespace {

// What all threads share.
struct State {
  std::atomic<uint64_t> next{0};
  std::mutex mu;
  std::vector<double> seconds;  // of each put that succeeded
  LoadReport report;
};

// A key that nobody else writes: a random number, and zeros up to the size.
std::string KeyOf(const Load& load, Random& random) {
  std::string key = load.prefix;
  const size_t size = key.size() + load.key_bytes;
  for (uint64_t number = random(); number != 0; number >>= 7) {
    key.push_back(static_cast<char>((number & 0x7f) | 0x80));
  }
  key.resize(size, '\0');
  return key;
}

void Put(const Load& load, kvstore::Client& client, absl::Time start, State& state) {
  Random random(Random::SeedFromSystem());
  const std::string value(load.value_bytes, '\0');
  while (true) {
    const uint64_t number = state.next.fetch_add(1);
    if (load.puts > 0 && number >= load.puts) return;
    if (load.rate > 0) {
      const absl::Time due = start + absl::Seconds(static_cast<double>(number) / load.rate);
      if (load.puts == 0 && due >= start + load.duration) return;
      absl::SleepFor(due - absl::Now());
    }
    const absl::Time begun = absl::Now();
    const absl::Status status = client.Put(kvstore::PutOf(KeyOf(load, random), value)).status();
    const double took = absl::ToDoubleSeconds(absl::Now() - begun);
    const std::lock_guard lock(state.mu);
    if (status.ok()) {
      state.seconds.push_back(took);
    } else {
      ++state.report.errors[TextOf(status)];
    }
  }
}

}  // namespace

LoadReport RunLoad(const Load& load, const std::vector<std::unique_ptr<kvstore::Client>>& clients) {
  State state;
  const absl::Time start = absl::Now();
  std::vector<std::thread> threads;
  threads.reserve(clients.size());
  for (const auto& client : clients) {
    threads.emplace_back([&load, &client, start, &state] { Put(load, *client, start, state); });
  }
  for (std::thread& thread : threads) thread.join();
  LoadReport& report = state.report;
  report.puts = state.seconds.size();
  report.per_second = static_cast<double>(report.puts) / absl::ToDoubleSeconds(absl::Now() - start);
  if (state.seconds.empty()) return report;
  double sum = 0;
  for (const double took : state.seconds) {
    sum += took;
    report.slowest = std::max(report.slowest, took);
  }
  report.average = sum / static_cast<double>(report.puts);
  double squares = 0;
  for (const double took : state.seconds) squares += std::pow(took - report.average, 2);
  report.deviation = std::sqrt(squares / static_cast<double>(report.puts));
  return report;
}

}  // namespace keelson::kvctl
