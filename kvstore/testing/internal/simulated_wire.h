// The network between the clients and the members of a simulated cluster: delivers in order after
// a moment, and holds back what a cut is in the way of.
#ifndef KEELSON_KVSTORE_TESTING_INTERNAL_SIMULATED_WIRE_H_
#define KEELSON_KVSTORE_TESTING_INTERNAL_SIMULATED_WIRE_H_

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "base/executor.h"
#include "base/random.h"
#include "raft/sim/sim_world.h"

namespace keelson::kvstore {

// Single-threaded, as the world is.
class SimulatedWire {
 public:
  SimulatedWire(raft::sim::SimWorld& world, absl::Duration latency)
      : world_(world), random_(world.Stream("wire")), latency_(latency) {}

  void Send(const std::string& from, const std::string& to, Executor::Task task) {
    Line& line = lines_[{from, to}];
    const absl::Duration arrival =
        std::max(line.last_arrival, world_.now() + latency_ * (1 + random_.Unit() / 2));
    line.last_arrival = arrival;
    line.queue.push_back(std::move(task));
    world_.After(arrival - world_.now(), [this, from, to] { Deliver(from, to); });
  }

  void Cut(const std::string& a, const std::string& b) { cut_.insert(Pair(a, b)); }
  [[nodiscard]] bool IsCut(const std::string& a, const std::string& b) const {
    return cut_.contains(Pair(a, b));
  }
  void Heal() {
    cut_.clear();
    for (auto& [ends, line] : lines_) {
      // They arrive one after the other, as if sent again.
      for (; line.late > 0; --line.late) {
        world_.After(latency_, [this, from = ends.first, to = ends.second] { Deliver(from, to); });
      }
    }
  }
  // What is on its way between the two is lost, both ways.
  void Drop(const std::string& a, const std::string& b) {
    for (const auto& ends : {std::pair(a, b), std::pair(b, a)}) {
      Line& line = lines_[ends];
      line.lost += line.queue.size() - line.late;
      line.late = 0;
      line.queue.clear();
    }
  }

 private:
  struct Line {
    std::deque<Executor::Task> queue;
    size_t late = 0;  // of these: were due during a cut
    size_t lost = 0;  // deliveries under way whose tasks were dropped
    absl::Duration last_arrival;
  };

  static std::pair<std::string, std::string> Pair(const std::string& a, const std::string& b) {
    return a < b ? std::pair(a, b) : std::pair(b, a);
  }
  void Deliver(const std::string& from, const std::string& to) {
    Line& line = lines_[{from, to}];
    if (line.lost > 0) {
      --line.lost;
      return;
    }
    if (IsCut(from, to)) {
      ++line.late;
      return;
    }
    if (line.queue.empty()) return;
    const Executor::Task task = std::move(line.queue.front());
    line.queue.pop_front();
    task();
  }

  raft::sim::SimWorld& world_;
  Random random_;
  const absl::Duration latency_;
  std::map<std::pair<std::string, std::string>, Line> lines_;
  std::set<std::pair<std::string, std::string>> cut_;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_TESTING_INTERNAL_SIMULATED_WIRE_H_
