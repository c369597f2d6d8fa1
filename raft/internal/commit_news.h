// Keeps back for a moment what only tells peers how far the log is committed: with the entries
// that follow it costs neither side anything.
#ifndef KEELSON_RAFT_INTERNAL_COMMIT_NEWS_H_
#define KEELSON_RAFT_INTERNAL_COMMIT_NEWS_H_

#include <utility>
#include <vector>

#include "raft/types.h"

namespace keelson::raft {

// Whoever loses a message of these, or gets it late, loses nothing else: every append, and every
// heartbeat, says the same again. Not thread-safe.
class CommitNews {
 public:
  // Looks at what is about to be sent. An append to a peer takes the place of what is kept for it;
  // with `keep`, appends without entries are taken out of `messages` and kept.
  void Sift(bool keep, std::vector<Message>* messages);

  [[nodiscard]] bool empty() const { return kept_.empty(); }
  [[nodiscard]] std::vector<Message> Take() { return std::exchange(kept_, {}); }

 private:
  std::vector<Message> kept_;  // at most one for each peer
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_COMMIT_NEWS_H_
