#include "raft/internal/outbox.h"

#include <iterator>
#include <utility>

namespace keelson::raft {

void Outbox::Put(GroupId group, std::vector<Message> messages) {
  for (Message& message : messages) message.group = group;
  absl::MutexLock lock(&mu_);
  std::move(messages.begin(), messages.end(), std::back_inserter(messages_));
  if (scheduled_) return;
  scheduled_ = true;
  executor_.Post([this] { Flush(); });
}

void Outbox::Flush() {
  std::vector<Message> messages;
  {
    absl::MutexLock lock(&mu_);
    scheduled_ = false;
    std::swap(messages, messages_);
    stats_.messages += messages.size();
    ++stats_.frames;
  }
  transport_.Send(std::move(messages));
}

Outbox::Stats Outbox::GetStats() const {
  absl::MutexLock lock(&mu_);
  return stats_;
}

}  // namespace keelson::raft
