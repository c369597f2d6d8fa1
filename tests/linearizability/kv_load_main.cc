// Loads a store through all its members, notes what the clients see, and judges it.
//
//   kv_load --endpoints=A,B,C --clients=12 --seed=S
//
// Prints "ready" when the load runs and stops it when standard input is closed. Then, when the store
// has come to rest and all members hold the same, prints what broke its promises (checker.h) and a
// summary. Exit codes: 0 nothing did, 1 something did, 2 the store did not come to rest.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/linearizability/checker.h"
#include "tests/linearizability/workload.h"

namespace keelson::linearizability {
namespace {

constexpr absl::Duration kRestTime = absl::Seconds(90);
constexpr absl::Duration kQuiet = absl::Seconds(2);
constexpr int64_t kKeptRevisions = 3000;  // below the slowest long watch

struct Flags {
  std::string endpoints = "127.0.0.1:2379";
  int clients = 12;
  int hoppers = 3;
  uint64_t seed = 1;
  bool serializable_reads = false;
  bool ignore_requested_progress = false;
};

std::string Everything() { return std::string(1, '\0'); }

class Run {
 public:
  explicit Run(const Flags& flags)
      : flags_(flags), endpoints_(absl::StrSplit(flags.endpoints, ',')), random_(flags.seed) {
    shared_.serializable_reads = flags.serializable_reads;
    shared_.ignore_requested_progress = flags.ignore_requested_progress;
  }

  int Main() {
    if (!Begin()) return 2;
    std::printf("ready\n");
    std::fflush(stdout);
    std::thread keeper([this] { Keep(); });
    std::string line;
    while (std::getline(std::cin, line)) {
    }
    shared_.stopping = true;
    keeper.join();
    for (std::thread& thread : threads_) thread.join();
    for (const auto& load : loads_) load->MoveTo(history_);
    for (std::vector<WatchRecord>& records : hops_) {
      std::move(records.begin(), records.end(), std::back_inserter(history_.watches));
    }
    history_.compacted = shared_.compacted;
    const bool rested = Rest();
    const Verdict verdict = Check(history_);
    Tell(verdict);
    return !verdict.ok() ? 1 : rested ? 0 : 2;
  }

 private:
  // With the endpoint of `member`, or all of them, that one first, where it may fail over.
  kvstore::Client* NewClient(size_t member, bool pinned) {
    kvstore::ConnectOptions options;
    options.endpoints = {endpoints_[member % endpoints_.size()]};
    for (size_t i = 1; i < endpoints_.size() && !pinned; ++i) {
      options.endpoints.push_back(endpoints_[(member + i) % endpoints_.size()]);
    }
    options.dial_timeout = absl::Milliseconds(500);
    options.command_timeout = absl::Milliseconds(1500);
    auto client = kvstore::Connect(options);
    if (!client.ok()) {
      std::fprintf(stderr, "%s\n", client.status().ToString().c_str());
      return nullptr;
    }
    clients_.push_back(*std::move(client));
    return clients_.back().get();
  }

  bool Begin() {
    using Kind = LoadClient::Kind;
    constexpr Kind kKinds[] = {Kind::kRegister, Kind::kAppend, Kind::kLock,
                               Kind::kRegister, Kind::kSet,    Kind::kLock};
    for (size_t i = 0; i < endpoints_.size(); ++i) {
      kvstore::Client* const client = NewClient(i, true);
      if (client == nullptr) return false;
      members_.push_back(client);
      watches_.push_back(std::make_unique<RecordedWatch>(*client, shared_,
                                                         absl::StrCat("watch of ", endpoints_[i]),
                                                         Everything(), Everything(), 2));
    }
    hops_.resize(static_cast<size_t>(flags_.hoppers));
    for (int i = 0; i < flags_.clients; ++i) {
      // Half of them stay with one member, however it fares: they see what a cut off one says.
      kvstore::Client* const client = NewClient(static_cast<size_t>(i), i % 4 != 3);
      if (client == nullptr) return false;
      loads_.push_back(std::make_unique<LoadClient>(
          i + 1, kKinds[static_cast<size_t>(i / 3) % std::size(kKinds)], *client,
          random_.Stream(absl::StrCat("client ", i)), shared_));
      threads_.emplace_back([load = loads_.back().get()] { load->Run(); });
    }
    for (int i = 0; i < flags_.hoppers; ++i) {
      kvstore::Client* const client = NewClient(static_cast<size_t>(i), i % 2 == 0);
      if (client == nullptr) return false;
      threads_.emplace_back([this, i, client] {
        hops_[static_cast<size_t>(i)] =
            HopAcross(i, *client, random_.Stream(absl::StrCat("hop ", i)), shared_);
      });
    }
    return true;
  }

  // Asks for progress and compacts what every long watch has passed.
  void Keep() {
    kvstore::Client* const client = members_[0];
    Random random = random_.Stream("keeper");
    for (int round = 1; !shared_.stopping; ++round) {
      absl::SleepFor(absl::Milliseconds(random.Between(20, 200)));
      int64_t seen = watches_[0]->heard();
      for (const auto& watch : watches_) {
        watch->RequestProgress();
        seen = std::min(seen, watch->heard());
      }
      shared_.seen = seen;
      const int64_t target = seen - kKeptRevisions;
      if (round % 50 != 0 || target <= shared_.compacted) continue;
      shared_.compacted = target;
      etcdserverpb::CompactionRequest request;
      request.set_revision(target);
      compactions_ += client->Compact(request).ok() ? 1 : 0;
    }
  }

  // Waits until nothing changes any more, all watches have heard it all, and all members hold it.
  bool Rest() {
    const absl::Time deadline = absl::Now() + kRestTime;
    const bool quiet = AwaitQuiet(deadline);
    for (const auto& watch : watches_) {
      while (watch->heard() < history_.final_revision && !watch->ended() &&
             absl::Now() < deadline) {
        watch->RequestProgress();
        absl::SleepFor(absl::Milliseconds(50));
      }
      const bool whole = watch->heard() >= history_.final_revision;
      history_.watches.insert(history_.watches.begin(),
                              watch->Finish(whole ? history_.final_revision : 0));
      if (!whole) {
        std::printf("a watch stands still: it has heard up to %lld of %lld\n",
                    static_cast<long long>(watch->heard()),
                    static_cast<long long>(history_.final_revision));
        stuck_ = true;
      }
    }
    bool same = true;
    for (size_t i = 0; i < members_.size(); ++i) {
      std::vector<Pair> pairs;
      while (!(ReadAll(*members_[i], true, pairs).has_value() && pairs == history_.final_pairs) &&
             absl::Now() < deadline) {
        absl::SleepFor(absl::Milliseconds(50));
      }
      if (pairs == history_.final_pairs) continue;
      std::printf("%s holds other pairs than were read\n", endpoints_[i].c_str());
      same = false;
    }
    return quiet && same && !stuck_;
  }

  bool AwaitQuiet(absl::Time deadline) {
    kvstore::Client* const client = NewClient(0, false);
    std::optional<int64_t> before;
    while (absl::Now() < deadline) {
      std::vector<Pair> pairs;
      const std::optional<int64_t> revision = ReadAll(*client, false, pairs);
      const bool leased =
          std::any_of(pairs.begin(), pairs.end(), [](const Pair& pair) { return pair.lease != 0; });
      if (revision.has_value() && revision == before && !leased) {
        history_.final_revision = *revision;
        history_.final_pairs = std::move(pairs);
        return true;
      }
      before = revision;
      absl::SleepFor(kQuiet);
    }
    std::printf("the store does not come to rest\n");
    return false;
  }

  static std::optional<int64_t> ReadAll(kvstore::Client& client, bool serializable,
                                        std::vector<Pair>& pairs) {
    etcdserverpb::RangeRequest request;
    request.set_key(Everything());
    request.set_range_end(Everything());
    request.set_serializable(serializable);
    const auto answer = client.Range(request);
    if (!answer.ok()) return std::nullopt;
    pairs.clear();
    for (const mvccpb::KeyValue& pair : answer->kvs()) pairs.push_back(FromProto(pair));
    return answer->header().revision();
  }

  void Tell(const Verdict& v) const {
    for (const std::string& line : v.violations) std::printf("VIOLATION %s\n", line.c_str());
    std::printf(
        "%llu operations: %llu writes, %llu reads, %llu refused, %llu without an answer (%llu of "
        "them done); %llu keys ended with their lease, %llu registers searched, %llu too hard; "
        "%zu watches heard %llu events and %llu notes of progress; %d compactions; revision %lld; "
        "%llu violations\n",
        Number(v.writes + v.reads + v.refused + v.unknown), Number(v.writes), Number(v.reads),
        Number(v.refused), Number(v.unknown), Number(v.unknown_effects), Number(v.expiries),
        Number(v.registers_checked), Number(v.registers_given_up), history_.watches.size(),
        Number(v.events), Number(v.progress), compactions_,
        static_cast<long long>(history_.final_revision), Number(v.violation_count));
    std::fflush(stdout);
  }
  static unsigned long long Number(uint64_t n) { return n; }  // NOLINT(runtime/int): for printf

  const Flags flags_;
  const std::vector<std::string> endpoints_;
  const Random random_;
  Shared shared_;
  History history_;
  bool stuck_ = false;
  int compactions_ = 0;
  std::vector<std::unique_ptr<kvstore::Client>> clients_;
  std::vector<kvstore::Client*> members_;  // one of each
  std::vector<std::unique_ptr<RecordedWatch>> watches_;
  std::vector<std::unique_ptr<LoadClient>> loads_;
  std::vector<std::vector<WatchRecord>> hops_;
  std::vector<std::thread> threads_;
};

}  // namespace
}  // namespace keelson::linearizability

int main(int argc, char** argv) {
  CLI::App app("Loads a store, notes what the clients see, and judges it.");
  keelson::linearizability::Flags flags;
  app.add_option("--endpoints", flags.endpoints, "Members, comma separated");
  app.add_option("--clients", flags.clients, "Clients at once")->check(CLI::Range(1, 200));
  app.add_option("--hoppers", flags.hoppers, "Clients that watch from here and there");
  app.add_option("--seed", flags.seed, "Of what the clients do");
  app.add_flag("--serializable-reads", flags.serializable_reads,
               "A planted defect: reads may be stale, and are judged as if they might not");
  app.add_flag(
      "--ignore-requested-progress", flags.ignore_requested_progress,
      "Do not judge the answers to requests for progress, which old servers send too early");
  CLI11_PARSE(app, argc, argv);
  return keelson::linearizability::Run(flags).Main();
}
