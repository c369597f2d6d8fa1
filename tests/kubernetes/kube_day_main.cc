// A day of a cluster of 500 nodes, as its etcd sees it: the same operations in the same proportions,
// as fast as they go, with every guarantee checked that Kubernetes relies on (api_storage.h).
//
//   kube_day --endpoints=A,B,C --part=0.01
//
// Exit codes: 0 nothing was violated, 1 something was, 2 the store cannot be used.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/random.h"
#include "tests/kubernetes/api_storage.h"

namespace keelson::kubernetes {
namespace {

// What a day has, in thousands: every node renews its lease each 10 s and its status each 5 min,
// pods come and go, and so on.
enum class Act : uint8_t {
  kNodeLease,
  kNodeStatus,
  kPod,
  kEvent,
  kMaster,
  kElection,
  kRead,
  kList
};
struct Share {
  Act act;
  uint64_t thousands;
};
constexpr std::array<Share, 8> kDay = {{{Act::kNodeLease, 4320},
                                        {Act::kNodeStatus, 144},
                                        {Act::kPod, 120},
                                        {Act::kEvent, 100},
                                        {Act::kMaster, 26},
                                        {Act::kElection, 86},
                                        {Act::kRead, 10},
                                        {Act::kList, 2}}};
constexpr uint64_t kDayOperations = 4'808'000;
constexpr int kNodes = 500;
constexpr absl::Duration kEventTtl = absl::Seconds(6);  // an hour, scaled
constexpr absl::Duration kReuse = absl::Seconds(2);     // of a lease by further events
constexpr uint64_t kEventsOfLease = 1000;
constexpr absl::Duration kPatience = absl::Seconds(30);
constexpr std::array<const char*, 5> kPrefixes = {"/registry/leases/", "/registry/minions/",
                                                  "/registry/pods/", "/registry/events/",
                                                  "/registry/masterleases/"};

struct Flags {
  std::string endpoints = "127.0.0.1:2379";
  double part = 0.01;
  int workers = 8;
  int pods = 15'000;
  uint64_t seed = 1;
  bool old_progress = false;
};

// A lease that several events share, as the API server has one for each time to live.
class SharedLease {
 public:
  struct Use {
    int64_t id = 0;
    absl::Time no_earlier;  // when the events of it may end
  };
  absl::StatusOr<Use> Take(ApiStorage& storage) {
    absl::MutexLock lock(&mu_);
    const absl::Time now = absl::Now();
    if (used_ >= kEventsOfLease || now > renew_at_) {
      const auto id = storage.GrantLease(kEventTtl + kReuse);
      if (!id.ok()) return id.status();
      current_ = {.id = *id, .no_earlier = now + kEventTtl + kReuse};
      renew_at_ = now + kReuse;
      used_ = 0;
    }
    ++used_;
    return current_;
  }

 private:
  absl::Mutex mu_;
  Use current_ ABSL_GUARDED_BY(mu_);
  absl::Time renew_at_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  uint64_t used_ ABSL_GUARDED_BY(mu_) = 0;
};

struct World {
  Violations violations;
  Counters counters;
  SharedLease event_lease;
  absl::Mutex pause;  // shared by who acts, exclusive for who compares
  absl::Mutex events_mu;
  std::map<std::string, absl::Time> events ABSL_GUARDED_BY(events_mu);  // key -> no earlier end
  std::atomic<int64_t> budget = 0;
};

// One controller, kubelet and so on, through an API server of its own.
class Worker {
 public:
  Worker(const Flags& flags, int number, kvstore::Client& client, World& world)
      : flags_(flags),
        number_(number),
        world_(world),
        storage_(client, world.violations, world.counters),
        random_(Random(flags.seed).Stream(absl::StrCat("worker ", number))) {}

  // The cluster as it is in the morning.
  void Populate() {
    for (int i = number_; i < kNodes; i += flags_.workers) {
      Update(absl::StrCat("/registry/minions/node-", i), 2000);
      Update(absl::StrCat("/registry/leases/kube-node-lease/node-", i), 300);
    }
    for (int i = number_; i < flags_.pods; i += flags_.workers) CreatePod();
  }

  void Run() {
    while (world_.budget.fetch_sub(1) > 0) {
      absl::ReaderMutexLock lock(&world_.pause);
      ActOnce();
    }
  }

 private:
  Act Draw() {
    uint64_t at = random_.Below(kDayOperations / 1000);
    for (const Share& share : kDay) {
      if (at < share.thousands) return share.act;
      at -= share.thousands;
    }
    return Act::kRead;
  }

  // Mostly one of its own; now and then somebody else's, which may conflict.
  int Node() {
    const auto any = static_cast<int>(random_.Below(kNodes));
    if (random_.Bernoulli(0.02)) return any;
    return any - any % flags_.workers + number_ < kNodes ? any - any % flags_.workers + number_
                                                         : number_;
  }

  void ActOnce() {
    switch (Draw()) {
      case Act::kNodeLease:
        return Update(absl::StrCat("/registry/leases/kube-node-lease/node-", Node()), 300);
      case Act::kNodeStatus:
        return Update(absl::StrCat("/registry/minions/node-", Node()), 2000);
      case Act::kElection:
        return Update(absl::StrCat("/registry/leases/kube-system/elected-", random_.Below(2)), 300);
      case Act::kMaster:
        return Update(absl::StrCat("/registry/masterleases/10.0.0.", random_.Below(3)), 100);
      case Act::kEvent:
        return CreateEvent();
      case Act::kPod:
        return ChangePods();
      case Act::kRead:
        (void)storage_.Get(absl::StrCat("/registry/minions/node-", Node()));
        return;
      case Act::kList: {
        // A page small enough for many pages, in the midst of changes.
        const auto listed = storage_.List("/registry/minions/", random_.Between(20, 100));
        if (listed.ok() && listed->objects.size() != kNodes) {
          world_.violations.Add(absl::StrCat("a list has ", listed->objects.size(), " nodes"));
        }
      }
    }
  }

  std::string Value(size_t bytes) {
    std::string value = absl::StrCat(number_, ".", ++values_, " ");
    value.resize(std::max(bytes, value.size()), 'x');
    return value;
  }

  // As GuaranteedUpdate: from what it knows, and again from what was in the way.
  void Update(const std::string& key, size_t bytes) {
    for (int tries = 0; tries < 5; ++tries) {
      Object& known = known_[key];
      const auto put = storage_.Put(key, Value(bytes), known.revision);
      if (!put.ok()) {  // Perhaps done: what is there is read anew.
        const auto now = storage_.Get(key);
        if (now.ok()) known = now->value_or(Object());
        return;
      }
      known = put->second;
      if (put->first) return;
    }
  }

  void CreateEvent() {
    const auto lease = world_.event_lease.Take(storage_);
    if (!lease.ok()) return;
    const std::string key = absl::StrCat("/registry/events/default/", number_, ".", ++values_);
    {
      absl::MutexLock lock(&world_.events_mu);
      world_.events[key] = lease->no_earlier;
    }
    const auto put = storage_.Put(key, Value(500), 0, lease->id);
    if (put.ok() && put->first) return;
    // No such lease any more, or no answer.
    absl::MutexLock lock(&world_.events_mu);
    world_.events.erase(key);
  }

  void CreatePod() {
    const std::string key = absl::StrCat("/registry/pods/default/", number_, "-", ++values_);
    const auto put = storage_.Put(key, Value(1500), 0);
    if (put.ok() && put->first) pods_.emplace_back(key, put->second);
  }

  // One is created, changed or deleted, so that their number stays about what it was.
  void ChangePods() {
    const uint64_t kind = random_.Below(6);
    if (kind == 0 || pods_.empty()) return CreatePod();
    const size_t at = random_.Below(pods_.size());
    auto& [key, object] = pods_[at];
    const auto done = kind == 1 ? storage_.Delete(key, object.revision)
                                : storage_.Put(key, Value(1500), object.revision);
    if (done.ok() && !done->first && done->second.revision != 0) {
      world_.violations.Add(absl::StrCat("pod '", key, "' was changed by nobody"));
    }
    if (done.ok() && done->first && kind != 1) {
      object = done->second;
    } else {
      std::swap(pods_[at], pods_.back());
      pods_.pop_back();
    }
  }

  const Flags& flags_;
  const int number_;
  World& world_;
  ApiStorage storage_;
  Random random_;
  uint64_t values_ = 0;
  std::map<std::string, Object> known_;
  std::vector<std::pair<std::string, Object>> pods_;
};

class Day {
 public:
  explicit Day(const Flags& flags) : flags_(flags) {}

  int Main() {
    if (!Connect()) return 2;
    ForAll([](Worker& worker) { worker.Populate(); });
    std::printf("populated: %llu objects created\n", Number(world_.counters.creates));
    for (const char* prefix : kPrefixes) {
      auto cache = WatchCache::Start(*main_, prefix);
      if (!cache.ok()) return Fail(cache.status());
      caches_.push_back(*std::move(cache));
    }
    const absl::Time begin = absl::Now();
    world_.budget = static_cast<int64_t>(kDayOperations * flags_.part);
    std::atomic<bool> done = false;
    std::thread keeper([&] {
      while (!done) Keep();
    });
    ForAll([](Worker& worker) { worker.Run(); });
    done = true;
    keeper.join();
    CompareCaches();
    AwaitExpiry();
    Tell(absl::Now() - begin);
    return world_.violations.count() == 0 ? 0 : 1;
  }

 private:
  static unsigned long long Number(uint64_t n) { return n; }  // NOLINT(runtime/int): for printf

  static int Fail(const absl::Status& status) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 2;
  }

  bool Connect() {
    kvstore::ConnectOptions options;
    options.endpoints = absl::StrSplit(flags_.endpoints, ',');
    options.command_timeout = absl::Seconds(20);
    for (int i = 0; i <= flags_.workers; ++i) {
      auto client = kvstore::Connect(options);
      if (!client.ok()) return Fail(client.status()) == 0;
      clients_.push_back(*std::move(client));
      std::rotate(options.endpoints.begin(), options.endpoints.begin() + 1,
                  options.endpoints.end());
      if (i < flags_.workers) {
        workers_.push_back(std::make_unique<Worker>(flags_, i, *clients_.back(), world_));
      }
    }
    main_ = std::make_unique<ApiStorage>(*clients_.back(), world_.violations, world_.counters);
    const auto status = clients_.back()->Status();
    if (!status.ok()) return Fail(status.status()) == 0;
    // Kubernetes asks watches for progress only where that is known to be right.
    std::printf("version %s\n", status->version().c_str());
    return true;
  }

  template <typename Do>
  void ForAll(Do act) {
    std::vector<std::thread> threads;
    for (const auto& worker : workers_) threads.emplace_back([&act, &worker] { act(*worker); });
    for (std::thread& thread : threads) thread.join();
  }

  // What goes on beside: the compactors of two API servers, and comparisons.
  void Keep() {
    absl::SleepFor(absl::Seconds(1));
    for (size_t server = 0; server < 2; ++server) {
      const auto next = main_->CompactOnce(versions_[server], compact_to_[server]);
      if (next.ok()) compact_to_[server] = *next;
    }
    if (++rounds_ % 3 == 0) CompareCaches();
  }

  // While nobody acts: what the caches hold is what the store lists, page by page, now.
  void CompareCaches() {
    absl::MutexLock lock(&world_.pause);
    const auto revision = main_->CurrentRevision("/registry/");
    if (!revision.ok()) return;
    for (const auto& cache : caches_) {
      if (cache->ended()) {
        world_.violations.Add(absl::StrCat("the watch of '", cache->prefix(), "' has ended"));
        continue;
      }
      // Old servers say too early how far a watch is.
      if (!flags_.old_progress && !cache->AwaitRevision(*revision, kPatience)) {
        world_.violations.Add(absl::StrCat("the watch of '", cache->prefix(), "' is at ",
                                           cache->revision(), " and does not come to ", *revision));
        continue;
      }
      Compare(*cache);
    }
    ++comparisons_;
  }

  // Events go on ending while nobody acts, so both sides are looked at until they agree.
  void Compare(const WatchCache& cache) {
    const absl::Time deadline = absl::Now() + kPatience;
    for (int64_t page = 500;; page = page == 500 ? 73 : 500) {
      const auto listed = main_->List(cache.prefix(), page);
      if (listed.ok() && listed->objects == cache.objects()) return;
      if (absl::Now() < deadline) {
        absl::SleepFor(absl::Milliseconds(50));
        continue;
      }
      world_.violations.Add(absl::StrCat("the cache of '", cache.prefix(), "' has ",
                                         cache.objects().size(), " objects, the store ",
                                         listed.ok() ? listed->objects.size() : 0, ", or others"));
      return;
    }
  }

  // Every event ends with its lease: not before, and soon after.
  void AwaitExpiry() {
    const absl::Time deadline = absl::Now() + kEventTtl + kReuse + kPatience;
    WatchCache& cache = *caches_[3];
    while (!cache.objects().empty() && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(100));
    }
    for (const auto& [key, object] : cache.objects()) {
      world_.violations.Add(absl::StrCat("event '", key, "' outlives its lease"));
    }
    absl::MutexLock lock(&world_.events_mu);
    for (const auto& [key, time] : cache.TakeDeleted()) {
      ++expired_;
      const auto it = world_.events.find(key);
      if (it != world_.events.end() && time < it->second) {
        world_.violations.Add(absl::StrCat("event '", key, "' ended ",
                                           absl::FormatDuration(it->second - time), " early"));
      }
    }
  }

  void Tell(absl::Duration time) const {
    const Counters& c = world_.counters;
    for (const std::string& line : world_.violations.lines()) {
      std::printf("VIOLATION %s\n", line.c_str());
    }
    std::printf(
        "%.4f of a day of %d nodes: %llu operations in %.1f s (%llu creations, %llu updates, %llu "
        "deletions, %llu conflicts, %llu gets, %llu lists of %llu pages, %llu leases, %llu "
        "compactions, %llu without an answer); %llu events and %llu notes of progress heard, %llu "
        "consistent reads of caches in %llu comparisons, %llu objects ended with their lease; "
        "%llu violations\n",
        flags_.part, kNodes, Number(c.operations()), absl::ToDoubleSeconds(time), Number(c.creates),
        Number(c.updates), Number(c.deletes), Number(c.conflicts), Number(c.gets), Number(c.lists),
        Number(c.pages), Number(c.leases), Number(c.compactions), Number(c.unanswered),
        Number(c.events), Number(c.progress), Number(c.consistent_reads), Number(comparisons_),
        Number(expired_), Number(world_.violations.count()));
  }

  const Flags flags_;
  World world_;
  std::vector<std::unique_ptr<kvstore::Client>> clients_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<ApiStorage> main_;
  std::vector<std::unique_ptr<WatchCache>> caches_;
  std::array<int64_t, 2> versions_ = {0, 0};
  std::array<int64_t, 2> compact_to_ = {0, 0};
  uint64_t rounds_ = 0;
  uint64_t comparisons_ = 0;
  uint64_t expired_ = 0;
};

}  // namespace
}  // namespace keelson::kubernetes

int main(int argc, char** argv) {
  CLI::App app("A day of a cluster of 500 nodes, as its etcd sees it, as fast as it goes.");
  keelson::kubernetes::Flags flags;
  app.add_option("--endpoints", flags.endpoints, "Members, comma separated");
  app.add_option("--part", flags.part, "How much of the day")->check(CLI::Range(0.0, 100.0));
  app.add_option("--workers", flags.workers, "Clients at once")->check(CLI::Range(1, 100));
  app.add_option("--pods", flags.pods, "Pods there are in the morning");
  app.add_option("--seed", flags.seed, "Of what they do");
  app.add_flag("--old-progress", flags.old_progress,
               "The server, as etcd before 3.4.25, may answer requests for progress too early: do "
               "not use them");
  CLI11_PARSE(app, argc, argv);
  return keelson::kubernetes::Day(flags).Main();
}
