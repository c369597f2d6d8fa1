// One core whose peers are played by the test: messages go in and come out by hand.
#ifndef KEELSON_RAFT_TESTING_SOLO_CORE_H_
#define KEELSON_RAFT_TESTING_SOLO_CORE_H_

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "raft/core.h"
#include "raft/log_storage.h"
#include "raft/testing/core_network.h"
#include "raft/testing/test_sync.h"

namespace keelson::raft {

class SoloCore {
 public:
  // Member 1 of 1..`voters`, with `entries` in its log.
  explicit SoloCore(size_t voters, Options options = {}, const std::vector<Entry>& entries = {},
                    const HardState& hard_state = {})
      : log_(Start(voters), hard_state) {
    log_.Append(entries);
    options.id = 1;
    auto core = Core::Create(options, log_, Random(1), &events_);
    KEELSON_CHECK(core.ok()) << core.status().ToString();
    core_ = *std::move(core);
  }

  Core& core() { return *core_; }
  MemoryLog& log() { return log_; }
  EventLog& events() { return events_; }
  std::vector<ReadState>& reads() { return reads_; }
  std::vector<Entry>& applied() { return applied_; }

  // Takes Readys and returns what may leave at once; the work waits.
  std::vector<Message> Take() {
    std::vector<Message> sent;
    while (core_->HasReady()) {
      Ready ready = core_->TakeReady();
      for (Message& message : ready.messages) sent.push_back(std::move(message));
      for (ReadState& read : ready.reads) reads_.push_back(std::move(read));
      if (ready.append.has_value()) appends_.push_back(*std::move(ready.append));
      if (ready.apply.has_value()) applies_.push_back(*std::move(ready.apply));
    }
    return sent;
  }
  // Makes the oldest work durable and returns what it releases for others.
  std::vector<Message> AppendOne() {
    std::vector<Message> sent;
    KEELSON_CHECK(!appends_.empty()) << "no append work";
    AppendWork work = std::move(appends_.front());
    appends_.pop_front();
    if (work.snapshot.has_value()) log_.Reset(*work.snapshot);
    log_.Append(work.entries);
    if (work.hard_state.has_value()) log_.SetHardState(*work.hard_state);
    for (Message& message : std::move(work.responses).Release(TestSync::Token())) {
      if (message.to == 1) {
        KEELSON_CHECK_OK(core_->Step(std::move(message)));
      } else {
        sent.push_back(std::move(message));
      }
    }
    return sent;
  }
  // Everything: durable, applied, sent.
  std::vector<Message> Run() {
    std::vector<Message> sent = Take();
    while (!appends_.empty() || !applies_.empty()) {
      while (!appends_.empty()) {
        for (Message& message : AppendOne()) sent.push_back(std::move(message));
      }
      while (!applies_.empty()) {
        ApplyWork work = std::move(applies_.front());
        applies_.pop_front();
        for (Message& message : work.responses) KEELSON_CHECK_OK(core_->Step(std::move(message)));
        for (Entry& entry : work.entries) applied_.push_back(std::move(entry));
      }
      for (Message& message : Take()) sent.push_back(std::move(message));
    }
    return sent;
  }
  // Steps `message` and runs.
  std::vector<Message> Step(const Message& message) {
    KEELSON_CHECK_OK(core_->Step(message));
    return Run();
  }
  std::deque<AppendWork>& appends() { return appends_; }

  // Wins an election in which every peer agrees.
  void Lead() {
    core_->Campaign();
    while (core_->soft_state().role != Role::kLeader) {
      for (const Message& request : Run()) {
        if (request.type != MessageType::kVote && request.type != MessageType::kPreVote) continue;
        Message vote;
        vote.type =
            request.type == MessageType::kVote ? MessageType::kVoteResp : MessageType::kPreVoteResp;
        vote.from = request.to;
        vote.to = 1;
        vote.term = request.term;
        KEELSON_CHECK_OK(core_->Step(vote));
      }
    }
  }
  Message From(NodeId from, MessageType type, Index index = 0) {
    Message message;
    message.type = type;
    message.from = from;
    message.to = 1;
    message.term = core_->hard_state().term;
    message.index = index;
    return message;
  }

 private:
  static SnapshotMetadata Start(size_t voters) {
    SnapshotMetadata start;
    for (NodeId id = 1; id <= voters; ++id) start.conf_state.voters.push_back(id);
    return start;
  }

  MemoryLog log_;
  EventLog events_;
  std::unique_ptr<Core> core_;
  std::deque<AppendWork> appends_;
  std::deque<ApplyWork> applies_;
  std::vector<ReadState> reads_;
  std::vector<Entry> applied_;
};

// Entries from index 1 on with these terms and no payload.
inline std::vector<Entry> LogOf(const std::vector<Term>& terms) {
  std::vector<Entry> entries;
  for (const Term term : terms) {
    Entry entry;
    entry.term = term;
    entry.index = entries.size() + 1;
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_TESTING_SOLO_CORE_H_
