// Gathers what many groups send into one frame for the transport.
#ifndef KEELSON_RAFT_INTERNAL_OUTBOX_H_
#define KEELSON_RAFT_INTERNAL_OUTBOX_H_

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/executor.h"
#include "raft/transport.h"
#include "raft/types.h"

namespace keelson::raft {

// What is put in while the executor works through the tasks that wait leaves together, by a task
// behind them. Thread-safe.
class Outbox {
 public:
  // Both borrowed; they outlive the outbox.
  Outbox(Executor& executor, Transport& transport) : executor_(executor), transport_(transport) {}

  // Tags `messages` with `group`.
  void Put(GroupId group, std::vector<Message> messages) ABSL_LOCKS_EXCLUDED(mu_);

  struct Stats {
    uint64_t messages = 0;
    uint64_t frames = 0;
  };
  [[nodiscard]] Stats GetStats() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Flush() ABSL_LOCKS_EXCLUDED(mu_);

  Executor& executor_;
  Transport& transport_;
  mutable absl::Mutex mu_;
  std::vector<Message> messages_ ABSL_GUARDED_BY(mu_);
  bool scheduled_ ABSL_GUARDED_BY(mu_) = false;
  Stats stats_ ABSL_GUARDED_BY(mu_);
};

// The transport of one group.
class GroupTransport final : public Transport {
 public:
  GroupTransport(Outbox& outbox, GroupId group) : outbox_(outbox), group_(group) {}
  void Send(std::vector<Message> messages) override { outbox_.Put(group_, std::move(messages)); }

 private:
  Outbox& outbox_;
  const GroupId group_;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_OUTBOX_H_
