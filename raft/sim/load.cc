#include "raft/sim/load.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace keelson::raft::sim {
namespace {

constexpr uint64_t kClients = 100'000;       // client ids of one load
constexpr uint64_t kFirstOfBursts = 10'000;  // those below belong to those that stay

}  // namespace

Load::Load(SimWorld& world, std::vector<SimMember*> members, History& history, ClientLog& log,
           const Swarm& swarm, uint64_t number)
    : world_(world),
      nodes_(std::move(members)),
      history_(history),
      log_(log),
      swarm_(swarm),
      first_client_(number * kClients),
      random_(world.Stream(number == 0 ? "load" : absl::StrCat("load ", number))) {
  for (int i = 0; i < swarm.clients; ++i) {
    clients_.push_back(std::make_unique<SimClient>(first_client_ + static_cast<uint64_t>(i + 1),
                                                   world, nodes_, history, log, swarm));
  }
}

absl::Duration Load::Exponential(absl::Duration mean) {
  return absl::Nanoseconds(static_cast<int64_t>(
      random_.Exponential(static_cast<double>(absl::ToInt64Nanoseconds(mean)))));
}

void Load::Start() {
  for (const auto& client : clients_) client->Start();
  ScheduleBurst();
  ScheduleIdleTime();
}

void Load::Stop() {
  stopped_ = true;
  for (const auto& client : clients_) client->Stop();
}

void Load::ScheduleBurst() {
  if (swarm_.burst_interval == absl::ZeroDuration()) return;
  world_.After(Exponential(swarm_.burst_interval), [this] {
    if (stopped_ || world_.now() > swarm_.safety_time) return;
    counts_.Add(Fault::kBurst);
    SimMember& node = *nodes_[random_.Below(nodes_.size())];
    for (uint64_t i = 0; i < swarm_.burst_size; ++i) {
      once_.push_back(std::make_unique<SimClient>(first_client_ + kFirstOfBursts + once_.size(),
                                                  world_, nodes_, history_, log_, swarm_));
      once_.back()->WriteOnce(node, [](Index) {});
    }
    ScheduleBurst();
  });
}

void Load::ScheduleIdleTime() {
  if (swarm_.idle_interval == absl::ZeroDuration()) return;
  world_.After(Exponential(swarm_.idle_interval), [this] {
    if (stopped_) return;
    counts_.Add(Fault::kIdle);
    const absl::Duration until = world_.now() + Exponential(swarm_.idle_time);
    for (const auto& client : clients_) client->RestUntil(until);
    ScheduleIdleTime();
  });
}

FaultCounts Load::counts() const {
  FaultCounts counts = counts_;
  for (const auto& client : clients_) {
    counts.Add(Fault::kRetry, client->counters().retries);
    counts.Add(Fault::kHugeEntry, client->counters().huge_writes);
  }
  return counts;
}

}  // namespace keelson::raft::sim
