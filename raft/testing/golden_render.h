// The texts of etcd-io/raft's transcripts, made from Keelson's values and events.
#ifndef KEELSON_RAFT_TESTING_GOLDEN_RENDER_H_
#define KEELSON_RAFT_TESTING_GOLDEN_RENDER_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "raft/core.h"
#include "raft/internal/trace.h"
#include "raft/observer.h"
#include "raft/types.h"

namespace keelson::raft::golden {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kFatal, kNone };

std::string RoleText(Role role);
std::string ConfigText(const ConfState& config);             // voters=(1 2)&&(1) learners=(3)
std::string ProgressText(const PeerStatus& peer);            // StateProbe match=0 next=1
std::string EntryText(const Entry& entry);                   // 1/11 EntryNormal "x"
std::string EntriesText(const std::vector<Entry>& entries);  // a line each
std::string SnapshotText(const Snapshot& snapshot);
std::string MessageText(const Message& message);
std::string HardStateText(const HardState& state);

// One change a token: v1 adds a voter, l1 a learner, r1 removes, u1 updates.
absl::StatusOr<std::vector<ConfChangeSingle>> ParseChanges(const std::string& text);

// The lines that etcd-io/raft logs when this happens on `self`; often none.
struct LogLine {
  LogLevel level;
  std::string text;
};
std::vector<LogLine> EventLines(NodeId self, const Event& event);
std::vector<LogLine> EventLines(NodeId self, const TraceEvent& step);
// As above for Started, which etcd prints with the voters that were set before.
std::string StartedText(NodeId self, const trace::Started& started, const ConfState& config);

}  // namespace keelson::raft::golden

#endif  // KEELSON_RAFT_TESTING_GOLDEN_RENDER_H_
