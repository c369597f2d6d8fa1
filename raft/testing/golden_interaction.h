// Runs the interaction transcripts of etcd-io/raft on Keelson's core.
//
// Transcripts of our own may also say
//
//   add-nodes N ... priority=P commit-by-vote=true   options that etcd-io/raft lacks,
//                   max-size-per-msg=BYTES            or that its transcripts cannot set
//   read-index ID CONTEXT                            asks for a read position; Ready shows it
//   restart ID                                       a crash: what is not stable is gone
#ifndef KEELSON_RAFT_TESTING_GOLDEN_INTERACTION_H_
#define KEELSON_RAFT_TESTING_GOLDEN_INTERACTION_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "raft/core.h"
#include "raft/internal/trace.h"
#include "raft/log_storage.h"
#include "raft/observer.h"
#include "raft/testing/golden_file.h"
#include "raft/testing/golden_render.h"
#include "raft/types.h"

namespace keelson::raft::golden {

// Where commands and events write. At level kNone nothing but errors gets through.
class Output {
 public:
  void Print(const std::string& text) {
    if (level_ != LogLevel::kNone) text_ += text;
  }
  void Log(LogLevel level, const std::string& text);
  // Runs `body` with its lines indented by two spaces.
  void Indented(const std::function<void()>& body);
  std::string Take();

  [[nodiscard]] LogLevel level() const { return level_; }
  void set_level(LogLevel level) { level_ = level; }

 private:
  std::string text_;
  LogLevel level_ = LogLevel::kDebug;
};

// A member's log: what is stable, and as the snapshot to send the newest applied state.
class GoldenLog final : public LogStorage {
 public:
  explicit GoldenLog(const SnapshotMetadata& start) : log_(start) {}
  [[nodiscard]] HardState InitialHardState() const override { return log_.InitialHardState(); }
  [[nodiscard]] ConfState InitialConfState() const override { return applied.metadata.conf_state; }
  [[nodiscard]] Index FirstIndex() const override { return log_.FirstIndex(); }
  [[nodiscard]] Index LastIndex() const override { return log_.LastIndex(); }
  [[nodiscard]] absl::StatusOr<Term> TermAt(Index index) const override {
    return log_.TermAt(index);
  }
  [[nodiscard]] absl::StatusOr<std::vector<Entry>> Entries(Index first, Index last,
                                                           uint64_t max_bytes) const override {
    return log_.Entries(first, last, max_bytes);
  }
  [[nodiscard]] absl::StatusOr<Snapshot> LatestSnapshot() const override { return applied; }

  MemoryLog& stable() { return log_; }
  Snapshot applied;  // where the state machine stands

 private:
  MemoryLog log_;
};

// Whether a message stays inside its member: between the core and its storage threads.
bool IsLocal(const Message& message);

class Interaction {
 public:
  Interaction() = default;
  Interaction(const Interaction&) = delete;
  Interaction& operator=(const Interaction&) = delete;

  // The output of one command.
  std::string Run(const Case& test);

 private:
  struct Node final : public Observer {
    Node(NodeId self, const SnapshotMetadata& start, Output& out)
        : id(self), log(start), output(out) {}
    void On(NodeId self, const Event& event) override;
    void OnTrace(NodeId self, const TraceEvent& step) override;

    NodeId id;
    GoldenLog log;
    Output& output;
    bool async = false;
    Options options;
    ConfState config;  // as last switched to
    HardState hard_state;
    std::unique_ptr<Core> core;
    std::deque<Message> append_work;
    std::deque<Message> apply_work;
  };
  struct Recipient {
    NodeId id = kNoNode;
    bool drop = false;
  };
  struct NodeOptions {
    Options options;
    bool async = false;
    SnapshotMetadata start;
  };

  absl::Status Dispatch(const Case& test);
  absl::StatusOr<Node*> NodeArg(const Case& test, size_t position);
  absl::StatusOr<std::vector<Node*>> NodeArgs(const Case& test);

  // golden_interaction.cc
  absl::Status AddNodes(const Case& test);
  absl::Status AddNode(const NodeOptions& options);
  absl::Status Restart(Node& node);
  absl::Status SetLogLevel(const std::string& name);
  absl::Status Propose(const Case& test);
  absl::Status ReadIndex(const Case& test);
  absl::Status ProposeConfChange(const Case& test);
  absl::Status SendSnapshot(const Case& test);
  absl::Status PrintLog(Node& node);
  absl::Status PrintStates();
  absl::Status PrintStatus(Node& node);
  absl::Status Tick(const Case& test);

  // golden_interaction_steps.cc
  absl::Status Stabilize(const Case& test);
  absl::StatusOr<bool> StabilizeOnce(const std::vector<Node*>& nodes);
  absl::Status DeliverCommand(const Case& test);
  size_t Deliver(const Recipient& recipient, const std::string& type);
  std::vector<Message> TakeMessages(const Recipient& recipient, const std::string& type);
  [[nodiscard]] bool HasMessages(NodeId to) const;
  absl::Status StepMessage(Message message);
  using Worker = absl::Status (Interaction::*)(Node&);
  // Runs `worker` for the named nodes, with a title for each when there are several.
  absl::Status ForNodes(const Case& test, const std::string& what, Worker worker);
  absl::Status ProcessReady(Node& node);
  absl::Status ProcessAppend(Node& node);
  absl::Status ProcessApply(Node& node);
  void Persist(Node& node, const Message& append);
  absl::Status Apply(Node& node, const std::vector<Entry>& entries);

  Output output_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Message> messages_;
};

}  // namespace keelson::raft::golden

#endif  // KEELSON_RAFT_TESTING_GOLDEN_INTERACTION_H_
