// What clients saw, checked for linearizability as it happens.
//
// Every write has a revision (the index of its entry), every read the revision of the
// state it saw. The order of revisions is the only possible linearization, so three rules
// are complete (engineering.md section 6): revisions of writes are unique, a read returns
// the newest value at or below its revision, and an operation that began after another had
// returned has no smaller revision - a greater one if it is a write.
#ifndef KEELSON_RAFT_SIM_HISTORY_H_
#define KEELSON_RAFT_SIM_HISTORY_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "raft/sim/invariants.h"
#include "raft/sim/kv_machine.h"
#include "raft/types.h"

namespace keelson::raft::sim {

class History {
 public:
  // `invariants` hears of violations (names LIN and I16); borrowed, outlives this.
  explicit History(Invariants& invariants) : invariants_(invariants) {}

  // An operation begins. Give the result to the call that ends it.
  // It must come to lie behind all that has returned, and not before what was committed by then,
  // whoever has heard of that.
  [[nodiscard]] Index Begin() const { return std::max(returned_, invariants_.committed()); }

  // A write was acknowledged with `revision`.
  void EndWrite(Index began, const KvCommand& command, Index revision);

  // A read of `key` was answered out of the state at `revision`; null: there was no such key.
  void EndRead(Index began, const std::string& key, const KvValue* value, Index revision);

  // A write was refused for certain: it must never take effect.
  void Refused(const KvCommand& command);

  // An entry took effect somewhere. Call for every node; only the first one of each index counts.
  void Applied(const Entry& entry, const KvState& state);

  // Every acknowledged write must be in `state` as the session or a later one of its client,
  // and every key must hold its newest write.
  void CheckFinal(NodeId node, const KvState& state);

  struct Counters {
    uint64_t writes = 0;
    uint64_t reads = 0;
    uint64_t refused = 0;
  };
  [[nodiscard]] const Counters& counters() const { return counters_; }

 private:
  using OperationId = std::pair<uint64_t, uint64_t>;  // client, sequence

  void Return(Index revision) { returned_ = std::max(returned_, revision); }

  Invariants& invariants_;
  Index returned_ = 0;                    // greatest revision of any operation that has returned
  Index applied_ = 0;                     // by any node
  std::map<OperationId, Index> effects_;  // what took effect, and where
  std::map<std::string, std::vector<std::pair<Index, std::string>>> versions_;  // by key, ascending
  std::map<OperationId, Index> acknowledged_;
  std::set<OperationId> refused_;
  Counters counters_;
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_HISTORY_H_
