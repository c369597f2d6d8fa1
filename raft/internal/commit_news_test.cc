#include "raft/internal/commit_news.h"

#include <catch2/catch.hpp>

#include <utility>
#include <vector>

namespace keelson::raft {
namespace {

Message Append(NodeId to, Index commit, size_t entries) {
  Message message;
  message.type = MessageType::kApp;
  message.to = to;
  message.commit = commit;
  message.entries.resize(entries);
  return message;
}

Message Heartbeat(NodeId to) {
  Message message;
  message.type = MessageType::kHeartbeat;
  message.to = to;
  return message;
}

std::vector<std::pair<NodeId, Index>> Commits(const std::vector<Message>& messages) {
  std::vector<std::pair<NodeId, Index>> commits;
  for (const Message& message : messages) commits.emplace_back(message.to, message.commit);
  return commits;
}

using Pairs = std::vector<std::pair<NodeId, Index>>;

}  // namespace

TEST_CASE("Appends without entries are kept, everything else leaves in order", "[raft]") {
  CommitNews news;
  std::vector<Message> messages;
  messages.push_back(Append(2, 7, 0));
  messages.push_back(Heartbeat(2));
  messages.push_back(Append(3, 7, 1));
  messages.push_back(Append(4, 7, 0));
  SECTION("when asked for") {
    news.Sift(true, &messages);
    CHECK(Commits(messages) == Pairs{{2, 0}, {3, 7}});
    CHECK(Commits(news.Take()) == Pairs{{2, 7}, {4, 7}});
    CHECK(news.empty());
  }
  SECTION("not otherwise") {
    news.Sift(false, &messages);
    CHECK(messages.size() == 4);
    CHECK(news.empty());
  }
}

TEST_CASE("A later append to a peer replaces what is kept for it, and nothing else", "[raft]") {
  CommitNews news;
  std::vector<Message> first;
  first.push_back(Append(2, 7, 0));
  first.push_back(Append(3, 7, 0));
  news.Sift(true, &first);

  std::vector<Message> second;
  second.push_back(Heartbeat(3));
  second.push_back(Append(2, 8, 1));
  news.Sift(false, &second);
  CHECK(Commits(second) == Pairs{{3, 0}, {2, 8}});
  CHECK(Commits(news.Take()) == Pairs{{3, 7}});

  std::vector<Message> third;
  third.push_back(Append(2, 9, 0));
  news.Sift(true, &third);
  std::vector<Message> fourth;
  fourth.push_back(Append(2, 10, 0));
  news.Sift(true, &fourth);
  CHECK(Commits(news.Take()) == Pairs{{2, 10}});
}

}  // namespace keelson::raft
