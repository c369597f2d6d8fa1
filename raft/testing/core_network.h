// A few cores on an in-memory network, for tests of the algorithm. Every step can be made
// by hand; Settle makes all of them until nothing is left to do.
//
//   CoreNetwork net(3);
//   net.Elect(1);
//   net.Propose(1, "x");
//   net.Settle();
//   CHECK(net.Applied(2) == std::vector<std::string>{"x"});
//
// After each step the safety properties of Raft are checked over all members; the first
// violation is kept in violation().
#ifndef KEELSON_RAFT_TESTING_CORE_NETWORK_H_
#define KEELSON_RAFT_TESTING_CORE_NETWORK_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "raft/core.h"
#include "raft/internal/trace.h"
#include "raft/log_storage.h"
#include "raft/observer.h"
#include "raft/types.h"

namespace keelson::raft {

// Keeps every event and step of one member.
class EventLog final : public Observer {
 public:
  void On(NodeId /*self*/, const Event& event) override { log_.emplace_back(event); }
  void OnTrace(NodeId /*self*/, const TraceEvent& step) override { log_.emplace_back(step); }
  template <typename T>
  [[nodiscard]] size_t Count() const {
    size_t count = 0;
    for (const Logged& logged : log_) count += View(logged).Is<T>() ? 1 : 0;
    return count;
  }
  template <typename T>
  [[nodiscard]] const T* Last() const {
    for (auto it = log_.rbegin(); it != log_.rend(); ++it) {
      if (const T* found = View(*it).As<T>()) return found;
    }
    return nullptr;
  }
  void Clear() { log_.clear(); }

 private:
  using Logged = std::variant<Event, TraceEvent>;
  static AnyEvent View(const Logged& logged) {
    return std::visit([](const auto& what) { return AnyEvent(what); }, logged);
  }

  std::vector<Logged> log_;
};

class CoreNetwork {
 public:
  using Configure = std::function<void(Options&)>;

  // Members 1..`voters`, all voters. `configure` may change what options they start with.
  explicit CoreNetwork(size_t voters, Configure configure = {}, uint64_t seed = 1);

  // Starts a further member with an empty log and no membership.
  void AddEmpty(NodeId id);
  // Starts a member from `log` with hard state and membership in it.
  void AddFrom(NodeId id, MemoryLog log);

  [[nodiscard]] Core& core(NodeId id) { return *At(id).core; }
  [[nodiscard]] MemoryLog& log(NodeId id) { return At(id).log; }
  [[nodiscard]] EventLog& events(NodeId id) { return At(id).events; }
  [[nodiscard]] const std::vector<ReadState>& reads(NodeId id) { return At(id).reads; }
  // Payloads of the normal, non-empty entries that the member has applied.
  [[nodiscard]] std::vector<std::string> Applied(NodeId id);
  [[nodiscard]] Index AppliedIndex(NodeId id) { return At(id).applied_index; }
  [[nodiscard]] std::vector<NodeId> ids() const;
  // 0 when no member leads, or several do (in different terms).
  [[nodiscard]] NodeId Leader();

  // --- Steps ---

  // Takes all Readys of the member: its messages go to the network, its work into queues.
  void Collect(NodeId id);
  // Makes the member's oldest append work durable and releases the answers. False if none waits.
  bool AppendOne(NodeId id);
  // Applies the member's oldest apply work. False if none waits.
  bool ApplyOne(NodeId id);
  // Delivers the message at `position` of in_flight(). Drops it instead when its link is cut.
  void Deliver(size_t position);
  // Everything, until nothing is left.
  void Settle();
  void Tick(NodeId id, int times = 1);
  void TickAll(int times = 1);

  void Elect(NodeId id);  // Campaign and settle
  absl::Status Propose(NodeId id, const std::string& data);

  // The member loses everything that is not durable, and starts again.
  void Restart(NodeId id);
  // The member loses everything, durable or not, and starts again with an empty log. It knows
  // that it did, unless `unaware`.
  void LoseDisk(NodeId id, bool unaware = false);

  // --- The network ---

  [[nodiscard]] std::vector<Message>& in_flight() { return in_flight_; }
  // Messages for which `filter` is true are lost when they are sent.
  void SetFilter(std::function<bool(const Message&)> filter) { lose_ = std::move(filter); }
  void Cut(NodeId a, NodeId b);
  void Isolate(NodeId id);
  void Heal() { cut_.clear(); }

  // Empty while all safety properties have held: election safety, log matching of committed
  // entries, and state machine safety.
  [[nodiscard]] const std::string& violation() const { return violation_; }

  // Offers a snapshot of what the member has applied; Compact also forgets the log up to there.
  void OfferSnapshot(NodeId id);
  void Compact(NodeId id);

 private:
  struct Member {
    Member(NodeId self, MemoryLog start) : id(self), log(std::move(start)) {}
    NodeId id;
    MemoryLog log;
    EventLog events;
    std::unique_ptr<Core> core;
    std::deque<AppendWork> appends;
    std::deque<ApplyWork> applies;
    // The state machine; survives a restart.
    std::vector<Entry> applied;
    Index applied_index = 0;
    ConfState applied_conf;
    std::vector<ReadState> reads;
    uint64_t starts = 0;
  };

  Member& At(NodeId id) { return *members_.at(id); }
  void Start(Member& member);
  void Post(Message message);
  void CheckLeader(Member& member);
  void CheckApplied(const Entry& entry, NodeId id);
  void Violate(const std::string& what) {
    if (violation_.empty()) violation_ = what;
  }

  Configure configure_;
  uint64_t seed_;
  std::map<NodeId, std::unique_ptr<Member>> members_;
  std::vector<Message> in_flight_;
  std::set<std::pair<NodeId, NodeId>> cut_;
  std::function<bool(const Message&)> lose_;
  std::map<Term, NodeId> leaders_;
  std::map<Index, Entry> committed_;
  std::string violation_;
  uint64_t lives_ = 0;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_TESTING_CORE_NETWORK_H_
