// What other threads have for a loop.
#ifndef KEELSON_BASE_RPC_INTERNAL_MAILBOX_H_
#define KEELSON_BASE_RPC_INTERNAL_MAILBOX_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/burst.h"
#include "base/unique_fd.h"

namespace keelson::rpc::internal {

class Stream;

// Thread-safe; Take and Close are for the loop.
//
// Only the first to post to a loop that sleeps wakes it: while it works, posting costs no
// system call.
class Mailbox final : public Sleeper, public std::enable_shared_from_this<Mailbox> {
 public:
  struct Items {
    std::vector<std::shared_ptr<Stream>> streams;  // have something to send, or to read again
    std::vector<std::function<void()>> tasks;
    [[nodiscard]] bool empty() const { return streams.empty() && tasks.empty(); }
  };

  Mailbox();

  void Post(std::shared_ptr<Stream> stream) ABSL_LOCKS_EXCLUDED(mu_);
  // False after Close: the task will not run.
  bool Post(std::function<void()> task) ABSL_LOCKS_EXCLUDED(mu_);

  // All that has come. When that is nothing the loop counts as asleep, until Awake.
  Items Take() ABSL_LOCKS_EXCLUDED(mu_);
  // `called`: fd() was readable.
  void Awake(bool called) ABSL_LOCKS_EXCLUDED(mu_);
  // Drops all, and what comes later.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);

  void Wake() override;
  // Readable when the loop is to wake.
  [[nodiscard]] int fd() const { return event_.get(); }

 private:
  const UniqueFd event_;
  absl::Mutex mu_;
  Items items_ ABSL_GUARDED_BY(mu_);
  bool asleep_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace keelson::rpc::internal

#endif  // KEELSON_BASE_RPC_INTERNAL_MAILBOX_H_
