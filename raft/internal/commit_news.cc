#include "raft/internal/commit_news.h"

#include <iterator>

namespace keelson::raft {

void CommitNews::Sift(bool keep, std::vector<Message>* messages) {
  if (!keep && kept_.empty()) return;
  std::vector<Message> leaving;
  leaving.reserve(messages->size());
  for (Message& message : *messages) {
    if (message.type == MessageType::kApp) {
      std::erase_if(kept_, [&](const Message& old) { return old.to == message.to; });
    }
    const bool news = message.type == MessageType::kApp && message.entries.empty();
    (keep && news ? kept_ : leaving).push_back(std::move(message));
  }
  *messages = std::move(leaving);
}

}  // namespace keelson::raft
