// Every distinct member and message that a run has met, under a number, and what each step does.
//
// A step changes one member and depends on nothing else. So the core runs once for each pair of
// a member's state and an input, however many states of the whole group they are part of.
#ifndef KEELSON_RAFT_MODEL_CATALOG_H_
#define KEELSON_RAFT_MODEL_CATALOG_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "raft/model/bounds.h"
#include "raft/model/fingerprint.h"
#include "raft/model/member.h"

namespace keelson::raft::model {

using MemberNumber = uint32_t;
using MessageNumber = uint32_t;

inline constexpr size_t kMaxLog = 14;

// An entry as the invariants see it: its term, and whether a client proposed it. 0: none.
using EntryTag = uint8_t;

// What the invariants look at of a member.
struct View {
  NodeId id = kNoNode;
  Role role = Role::kFollower;
  uint8_t term = 0;
  uint8_t commit = 0;
  uint8_t last = 0;
  uint8_t disk_last = 0;
  uint8_t disk_term = 0;
  bool pending = false;                           // the disk lags
  bool fits = true;                               // false: the log is longer than kMaxLog
  std::array<EntryTag, kMaxLog + 1> log = {};     // by index
  std::array<EntryTag, kMaxLog + 1> disk = {};    // by index
  std::array<uint8_t, kMaxNodes + 1> match = {};  // by peer, on a leader
};

struct Effect {
  MemberNumber next = 0;
  uint32_t first_sent = 0;  // into the pool of Sent()
  uint16_t sent_count = 0;
  uint16_t broken = 0;  // into Broken(); 0: no rule was broken
};

class Catalog {
 public:
  explicit Catalog(const Bounds& bounds);

  // The member `id` at the start.
  MemberNumber Boot(NodeId id);
  // `message` counts for kDeliver only. See Lab::Apply.
  Effect Apply(MemberNumber member, Step step, MessageNumber message, bool stall);
  [[nodiscard]] std::span<const MessageNumber> Sent(const Effect& effect) const {
    return std::span<const MessageNumber>(sent_).subspan(effect.first_sent, effect.sent_count);
  }
  [[nodiscard]] const std::string& Broken(const Effect& effect) const {
    return broken_[effect.broken];
  }

  // One bit for each Step that the member may take by itself.
  [[nodiscard]] uint32_t MayMask(MemberNumber member) const { return may_[member]; }
  [[nodiscard]] const View& view(MemberNumber member) const { return views_[member]; }
  [[nodiscard]] const Message& message(MessageNumber number) const { return messages_[number]; }
  [[nodiscard]] NodeId to(MessageNumber number) const { return to_[number]; }
  [[nodiscard]] uint8_t term(MessageNumber number) const { return terms_[number]; }

  [[nodiscard]] const std::vector<Renaming>& renamings() const { return renamings_; }
  // One for each renaming.
  [[nodiscard]] const Fingerprint* MemberPrints(MemberNumber number) const {
    return &member_prints_[number * renamings_.size()];
  }
  [[nodiscard]] const Fingerprint* MessagePrints(MessageNumber number) const {
    return &message_prints_[number * renamings_.size()];
  }

  [[nodiscard]] size_t member_count() const { return members_.size(); }
  [[nodiscard]] size_t message_count() const { return messages_.size(); }

 private:
  MemberNumber Add(Member member);
  MessageNumber Add(Message message);

  const Bounds bounds_;
  const std::vector<Renaming> renamings_;
  Lab lab_;
  std::vector<Member> members_;
  std::vector<View> views_;
  std::vector<uint32_t> may_;
  std::vector<Fingerprint> member_prints_;
  absl::flat_hash_map<Fingerprint, MemberNumber> member_numbers_;
  std::vector<Message> messages_;
  std::vector<NodeId> to_;
  std::vector<uint8_t> terms_;
  std::vector<Fingerprint> message_prints_;
  absl::flat_hash_map<Fingerprint, MessageNumber> message_numbers_;
  absl::flat_hash_map<std::pair<uint32_t, uint32_t>, Effect> effects_;  // by member and input
  std::vector<MessageNumber> sent_;
  std::vector<std::string> broken_ = {""};
};

}  // namespace keelson::raft::model

#endif  // KEELSON_RAFT_MODEL_CATALOG_H_
