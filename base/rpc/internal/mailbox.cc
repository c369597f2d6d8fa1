#include "base/rpc/internal/mailbox.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "base/check.h"

namespace keelson::rpc::internal {

Mailbox::Mailbox() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  KEELSON_CHECK(event_.ok()) << "eventfd: " << errno;
}

void Mailbox::Wake() {
  const uint64_t one = 1;
  KEELSON_CHECK(::write(event_.get(), &one, sizeof(one)) == sizeof(one)) << errno;
}

void Mailbox::Post(std::shared_ptr<Stream> stream) {
  {
    absl::MutexLock lock(&mu_);
    if (closed_) return;
    items_.streams.push_back(std::move(stream));
    if (!std::exchange(asleep_, false)) return;
  }
  Burst::Wake(shared_from_this());
}

bool Mailbox::Post(std::function<void()> task) {
  {
    absl::MutexLock lock(&mu_);
    if (closed_) return false;
    items_.tasks.push_back(std::move(task));
    if (!std::exchange(asleep_, false)) return true;
  }
  Burst::Wake(shared_from_this());
  return true;
}

Mailbox::Items Mailbox::Take() {
  absl::MutexLock lock(&mu_);
  asleep_ = items_.empty();
  return std::exchange(items_, {});
}

void Mailbox::Awake(bool called) {
  {
    absl::MutexLock lock(&mu_);
    asleep_ = false;
  }
  if (!called) return;
  uint64_t count = 0;
  (void)!::read(event_.get(), &count, sizeof(count));  // Nothing there is fine.
}

void Mailbox::Close() {
  Items dropped;  // Destroyed without the lock: it may hold the last of a handler.
  absl::MutexLock lock(&mu_);
  closed_ = true;
  std::swap(dropped, items_);
}

}  // namespace keelson::rpc::internal
