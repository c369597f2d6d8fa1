// One member of the group: the real core, its disk and its append worker.
//
// A Member is never changed: Lab::Apply makes the next one. Its core is copied as it is, with all
// that it knows.
#ifndef KEELSON_RAFT_MODEL_MEMBER_H_
#define KEELSON_RAFT_MODEL_MEMBER_H_

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "raft/core.h"
#include "raft/internal/raft.h"
#include "raft/log_storage.h"
#include "raft/model/bounds.h"
#include "raft/model/fingerprint.h"
#include "raft/types.h"

namespace keelson::raft::model {

struct Member {
  NodeId id = kNoNode;
  unsigned crashes = 0;
  MemoryLog disk;                  // what is durable
  std::deque<AppendWork> pending;  // handed to the append worker; a crash loses it
  std::unique_ptr<internal::Raft> core;

  template <typename Visitor>
  void VisitState(Visitor& visit) const {
    visit.Node(id);
    visit(crashes, disk.InitialHardState(), DiskEntries(), pending, *core);
  }
  [[nodiscard]] std::vector<Entry> DiskEntries() const;
};

enum class Step : uint8_t { kDeliver, kSync, kCampaign, kPropose, kHeartbeat, kRestart };

struct Outcome {
  Member next;
  std::vector<Message> sent;
  std::string broken;  // What rule a message that left has broken; empty when none.
};

// Runs cores. They stay bound to the Lab that made them.
class Lab {
 public:
  explicit Lab(const Bounds& bounds);
  ~Lab();
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;

  [[nodiscard]] Member Boot(NodeId id);
  // `message` is for kDeliver only, and is addressed to `from`. The disk keeps up, unless work was
  // pending already, or `stall`: then what this step has to write is pending.
  [[nodiscard]] Outcome Apply(const Member& from, Step step, const Message* message, bool stall);
  // Lets the core of `member` read its disk, until the next call of any of these functions.
  void Bind(const Member& member);
  // What the bounds allow this member, which is bound, to do by itself.
  [[nodiscard]] bool May(const Member& member, Step step) const;

 private:
  // Cores read their disk through one of these, which is pointed to the member at hand.
  class Disk;

  std::unique_ptr<internal::Raft> NewCore(Member& member);
  void Restart(Member& member);
  // Takes Readys until there are none. What may leave at once goes to `outcome`.
  void Settle(Outcome& outcome);
  void Accept(AppendWork work, Outcome& outcome);
  // Makes the oldest pending work durable and releases what waited for it.
  void Sync(Outcome& outcome);
  void Release(std::vector<Message> responses, Outcome& outcome);
  void Send(Message message, Outcome& outcome);
  // What the seeded defect makes of a message on its way out, and in.
  void TamperSent(const Member& member, Message& message) const;
  void TamperReceived(const Member& member, Message& message) const;

  const Bounds bounds_;
  bool stall_ = false;                        // in the step at hand
  std::vector<std::unique_ptr<Disk>> disks_;  // by id - 1
};

}  // namespace keelson::raft::model

#endif  // KEELSON_RAFT_MODEL_MEMBER_H_
