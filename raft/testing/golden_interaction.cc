#include "raft/testing/golden_interaction.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::raft::golden {
namespace {

constexpr std::array<std::string_view, 6> kLevels = {"DEBUG", "INFO",  "WARN",
                                                     "ERROR", "FATAL", "NONE"};

absl::Status ProposalDropped() { return absl::UnavailableError("raft proposal dropped"); }

// raftpb.ConfChange, the encoding before joint consensus: id, type, node_id.
std::string EncodeV1(const ConfChangeSingle& change) {
  std::string out = {'\x08', '\0', '\x10', static_cast<char>(change.type), '\x18'};
  uint64_t node = change.node;
  for (; node >= 0x80; node >>= 7) out.push_back(static_cast<char>(node | 0x80));
  out.push_back(static_cast<char>(node));
  return out;
}

absl::StatusOr<bool> ParseBool(const std::string& text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return absl::InvalidArgumentError(absl::StrCat("'", text, "' is neither true nor false"));
}

// etcd-io/raft's defaults in its transcripts, without Keelson's extensions.
Options Defaults() {
  Options options;
  options.election_ticks = 3;
  options.heartbeat_ticks = 1;
  options.pre_vote = false;
  options.check_quorum = false;
  options.step_down_on_removal = false;
  options.commit_by_vote = false;
  options.durable_campaigns = false;
  options.rank_rivals = false;
  options.answer_old_leaders = false;
  options.max_message_bytes = std::numeric_limits<uint64_t>::max();
  options.max_inflight_messages = std::numeric_limits<int32_t>::max();
  options.max_inflight_bytes = 0;
  options.max_uncommitted_bytes = 0;
  options.max_apply_bytes = std::numeric_limits<uint64_t>::max();
  return options;
}

}  // namespace

void Output::Log(LogLevel level, const std::string& text) {
  if (level < level_) return;
  Print(absl::StrCat(std::string(kLevels[static_cast<size_t>(level)]), " ", text, "\n"));
}

void Output::Indented(const std::function<void()>& body) {
  std::string outer;
  outer.swap(text_);
  body();
  std::string inner;
  inner.swap(text_);
  text_ = std::move(outer);
  for (size_t at = 0; at < inner.size();) {
    const size_t end = std::min(inner.find('\n', at), inner.size());
    absl::StrAppend(&text_, "  ", inner.substr(at, end - at), "\n");
    at = end + 1;
  }
}

std::string Output::Take() {
  std::string text;
  text.swap(text_);
  return text;
}

void Interaction::Node::On(NodeId self, const Event& event) {
  if (const auto* changed = std::get_if<event::ConfChanged>(&event)) config = changed->conf_state;
  for (const LogLine& line : EventLines(self, event)) output.Log(line.level, line.text);
}

void Interaction::Node::OnTrace(NodeId self, const TraceEvent& step) {
  if (const auto* started = AnyEvent(step).As<trace::Started>()) {
    output.Log(LogLevel::kInfo, StartedText(self, *started, config));
    return;
  }
  for (const LogLine& line : EventLines(self, step)) output.Log(line.level, line.text);
}

std::string Interaction::Run(const Case& test) {
  const absl::Status status = Dispatch(test);
  std::string text = output_.Take();
  if (!status.ok()) text += std::string(status.message());
  if (text.empty()) text = "ok";
  if (text.back() != '\n') text += '\n';
  return text;
}

absl::Status Interaction::Dispatch(const Case& test) {
  const std::string& command = test.command;
  if (command == "add-nodes") return AddNodes(test);
  if (command == "deliver-msgs") return DeliverCommand(test);
  if (command == "stabilize") return Stabilize(test);
  if (command == "raft-state") return PrintStates();
  if (command == "propose") return Propose(test);
  if (command == "propose-conf-change") return ProposeConfChange(test);
  if (command == "send-snapshot") return SendSnapshot(test);
  if (command == "tick-election" || command == "tick-heartbeat") return Tick(test);
  if (command == "process-ready") {
    return ForNodes(test, "handling Ready", &Interaction::ProcessReady);
  }
  if (command == "process-append-thread") {
    return ForNodes(test, "processing append thread", &Interaction::ProcessAppend);
  }
  if (command == "process-apply-thread") {
    return ForNodes(test, "processing apply thread", &Interaction::ProcessApply);
  }
  if (command == "log-level") {
    return test.args.size() == 1 ? SetLogLevel(test.args.front().key)
                                 : absl::InvalidArgumentError("log-level needs one argument");
  }
  if (command == "transfer-leadership") {
    KEELSON_ASSIGN_OR_RETURN(const uint64_t from, ParseNumber(test.ValueOr("from", "")));
    KEELSON_ASSIGN_OR_RETURN(const uint64_t to, ParseNumber(test.ValueOr("to", "")));
    if (from == 0 || from > nodes_.size()) return absl::InvalidArgumentError("no such node");
    nodes_[from - 1]->core->TransferLeadership(to);
    return absl::OkStatus();
  }

  if (command == "read-index") return ReadIndex(test);

  KEELSON_ASSIGN_OR_RETURN(Node * node, NodeArg(test, 0));
  if (command == "restart") return Restart(*node);
  if (command == "campaign") {
    node->core->Campaign();
  } else if (command == "forget-leader") {
    node->core->ForgetLeader();
  } else if (command == "raft-log") {
    return PrintLog(*node);
  } else if (command == "status") {
    return PrintStatus(*node);
  } else if (command == "compact") {
    KEELSON_ASSIGN_OR_RETURN(const uint64_t index,
                             ParseNumber(test.args.size() > 1 ? test.args[1].key : ""));
    node->log.stable().Compact(index);
    return PrintLog(*node);
  } else if (command == "set-randomized-election-timeout") {
    KEELSON_ASSIGN_OR_RETURN(const uint64_t ticks, ParseNumber(test.ValueOr("timeout", "")));
    node->core->SetRandomizedElectionTimeout(static_cast<int>(ticks));
  } else if (command == "report-unreachable") {
    KEELSON_ASSIGN_OR_RETURN(Node * peer, NodeArg(test, 1));
    node->core->ReportUnreachable(peer->id);
  } else {
    return absl::InvalidArgumentError("unknown command");
  }
  return absl::OkStatus();
}

absl::StatusOr<Interaction::Node*> Interaction::NodeArg(const Case& test, size_t position) {
  if (test.args.size() <= position) return absl::InvalidArgumentError("no node given");
  KEELSON_ASSIGN_OR_RETURN(const uint64_t id, ParseNumber(test.args[position].key));
  if (id == 0 || id > nodes_.size()) {
    return absl::InvalidArgumentError(absl::StrCat("no node ", id));
  }
  return nodes_[id - 1].get();
}

absl::StatusOr<std::vector<Interaction::Node*>> Interaction::NodeArgs(const Case& test) {
  std::vector<Node*> nodes;
  for (size_t i = 0; i < test.args.size(); ++i) {
    if (!test.args[i].values.empty()) continue;
    KEELSON_ASSIGN_OR_RETURN(Node * node, NodeArg(test, i));
    nodes.push_back(node);
  }
  return nodes;
}

absl::Status Interaction::AddNodes(const Case& test) {
  if (test.args.empty()) return absl::InvalidArgumentError("how many nodes?");
  KEELSON_ASSIGN_OR_RETURN(const uint64_t count, ParseNumber(test.args.front().key));
  NodeOptions node;
  node.options = Defaults();
  bool from_snapshot = false;
  for (const Arg& arg : test.args) {
    for (const std::string& value : arg.values) {
      if (arg.key == "voters" || arg.key == "learners") {
        KEELSON_ASSIGN_OR_RETURN(const uint64_t id, ParseNumber(value));
        (arg.key == "voters" ? node.start.conf_state.voters : node.start.conf_state.learners)
            .push_back(id);
        from_snapshot = true;
      } else if (arg.key == "index") {
        KEELSON_ASSIGN_OR_RETURN(node.start.index, ParseNumber(value));
        from_snapshot = true;
      } else if (arg.key == "content") {
        from_snapshot = true;  // The content of the state machine is never printed.
      } else if (arg.key == "inflight") {
        KEELSON_ASSIGN_OR_RETURN(node.options.max_inflight_messages, ParseNumber(value));
      } else if (arg.key == "max-committed-size-per-ready") {
        KEELSON_ASSIGN_OR_RETURN(node.options.max_apply_bytes, ParseNumber(value));
      } else if (arg.key == "async-storage-writes") {
        KEELSON_ASSIGN_OR_RETURN(node.async, ParseBool(value));
      } else if (arg.key == "prevote") {
        KEELSON_ASSIGN_OR_RETURN(node.options.pre_vote, ParseBool(value));
      } else if (arg.key == "checkquorum") {
        KEELSON_ASSIGN_OR_RETURN(node.options.check_quorum, ParseBool(value));
      } else if (arg.key == "disable-conf-change-validation") {
        KEELSON_ASSIGN_OR_RETURN(const bool disable, ParseBool(value));
        node.options.validate_conf_changes = !disable;
      } else if (arg.key == "step-down-on-removal") {
        KEELSON_ASSIGN_OR_RETURN(node.options.step_down_on_removal, ParseBool(value));
      } else if (arg.key == "max-size-per-msg") {
        KEELSON_ASSIGN_OR_RETURN(node.options.max_message_bytes, ParseNumber(value));
      } else if (arg.key == "commit-by-vote") {
        KEELSON_ASSIGN_OR_RETURN(node.options.commit_by_vote, ParseBool(value));
      } else if (arg.key == "priority") {
        KEELSON_ASSIGN_OR_RETURN(const uint64_t priority, ParseNumber(value));
        node.options.priority = static_cast<int64_t>(priority);
      } else if (arg.key == "read-only") {
        if (value != "safe" && value != "lease-based") {
          return absl::InvalidArgumentError("invalid read-only option");
        }
        node.options.read_mode = value == "safe" ? ReadMode::kSafe : ReadMode::kLeaseBased;
      } else {
        return absl::InvalidArgumentError(absl::StrCat("unknown argument ", arg.key));
      }
    }
  }
  if (from_snapshot) {
    if (node.start.index <= 1) {
      return absl::InvalidArgumentError("index must be specified as > 1 due to bootstrap");
    }
    node.start.term = 1;
  }
  for (uint64_t i = 0; i < count; ++i) KEELSON_RETURN_IF_ERROR(AddNode(node));
  return absl::OkStatus();
}

absl::Status Interaction::AddNode(const NodeOptions& from) {
  const NodeId id = nodes_.size() + 1;
  auto node = std::make_unique<Node>(id, from.start, output_);
  node->async = from.async;
  node->log.applied.metadata = from.start;
  node->options = from.options;
  node->options.id = id;
  node->options.apply_unstable = !from.async;
  KEELSON_RETURN_IF_ERROR(Restart(*node));
  nodes_.push_back(std::move(node));
  return absl::OkStatus();
}

absl::Status Interaction::Restart(Node& node) {
  node.append_work.clear();
  node.apply_work.clear();
  std::erase_if(messages_,
                [&](const Message& message) { return message.to == node.id && IsLocal(message); });
  node.hard_state = node.core == nullptr ? HardState() : node.log.InitialHardState();
  node.options.applied = node.log.applied.metadata.index;
  node.core.reset();
  KEELSON_ASSIGN_OR_RETURN(node.core, Core::Create(node.options, node.log, Random(node.id), &node));
  return absl::OkStatus();
}

absl::Status Interaction::SetLogLevel(const std::string& name) {
  for (size_t i = 0; i < kLevels.size(); ++i) {
    if (absl::AsciiStrToUpper(name) == kLevels[i]) {
      output_.set_level(static_cast<LogLevel>(i));
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(
      "log levels must be either of DEBUG, INFO, WARN, ERROR, FATAL, NONE");
}

absl::Status Interaction::Propose(const Case& test) {
  KEELSON_ASSIGN_OR_RETURN(Node * node, NodeArg(test, 0));
  const Payload payload(test.args.size() > 1 ? test.args[1].key : "");
  if (!node->core->Propose(std::span<const Payload>(&payload, 1)).ok()) return ProposalDropped();
  return absl::OkStatus();
}

absl::Status Interaction::ReadIndex(const Case& test) {
  KEELSON_ASSIGN_OR_RETURN(Node * node, NodeArg(test, 0));
  if (test.args.size() != 2) return absl::InvalidArgumentError("read-index needs a context");
  return node->core->ReadIndex(test.args[1].key);
}

absl::Status Interaction::ProposeConfChange(const Case& test) {
  KEELSON_ASSIGN_OR_RETURN(Node * node, NodeArg(test, 0));
  KEELSON_ASSIGN_OR_RETURN(const bool v1, ParseBool(test.ValueOr("v1", "false")));
  ConfChange change;
  const std::string transition = test.ValueOr("transition", "auto");
  if (transition == "implicit") {
    change.transition = ConfChangeTransition::kJointImplicit;
  } else if (transition == "explicit") {
    change.transition = ConfChangeTransition::kJointExplicit;
  } else if (transition != "auto") {
    return absl::InvalidArgumentError(absl::StrCat("unknown transition ", transition));
  }
  KEELSON_ASSIGN_OR_RETURN(change.changes, ParseChanges(test.input));
  if (!v1) {
    return node->core->ProposeConfChange(change).ok() ? absl::OkStatus() : ProposalDropped();
  }
  if (change.changes.size() != 1 || change.transition != ConfChangeTransition::kAuto) {
    return absl::InvalidArgumentError(
        "v1 conf change can only have one operation and no transition");
  }
  Message message;
  message.type = MessageType::kProp;
  message.from = node->id;
  Entry& entry = message.entries.emplace_back();
  entry.type = EntryType::kConfChange;
  entry.data = Payload(EncodeV1(change.changes.front()));
  return node->core->Step(std::move(message)).ok() ? absl::OkStatus() : ProposalDropped();
}

absl::Status Interaction::SendSnapshot(const Case& test) {
  KEELSON_ASSIGN_OR_RETURN(Node * from, NodeArg(test, 0));
  KEELSON_ASSIGN_OR_RETURN(Node * to, NodeArg(test, 1));
  Message message;
  message.type = MessageType::kSnap;
  message.term = from->core->hard_state().term;
  message.from = from->id;
  message.to = to->id;
  message.snapshot = from->log.applied;
  output_.Print(MessageText(message));
  messages_.push_back(std::move(message));
  return absl::OkStatus();
}

absl::Status Interaction::PrintLog(Node& node) {
  const Index first = node.log.FirstIndex();
  const Index last = node.log.LastIndex();
  if (last < first) {
    output_.Print(absl::StrCat("log is empty: first index=", first, ", last index=", last));
    return absl::OkStatus();
  }
  KEELSON_ASSIGN_OR_RETURN(const std::vector<Entry> entries,
                           node.log.Entries(first, last + 1, std::numeric_limits<uint64_t>::max()));
  output_.Print(EntriesText(entries));
  return absl::OkStatus();
}

absl::Status Interaction::PrintStates() {
  for (const auto& node : nodes_) {
    const Status status = node->core->GetStatus();
    bool voter = false;
    for (const auto* ids : {&status.conf_state.voters, &status.conf_state.voters_outgoing}) {
      for (const NodeId id : *ids) voter = voter || id == node->id;
    }
    output_.Print(absl::StrCat(
        node->id, ": ", RoleText(status.soft_state.role), voter ? " (Voter)" : " (Non-Voter)",
        " Term:", status.hard_state.term, " Lead:", status.soft_state.leader, "\n"));
  }
  return absl::OkStatus();
}

absl::Status Interaction::PrintStatus(Node& node) {
  for (const PeerStatus& peer : node.core->GetStatus().peers) {
    output_.Print(absl::StrCat(peer.id, ": ", ProgressText(peer), "\n"));
  }
  return absl::OkStatus();
}

absl::Status Interaction::Tick(const Case& test) {
  KEELSON_ASSIGN_OR_RETURN(Node * node, NodeArg(test, 0));
  const int ticks = test.command == "tick-election" ? node->options.election_ticks : 1;
  for (int i = 0; i < ticks; ++i) node->core->Tick();
  return absl::OkStatus();
}

}  // namespace keelson::raft::golden
