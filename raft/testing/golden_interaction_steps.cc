// The commands that move messages and work along.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "raft/testing/golden_interaction.h"
#include "raft/testing/test_sync.h"

namespace keelson::raft::golden {
namespace {

// The Ready as etcd-io/raft prints it. `append` and `apply` are its storage messages; when
// storage is synchronous their parts are printed but not the messages themselves.
std::string ReadyText(const Ready& ready, const std::optional<Message>& append,
                      const std::optional<Message>& apply, const std::vector<Message>& messages,
                      bool must_sync) {
  std::string out;
  if (ready.soft_state.has_value()) {
    absl::StrAppend(&out, "Lead:", ready.soft_state->leader,
                    " State:", RoleText(ready.soft_state->role), "\n");
  }
  for (const ReadState& read : ready.reads) {
    absl::StrAppend(&out, "Read Index:", read.index, " Context:", read.context, "\n");
  }
  if (append.has_value()) {
    const HardState state{append->term, append->vote, append->commit};
    if (state != HardState()) absl::StrAppend(&out, "HardState ", HardStateText(state), "\n");
  }
  if (append.has_value() && !append->entries.empty()) {
    absl::StrAppend(&out, "Entries:\n", EntriesText(append->entries));
  }
  if (append.has_value() && append->snapshot.has_value()) {
    absl::StrAppend(&out, "Snapshot ", SnapshotText(*append->snapshot), "\n");
  }
  if (apply.has_value()) {
    absl::StrAppend(&out, "CommittedEntries:\n", EntriesText(apply->entries));
  }
  if (!messages.empty()) out += "Messages:\n";
  for (const Message& message : messages) absl::StrAppend(&out, MessageText(message), "\n");
  if (out.empty()) return "<empty Ready>";
  return absl::StrCat("Ready MustSync=", must_sync ? "true" : "false", ":\n", out);
}

// AppendWork as the message that etcd-io/raft sends to its append thread.
Message ToMessage(NodeId self, AppendWork work) {
  Message message;
  message.type = MessageType::kStorageAppend;
  message.from = self;
  message.to = kAppendThread;
  message.entries = std::move(work.entries);
  if (work.hard_state.has_value()) {
    message.term = work.hard_state->term;
    message.vote = work.hard_state->vote;
    message.commit = work.hard_state->commit;
  }
  message.snapshot = std::move(work.snapshot);
  message.responses = std::move(work.responses).Release(TestSync::Token());
  return message;
}

Message ToMessage(NodeId self, ApplyWork work) {
  Message message;
  message.type = MessageType::kStorageApply;
  message.from = self;
  message.to = kApplyThread;
  message.entries = std::move(work.entries);
  message.responses = std::move(work.responses);
  for (Message& response : message.responses) {
    response.index = 0;  // Named by its entries there.
    response.entries = message.entries;
  }
  return message;
}

}  // namespace

bool IsLocal(const Message& message) {
  return message.from == message.to || message.from == kAppendThread ||
         message.from == kApplyThread;
}

absl::Status Interaction::ForNodes(const Case& test, const std::string& what, Worker worker) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<Node*> nodes, NodeArgs(test));
  for (Node* node : nodes) {
    absl::Status status;
    if (nodes.size() == 1) {
      status = (this->*worker)(*node);
    } else {
      output_.Print(absl::StrCat("> ", node->id, " ", what, "\n"));
      output_.Indented([&] { status = (this->*worker)(*node); });
    }
    KEELSON_RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

absl::Status Interaction::Stabilize(const Case& test) {
  const LogLevel level = output_.level();
  if (const Arg* quiet = test.Find("log-level")) {
    KEELSON_RETURN_IF_ERROR(SetLogLevel(quiet->values.front()));
  }
  KEELSON_ASSIGN_OR_RETURN(std::vector<Node*> nodes, NodeArgs(test));
  if (nodes.empty()) {
    for (const auto& node : nodes_) nodes.push_back(node.get());
  }
  absl::Status status;
  for (bool busy = true; busy && status.ok();) {
    const absl::StatusOr<bool> again = StabilizeOnce(nodes);
    status = again.status();
    busy = again.ok() && *again;
  }
  output_.set_level(level);
  return status;
}

absl::StatusOr<bool> Interaction::StabilizeOnce(const std::vector<Node*>& nodes) {
  bool busy = false;
  absl::Status status;
  for (Node* node : nodes) {
    if (!node->core->HasReady()) continue;
    busy = true;
    output_.Print(absl::StrCat("> ", node->id, " handling Ready\n"));
    output_.Indented([&] { status = ProcessReady(*node); });
    KEELSON_RETURN_IF_ERROR(status);
  }
  for (Node* node : nodes) {
    if (!HasMessages(node->id)) continue;
    busy = true;
    output_.Print(absl::StrCat("> ", node->id, " receiving messages\n"));
    output_.Indented([&] { (void)Deliver({.id = node->id}, ""); });  // The count is known.
  }
  for (Node* node : nodes) {
    if (node->append_work.empty()) continue;
    busy = true;
    output_.Print(absl::StrCat("> ", node->id, " processing append thread\n"));
    while (!node->append_work.empty()) {
      output_.Indented([&] { status = ProcessAppend(*node); });
      KEELSON_RETURN_IF_ERROR(status);
    }
  }
  for (Node* node : nodes) {
    if (node->apply_work.empty()) continue;
    busy = true;
    output_.Print(absl::StrCat("> ", node->id, " processing apply thread\n"));
    while (!node->apply_work.empty()) {
      output_.Indented([&] { status = ProcessApply(*node); });
      KEELSON_RETURN_IF_ERROR(status);
    }
  }
  return busy;
}

absl::Status Interaction::DeliverCommand(const Case& test) {
  std::vector<Recipient> recipients;
  for (const Arg& arg : test.args) {
    if (arg.values.empty()) {
      KEELSON_ASSIGN_OR_RETURN(const uint64_t id, ParseNumber(arg.key));
      recipients.push_back({.id = id});
    } else if (arg.key == "drop") {
      for (const std::string& value : arg.values) {
        KEELSON_ASSIGN_OR_RETURN(const uint64_t id, ParseNumber(value));
        for (const Recipient& other : recipients) {
          if (other.id == id) {
            return absl::InvalidArgumentError(
                absl::StrCat("can't both deliver and drop msgs to ", id));
          }
        }
        recipients.push_back({.id = id, .drop = true});
      }
    } else if (arg.key != "type") {
      return absl::InvalidArgumentError(absl::StrCat("unknown argument ", arg.key));
    }
  }
  size_t count = 0;
  for (const Recipient& recipient : recipients) {
    count += Deliver(recipient, test.ValueOr("type", ""));
  }
  if (count == 0) output_.Print("no messages\n");
  return absl::OkStatus();
}

bool Interaction::HasMessages(NodeId to) const {
  return std::any_of(messages_.begin(), messages_.end(),
                     [to](const Message& message) { return message.to == to; });
}

std::vector<Message> Interaction::TakeMessages(const Recipient& recipient,
                                               const std::string& type) {
  std::vector<Message> taken;
  std::vector<Message> left;
  for (Message& message : messages_) {
    const bool matches = message.to == recipient.id &&
                         (type.empty() || MessageTypeName(message.type) == type) &&
                         !(recipient.drop && IsLocal(message));
    (matches ? taken : left).push_back(std::move(message));
  }
  messages_ = std::move(left);
  return taken;
}

size_t Interaction::Deliver(const Recipient& recipient, const std::string& type) {
  std::vector<Message> messages = TakeMessages(recipient, type);
  const size_t count = messages.size();
  for (Message& message : messages) {
    output_.Print(absl::StrCat(recipient.drop ? "dropped: " : "", MessageText(message), "\n"));
    if (recipient.drop) continue;
    const absl::Status status = StepMessage(std::move(message));
    if (!status.ok()) output_.Print(absl::StrCat(std::string(status.message()), "\n"));
  }
  return count;
}

absl::Status Interaction::StepMessage(Message message) {
  if (message.to == kNoNode || message.to > nodes_.size()) {
    return absl::NotFoundError(absl::StrCat("no node ", message.to));
  }
  Node& node = *nodes_[message.to - 1];
  if (message.from == message.to) {
    // The core takes its own messages in any case; etcd-io/raft refuses them from a node that
    // has left the membership.
    const ConfState config = node.core->GetStatus().conf_state;
    bool member = false;
    for (const auto* ids : {&config.voters, &config.voters_outgoing, &config.learners}) {
      member = member || std::find(ids->begin(), ids->end(), message.from) != ids->end();
    }
    if (!member) return absl::NotFoundError("raft: cannot step as peer not found");
  }
  const absl::Status status = node.core->Step(std::move(message));
  if (absl::IsNotFound(status)) {
    return absl::NotFoundError("raft: cannot step as peer not found");
  }
  if (absl::IsUnavailable(status) || absl::IsResourceExhausted(status)) {
    return absl::UnavailableError("raft proposal dropped");
  }
  return status;
}

absl::Status Interaction::ProcessReady(Node& node) {
  Ready ready = node.core->TakeReady();
  std::optional<Message> append;
  std::optional<Message> apply;
  bool must_sync = false;
  if (ready.append.has_value()) {
    const auto& state = ready.append->hard_state;
    must_sync = !ready.append->entries.empty() ||
                (state.has_value() &&
                 (state->term != node.hard_state.term || state->vote != node.hard_state.vote));
    if (state.has_value()) node.hard_state = *state;
    append = ToMessage(node.id, *std::move(ready.append));
  }
  if (ready.apply.has_value()) apply = ToMessage(node.id, *std::move(ready.apply));

  std::vector<Message> messages = ready.messages;
  std::vector<Message> to_self;
  if (node.async) {
    if (append.has_value()) messages.push_back(*append);
    if (apply.has_value()) messages.push_back(*apply);
  } else if (append.has_value()) {
    for (Message& response : append->responses) {
      (response.to == node.id ? to_self : messages).push_back(std::move(response));
    }
  }
  output_.Print(ReadyText(ready, append, apply, messages, must_sync));
  if (node.async) {
    if (append.has_value()) node.append_work.push_back(*std::move(append));
    if (apply.has_value()) node.apply_work.push_back(*std::move(apply));
    messages_.insert(messages_.end(), ready.messages.begin(), ready.messages.end());
    return absl::OkStatus();
  }
  if (append.has_value()) Persist(node, *append);
  if (apply.has_value()) {
    KEELSON_RETURN_IF_ERROR(Apply(node, apply->entries));
    for (Message& response : apply->responses) to_self.push_back(std::move(response));
  }
  messages_.insert(messages_.end(), messages.begin(), messages.end());
  // What etcd-io/raft calls Advance: the node hears of its own progress.
  for (Message& message : to_self) KEELSON_RETURN_IF_ERROR(node.core->Step(std::move(message)));
  return absl::OkStatus();
}

void Interaction::Persist(Node& node, const Message& append) {
  const HardState state{append.term, append.vote, append.commit};
  if (state != HardState()) node.log.stable().SetHardState(state);
  if (append.snapshot.has_value()) node.log.stable().Reset(*append.snapshot);
  node.log.stable().Append(append.entries);
}

absl::Status Interaction::Apply(Node& node, const std::vector<Entry>& entries) {
  for (const Entry& entry : entries) {
    SnapshotMetadata& applied = node.log.applied.metadata;
    if (entry.type != EntryType::kNormal) {
      KEELSON_ASSIGN_OR_RETURN(const ConfChange change, DecodeConfChange(entry));
      if (auto next = node.core->ApplyConfChange(entry.index, change); next.has_value()) {
        applied.conf_state = *std::move(next);
      }  // Else a snapshot waits to take the place of all of this.
    }
    applied.index = entry.index;
    applied.term = entry.term;
  }
  return absl::OkStatus();
}

absl::Status Interaction::ProcessAppend(Node& node) {
  if (node.append_work.empty()) {
    output_.Print("no append work to perform");
    return absl::OkStatus();
  }
  Message work = std::move(node.append_work.front());
  node.append_work.pop_front();
  std::vector<Message> responses;
  responses.swap(work.responses);
  output_.Print(absl::StrCat("Processing:\n", MessageText(work), "\n"));
  Persist(node, work);
  output_.Print("Responses:\n");
  for (Message& response : responses) {
    output_.Print(absl::StrCat(MessageText(response), "\n"));
    messages_.push_back(std::move(response));
  }
  return absl::OkStatus();
}

absl::Status Interaction::ProcessApply(Node& node) {
  if (node.apply_work.empty()) {
    output_.Print("no apply work to perform");
    return absl::OkStatus();
  }
  Message work = std::move(node.apply_work.front());
  node.apply_work.pop_front();
  std::vector<Message> responses;
  responses.swap(work.responses);
  output_.Print(absl::StrCat("Processing:\n", MessageText(work), "\n"));
  KEELSON_RETURN_IF_ERROR(Apply(node, work.entries));
  output_.Print("Responses:\n");
  for (Message& response : responses) {
    output_.Print(absl::StrCat(MessageText(response), "\n"));
    messages_.push_back(std::move(response));
  }
  return absl::OkStatus();
}

}  // namespace keelson::raft::golden
