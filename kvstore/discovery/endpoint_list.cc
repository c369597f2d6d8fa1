#include "kvstore/discovery/endpoint_list.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "kvstore/client/mirror.h"

namespace keelson::kvstore::discovery {
namespace {

constexpr absl::Duration kAvoidMin = absl::Seconds(1);
constexpr absl::Duration kAvoidMax = absl::Seconds(30);

}  // namespace

void EndpointPicker::Set(std::vector<Instance> instances) {
  std::map<std::string, Entry> next;
  for (Instance& instance : instances) {
    const auto known = entries_.find(instance.address);
    Entry entry = known == entries_.end() ? Entry() : known->second;
    entry.instance = instance;
    next.insert_or_assign(instance.address, std::move(entry));
  }
  entries_ = std::move(next);
}

// Each turn all gain their weight, and the richest is taken and pays for all ("smooth weighted
// round-robin").
EndpointPicker::Entry* EndpointPicker::PickOf(int priority, absl::Duration now, bool avoid) {
  std::vector<Entry*> group;
  int64_t total = 0;
  for (auto& [address, entry] : entries_) {
    if (entry.instance.priority != priority) continue;
    if (avoid && entry.avoid_until > now) continue;
    group.push_back(&entry);
    total += entry.instance.weight;
  }
  Entry* best = nullptr;
  for (Entry* const entry : group) {
    const int64_t gain = total == 0 ? 1 : entry->instance.weight;
    if (gain == 0) continue;
    entry->credit += gain;
    if (best == nullptr || entry->credit > best->credit) best = entry;
  }
  if (best != nullptr) best->credit -= total == 0 ? static_cast<int64_t>(group.size()) : total;
  return best;
}

std::optional<Instance> EndpointPicker::Pick(absl::Duration now) {
  std::set<int> priorities;
  for (const auto& [address, entry] : entries_) priorities.insert(entry.instance.priority);
  for (const bool avoid : {true, false}) {
    for (const int priority : priorities) {
      if (const Entry* const entry = PickOf(priority, now, avoid)) return entry->instance;
    }
  }
  return std::nullopt;
}

void EndpointPicker::Report(const std::string& address, bool ok, absl::Duration now) {
  const auto found = entries_.find(address);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  if (ok) {
    entry.failures = 0;
    entry.avoid_until = -absl::InfiniteDuration();
    return;
  }
  const int doublings = std::min(entry.failures++, 10);
  entry.avoid_until = now + std::min(kAvoidMin * (1 << doublings), kAvoidMax);
}

std::vector<Instance> EndpointPicker::All() const {
  std::vector<Instance> all;
  for (const auto& [address, entry] : entries_) all.push_back(entry.instance);
  std::stable_sort(all.begin(), all.end(),
                   [](const Instance& a, const Instance& b) { return a.priority < b.priority; });
  return all;
}

namespace {

class EndpointListImpl final : public EndpointList {
 public:
  EndpointListImpl(Client& client, Callbacks callbacks)
      : client_(client), callbacks_(std::move(callbacks)) {}

  absl::Status Begin(const std::string& service) {
    KEELSON_ASSIGN_OR_RETURN(
        mirror_,
        RangeMirror::Start(client_, service + "/",
                           {.on_update = [this](const auto& update) { Read(*update.pairs); },
                            .on_end = callbacks_.on_end}));
    Take(mirror_->Copy(), /*first=*/true);
    return absl::OkStatus();
  }

  std::optional<Instance> Pick() override {
    absl::MutexLock lock(&mu_);
    return picker_.Pick(client_.Monotonic());
  }
  void Report(const std::string& address, bool ok) override {
    absl::MutexLock lock(&mu_);
    picker_.Report(address, ok, client_.Monotonic());
  }
  [[nodiscard]] std::vector<Instance> All() const override {
    absl::MutexLock lock(&mu_);
    return picker_.All();
  }
  [[nodiscard]] int foreign_keys() const override {
    absl::MutexLock lock(&mu_);
    return foreign_keys_;
  }

 private:
  void Read(const RangeMirror::Pairs& pairs) {
    Take(pairs, /*first=*/false);
    if (callbacks_.on_change) callbacks_.on_change(All());
  }

  // `first`: read by Start, which a watch may have overtaken.
  void Take(const RangeMirror::Pairs& pairs, bool first) {
    std::vector<Instance> instances;
    int foreign = 0;
    for (const auto& [key, pair] : pairs) {
      absl::StatusOr<Instance> instance = ParseNamingValue(pair.value());
      if (instance.ok()) {
        instances.push_back(*std::move(instance));
      } else {
        ++foreign;
      }
    }
    absl::MutexLock lock(&mu_);
    if (first && followed_) return;
    followed_ = followed_ || !first;
    picker_.Set(std::move(instances));
    foreign_keys_ = foreign;
  }

  Client& client_;
  const Callbacks callbacks_;
  mutable absl::Mutex mu_;
  EndpointPicker picker_ ABSL_GUARDED_BY(mu_);
  int foreign_keys_ ABSL_GUARDED_BY(mu_) = 0;
  bool followed_ ABSL_GUARDED_BY(mu_) = false;
  std::unique_ptr<RangeMirror> mirror_;  // Stops before the rest goes.
};

}  // namespace

absl::StatusOr<std::unique_ptr<EndpointList>> EndpointList::Start(Client& client,
                                                                  std::string service,
                                                                  Callbacks callbacks) {
  auto list = std::make_unique<EndpointListImpl>(client, std::move(callbacks));
  KEELSON_RETURN_IF_ERROR(list->Begin(service));
  return list;
}

}  // namespace keelson::kvstore::discovery
