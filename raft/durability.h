// The order "durable first, then said" as types.
//
// Messages that promise something about this node's disk are DurableMessages. They can
// be read only against a SyncToken, and only the classes that really sync can make one.
#ifndef KEELSON_RAFT_DURABILITY_H_
#define KEELSON_RAFT_DURABILITY_H_

#include <utility>
#include <vector>

#include "raft/types.h"

namespace keelson::raft {

// Proof that everything appended before it was made is on stable media.
// Move-only; made by Wal::Sync and, for tests, by the fakes named here.
class SyncToken {
 public:
  SyncToken(SyncToken&&) = default;
  SyncToken& operator=(SyncToken&&) = default;
  SyncToken(const SyncToken&) = delete;
  SyncToken& operator=(const SyncToken&) = delete;

 private:
  friend class Wal;
  friend class TestSync;  // raft/testing/test_sync.h
  SyncToken() = default;
};

// Messages held back until their AppendWork is durable.
class DurableMessages {
 public:
  DurableMessages() = default;
  explicit DurableMessages(std::vector<Message> messages) : messages_(std::move(messages)) {}

  [[nodiscard]] bool empty() const { return messages_.empty(); }

  // Gives the messages up, in order. `token` must come from a sync that began after the
  // AppendWork was written, or, when its must_sync is false, from any sync of that log.
  [[nodiscard]] std::vector<Message> Release(const SyncToken& token) && {
    (void)token;  // Its existence is the proof.
    return std::move(messages_);
  }

  // For transcripts and invariant checkers, which look but do not send.
  [[nodiscard]] const std::vector<Message>& Peek() const { return messages_; }

 private:
  std::vector<Message> messages_;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_DURABILITY_H_
