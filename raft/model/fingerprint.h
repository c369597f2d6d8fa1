// 128-bit fingerprints of values, under a renaming of the members.
//
// Two states that differ only in which member plays which part have the same futures, so the
// checker keeps one of them: the one whose fingerprint is the smallest over all renamings. What
// has no order (the messages under way) is added up instead of chained.
#ifndef KEELSON_RAFT_MODEL_FINGERPRINT_H_
#define KEELSON_RAFT_MODEL_FINGERPRINT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string_view>
#include <type_traits>
#include <vector>

#include "raft/core.h"
#include "raft/types.h"

namespace keelson::raft::model {

// A sum in each half; addition commutes, so a multiset is the sum of its parts.
struct Fingerprint {
  uint64_t high = 0;
  uint64_t low = 0;

  Fingerprint& operator+=(const Fingerprint& other) {
    high += other.high;
    low += other.low;
    return *this;
  }
  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
  friend auto operator<=>(const Fingerprint&, const Fingerprint&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Fingerprint& value) {
    return H::combine(std::move(h), value.low);  // Well mixed already.
  }
};

inline uint64_t Mix(uint64_t value) {  // splitmix64
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// renaming[id] is the new name of member `id`; [0] is 0.
inline constexpr size_t kMaxNodes = 5;
using Renaming = std::array<uint8_t, kMaxNodes + 1>;

// All renamings of 1..nodes, the identity first; only that one when `symmetry` is off.
std::vector<Renaming> Renamings(size_t nodes, bool symmetry);

// Chains what it visits. Overloads for everything that a member's state is made of.
class Fingerprinter {
 public:
  explicit Fingerprinter(const Renaming& renaming, uint64_t seed = 0)
      : renaming_(renaming), high_(Mix(seed)), low_(Mix(seed + 1)) {}

  template <typename... Values>
  void operator()(const Values&... values) {
    (Add(values), ...);
  }
  void Node(NodeId id) { Word(id <= kMaxNodes ? renaming_[id] : id); }
  void Nodes(const std::vector<NodeId>& ids) {
    uint64_t set = 0;
    for (const NodeId id : ids) set |= uint64_t{1} << renaming_[id];
    Word(set);
  }
  template <typename Value>
  void ByNode(const std::map<NodeId, Value>& values) {
    Word(values.size());
    // In the order of the new names.
    for (uint8_t name = 1; name <= kMaxNodes; ++name) {
      for (const auto& [id, value] : values) {
        if (renaming_[id] != name) continue;
        Word(name);
        Add(value);
      }
    }
  }

  [[nodiscard]] Fingerprint Result() const { return {Mix(high_ ^ low_), Mix(low_ + high_ * 3)}; }

 private:
  void Word(uint64_t word) {
    high_ = Mix(high_ ^ word);
    low_ = Mix(low_ + word * 0xd6e8feb86659fd93);
  }
  void Add(std::string_view bytes) {
    Word(bytes.size());
    for (const char byte : bytes) Word(static_cast<unsigned char>(byte));
  }
  template <typename Value>
  void Add(const std::optional<Value>& value) {
    Word(value.has_value() ? 1 : 0);
    if (value.has_value()) Add(*value);
  }
  template <typename Value>
  void Add(const std::vector<Value>& values) {
    Word(values.size());
    for (const Value& value : values) Add(value);
  }
  template <typename Value>
  void Add(const std::deque<Value>& values) {
    Word(values.size());
    for (const Value& value : values) Add(value);
  }
  void Add(const Payload& payload) { Add(payload.view()); }
  void Add(const Entry& entry) { (*this)(entry.term, entry.index, entry.type, entry.data); }
  void Add(const HardState& state) {
    (*this)(state.term, state.commit);
    Node(state.vote);
  }
  void Add(const SoftState& state) {
    Node(state.leader);
    Add(state.role);
  }
  void Add(const ConfState& state) {
    for (const auto* ids :
         {&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next}) {
      Nodes(*ids);
    }
    Add(state.auto_leave);
  }
  void Add(const Snapshot& snapshot) {
    (*this)(snapshot.metadata.index, snapshot.metadata.term, snapshot.metadata.conf_state);
    Add(snapshot.data);
  }
  void Add(const Message& message);
  void Add(const AppendWork& work) {
    (*this)(work.entries, work.hard_state, work.snapshot, work.must_sync, work.responses.Peek());
  }
  // Numbers, enums, and classes that let their state be visited.
  template <typename Value>
  void Add(const Value& value) {
    if constexpr (std::is_integral_v<Value> || std::is_enum_v<Value>) {
      Word(static_cast<uint64_t>(value));
    } else {
      value.VisitState(*this);
    }
  }

  const Renaming& renaming_;
  uint64_t high_;
  uint64_t low_;
};

}  // namespace keelson::raft::model

#endif  // KEELSON_RAFT_MODEL_FINGERPRINT_H_
