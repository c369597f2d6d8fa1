#include "raft/transport/codec.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "raft/transport/raft.pb.h"

namespace keelson::raft {
namespace {

namespace pb = transport::v1;

// Shorter payloads are copied: one more slice costs more than a short memcpy.
constexpr size_t kShareBytes = 4096;

size_t VarintSize(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

// A number field: nothing for 0, as proto3 wants it.
size_t NumberSize(uint64_t value) { return value == 0 ? 0 : 1 + VarintSize(value); }
// One with a number above 15.
size_t WideNumberSize(uint64_t value) { return value == 0 ? 0 : 2 + VarintSize(value); }
// A length-delimited field with `size` bytes.
size_t BytesSize(size_t size) { return 1 + VarintSize(size) + size; }
size_t PackedSize(const std::vector<NodeId>& ids) {
  size_t size = 0;
  for (const NodeId id : ids) size += VarintSize(id);
  return size;
}
size_t IdsSize(const std::vector<NodeId>& ids) {
  return ids.empty() ? 0 : BytesSize(PackedSize(ids));
}

size_t EntrySize(const Entry& entry) {
  return NumberSize(static_cast<uint64_t>(entry.type)) + NumberSize(entry.term) +
         NumberSize(entry.index) + (entry.data.empty() ? 0 : BytesSize(entry.data.size()));
}

size_t ConfStateSize(const ConfState& conf) {
  return IdsSize(conf.voters) + IdsSize(conf.learners) + IdsSize(conf.voters_outgoing) +
         IdsSize(conf.learners_next) + NumberSize(conf.auto_leave ? 1 : 0);
}

size_t MetadataSize(const SnapshotMetadata& metadata) {
  return BytesSize(ConfStateSize(metadata.conf_state)) + NumberSize(metadata.index) +
         NumberSize(metadata.term);
}

size_t SnapshotSize(const Snapshot& snapshot) {
  return (snapshot.data.empty() ? 0 : BytesSize(snapshot.data.size())) +
         BytesSize(MetadataSize(snapshot.metadata));
}

size_t MessageSize(const Message& m) {
  size_t size = NumberSize(static_cast<uint64_t>(m.type)) + NumberSize(m.to) + NumberSize(m.from) +
                NumberSize(m.term) + NumberSize(m.log_term) + NumberSize(m.index) +
                NumberSize(m.commit) + NumberSize(m.reject ? 1 : 0) + NumberSize(m.reject_hint) +
                NumberSize(m.vote) + NumberSize(m.commit_term) + NumberSize(m.group) +
                WideNumberSize(m.incarnation) + WideNumberSize(m.recovering ? 1 : 0) +
                WideNumberSize(m.recover_to) + WideNumberSize(static_cast<uint64_t>(m.priority)) +
                WideNumberSize(m.quiesce ? 1 : 0) +
                (m.context.empty() ? 0 : BytesSize(m.context.size()));
  for (const Entry& entry : m.entries) size += BytesSize(EntrySize(entry));
  if (m.snapshot.has_value()) size += BytesSize(SnapshotSize(*m.snapshot));
  return size;
}

// Appends protobuf fields to the pieces of a batch.
class Writer {
 public:
  void Number(int field, uint64_t value) {
    if (value == 0) return;
    Tag(field, 0);
    Varint(value);
  }
  // The head of a length-delimited field; its `size` bytes follow.
  void Length(int field, size_t size) {
    Tag(field, 2);
    Varint(size);
  }
  void Bytes(int field, std::string_view bytes) {
    if (bytes.empty()) return;
    Length(field, bytes.size());
    text_.append(bytes);
  }
  void Shared(int field, const Payload& payload) {
    if (payload.size() < kShareBytes) return Bytes(field, payload.view());
    Length(field, payload.size());
    Flush();
    bytes_ += payload.size();
    pieces_.push_back({.bytes = {}, .payload = payload});
  }
  void Ids(int field, const std::vector<NodeId>& ids) {
    if (ids.empty()) return;
    Length(field, PackedSize(ids));
    for (const NodeId id : ids) Varint(id);
  }
  void Reserve(size_t bytes) { text_.reserve(bytes); }

  WireBatch Take() && {
    Flush();
    return {.pieces = std::move(pieces_), .bytes = bytes_};
  }

 private:
  void Tag(int field, int wire_type) { Varint(static_cast<uint64_t>(field << 3 | wire_type)); }
  void Varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) text_.push_back(static_cast<char>(value | 0x80));
    text_.push_back(static_cast<char>(value));
  }
  void Flush() {
    if (text_.empty()) return;
    bytes_ += text_.size();
    pieces_.push_back({.bytes = std::move(text_), .payload = {}});
    text_.clear();
  }

  std::string text_;
  std::vector<WirePiece> pieces_;
  size_t bytes_ = 0;
};

void WriteEntry(const Entry& entry, Writer& out) {
  out.Length(pb::Message::kEntriesFieldNumber, EntrySize(entry));
  out.Number(pb::Entry::kTypeFieldNumber, static_cast<uint64_t>(entry.type));
  out.Number(pb::Entry::kTermFieldNumber, entry.term);
  out.Number(pb::Entry::kIndexFieldNumber, entry.index);
  out.Shared(pb::Entry::kDataFieldNumber, entry.data);
}

void WriteSnapshot(const Snapshot& snapshot, Writer& out) {
  const SnapshotMetadata& metadata = snapshot.metadata;
  out.Length(pb::Message::kSnapshotFieldNumber, SnapshotSize(snapshot));
  out.Shared(pb::Snapshot::kDataFieldNumber, snapshot.data);
  out.Length(pb::Snapshot::kMetadataFieldNumber, MetadataSize(metadata));
  out.Length(pb::SnapshotMetadata::kConfStateFieldNumber, ConfStateSize(metadata.conf_state));
  out.Ids(pb::ConfState::kVotersFieldNumber, metadata.conf_state.voters);
  out.Ids(pb::ConfState::kLearnersFieldNumber, metadata.conf_state.learners);
  out.Ids(pb::ConfState::kVotersOutgoingFieldNumber, metadata.conf_state.voters_outgoing);
  out.Ids(pb::ConfState::kLearnersNextFieldNumber, metadata.conf_state.learners_next);
  out.Number(pb::ConfState::kAutoLeaveFieldNumber, metadata.conf_state.auto_leave ? 1 : 0);
  out.Number(pb::SnapshotMetadata::kIndexFieldNumber, metadata.index);
  out.Number(pb::SnapshotMetadata::kTermFieldNumber, metadata.term);
}

void WriteMessage(const Message& m, Writer& out) {
  out.Length(pb::Batch::kMessagesFieldNumber, MessageSize(m));
  out.Number(pb::Message::kTypeFieldNumber, static_cast<uint64_t>(m.type));
  out.Number(pb::Message::kToFieldNumber, m.to);
  out.Number(pb::Message::kFromFieldNumber, m.from);
  out.Number(pb::Message::kTermFieldNumber, m.term);
  out.Number(pb::Message::kLogTermFieldNumber, m.log_term);
  out.Number(pb::Message::kIndexFieldNumber, m.index);
  for (const Entry& entry : m.entries) WriteEntry(entry, out);
  out.Number(pb::Message::kCommitFieldNumber, m.commit);
  if (m.snapshot.has_value()) WriteSnapshot(*m.snapshot, out);
  out.Number(pb::Message::kRejectFieldNumber, m.reject ? 1 : 0);
  out.Number(pb::Message::kRejectHintFieldNumber, m.reject_hint);
  out.Bytes(pb::Message::kContextFieldNumber, m.context);
  out.Number(pb::Message::kVoteFieldNumber, m.vote);
  out.Number(pb::Message::kCommitTermFieldNumber, m.commit_term);
  out.Number(pb::Message::kGroupFieldNumber, m.group);
  out.Number(pb::Message::kIncarnationFieldNumber, m.incarnation);
  out.Number(pb::Message::kRecoveringFieldNumber, m.recovering ? 1 : 0);
  out.Number(pb::Message::kRecoverToFieldNumber, m.recover_to);
  out.Number(pb::Message::kPriorityFieldNumber, static_cast<uint64_t>(m.priority));
  out.Number(pb::Message::kQuiesceFieldNumber, m.quiesce ? 1 : 0);
}

bool MayTravel(uint32_t type) {
  switch (static_cast<MessageType>(type)) {
    case MessageType::kProp:
    case MessageType::kApp:
    case MessageType::kAppResp:
    case MessageType::kVote:
    case MessageType::kVoteResp:
    case MessageType::kSnap:
    case MessageType::kHeartbeat:
    case MessageType::kHeartbeatResp:
    case MessageType::kTransferLeader:
    case MessageType::kTimeoutNow:
    case MessageType::kReadIndex:
    case MessageType::kReadIndexResp:
    case MessageType::kPreVote:
    case MessageType::kPreVoteResp:
      return true;
    default:
      return false;
  }
}

absl::Status Invalid(std::string text) { return absl::InvalidArgumentError(text); }

absl::StatusOr<std::vector<NodeId>> DecodeIds(
    const google::protobuf::RepeatedField<uint64_t>& proto, const DecodeLimits& limits) {
  if (proto.size() > static_cast<int>(limits.max_members)) return Invalid("too many members");
  std::vector<NodeId> ids(proto.begin(), proto.end());
  if (std::adjacent_find(ids.begin(), ids.end(), std::greater_equal<>()) != ids.end()) {
    return Invalid("members are not in ascending order");
  }
  return ids;
}

absl::StatusOr<Snapshot> DecodeSnapshot(pb::Snapshot& proto, const DecodeLimits& limits) {
  Snapshot snapshot;
  SnapshotMetadata& metadata = snapshot.metadata;
  metadata.index = proto.metadata().index();
  metadata.term = proto.metadata().term();
  const pb::ConfState& conf = proto.metadata().conf_state();
  KEELSON_ASSIGN_OR_RETURN(metadata.conf_state.voters, DecodeIds(conf.voters(), limits));
  KEELSON_ASSIGN_OR_RETURN(metadata.conf_state.learners, DecodeIds(conf.learners(), limits));
  KEELSON_ASSIGN_OR_RETURN(metadata.conf_state.voters_outgoing,
                           DecodeIds(conf.voters_outgoing(), limits));
  KEELSON_ASSIGN_OR_RETURN(metadata.conf_state.learners_next,
                           DecodeIds(conf.learners_next(), limits));
  metadata.conf_state.auto_leave = conf.auto_leave();
  if (metadata.index == 0 || metadata.term == 0) return Invalid("a snapshot of nothing");
  snapshot.data = Payload(std::move(*proto.mutable_data()));
  return snapshot;
}

absl::Status DecodeEntries(pb::Message& proto, Message& message, const DecodeLimits& limits) {
  if (proto.entries_size() > static_cast<int>(limits.max_entries)) {
    return Invalid("too many entries");
  }
  message.entries.reserve(static_cast<size_t>(proto.entries_size()));
  for (pb::Entry& entry : *proto.mutable_entries()) {
    if (entry.type() > static_cast<uint32_t>(EntryType::kConfChangeV2)) {
      return Invalid(absl::StrCat("entry of unknown type ", entry.type()));
    }
    message.entries.push_back({.term = entry.term(),
                               .index = entry.index(),
                               .type = static_cast<EntryType>(entry.type()),
                               .data = Payload(std::move(*entry.mutable_data()))});
  }
  if (message.type != MessageType::kApp) return absl::OkStatus();
  Index index = message.index;
  Term term = message.log_term;
  for (const Entry& entry : message.entries) {
    if (index == std::numeric_limits<Index>::max() || entry.index != index + 1) {
      return Invalid(absl::StrCat("entry ", entry.index, " does not follow ", index));
    }
    if (entry.term < term || entry.term > message.term) {
      return Invalid(absl::StrCat("entry ", entry.index, " of term ", entry.term,
                                  " in a message of term ", message.term));
    }
    index = entry.index;
    term = entry.term;
  }
  return absl::OkStatus();
}

}  // namespace

WireBatch EncodeBatch(std::span<const Message> messages, uint64_t probe) {
  Writer out;
  size_t small = 16;
  for (const Message& message : messages) small += 64 + 32 * message.entries.size();
  out.Reserve(small);
  for (const Message& message : messages) WriteMessage(message, out);
  out.Number(pb::Batch::kProbeFieldNumber, probe);
  return std::move(out).Take();
}

size_t EncodedBytes(const Message& message) { return MessageSize(message) + 8; }

absl::StatusOr<Message> DecodeMessage(pb::Message&& proto, const DecodeLimits& limits) {
  if (!MayTravel(proto.type())) {
    return Invalid(absl::StrCat("a message of type ", proto.type(), " cannot come from a peer"));
  }
  if (proto.from() == kNoNode || proto.from() >= kApplyThread || proto.to() == kNoNode ||
      proto.to() >= kApplyThread) {
    return Invalid("a message without sender or addressee");
  }
  if (proto.context().size() > limits.max_context_bytes) return Invalid("too long a context");
  Message message;
  message.type = static_cast<MessageType>(proto.type());
  message.to = proto.to();
  message.from = proto.from();
  message.term = proto.term();
  message.log_term = proto.log_term();
  message.index = proto.index();
  message.commit = proto.commit();
  message.vote = proto.vote();
  message.commit_term = proto.commit_term();
  message.group = proto.group();
  message.incarnation = proto.incarnation();
  message.recovering = proto.recovering();
  message.recover_to = proto.recover_to();
  message.priority = proto.priority();
  message.quiesce = proto.quiesce();
  message.reject = proto.reject();
  message.reject_hint = proto.reject_hint();
  message.context = std::move(*proto.mutable_context());
  KEELSON_RETURN_IF_ERROR(DecodeEntries(proto, message, limits));
  if (proto.has_snapshot()) {
    KEELSON_ASSIGN_OR_RETURN(message.snapshot, DecodeSnapshot(*proto.mutable_snapshot(), limits));
  }
  if (message.snapshot.has_value() != (message.type == MessageType::kSnap)) {
    return Invalid("a snapshot belongs into a Snap message, and nowhere else");
  }
  return message;
}

absl::StatusOr<DecodedBatch> DecodeBatch(google::protobuf::io::ZeroCopyInputStream& in,
                                         const DecodeLimits& limits) {
  pb::Batch proto;
  if (!proto.ParseFromZeroCopyStream(&in)) return Invalid("not a batch of messages");
  if (proto.messages_size() > static_cast<int>(limits.max_messages)) {
    return Invalid("too many messages in a batch");
  }
  DecodedBatch batch;
  batch.probe = proto.probe();
  batch.messages.reserve(static_cast<size_t>(proto.messages_size()));
  for (pb::Message& each : *proto.mutable_messages()) {
    KEELSON_ASSIGN_OR_RETURN(Message message, DecodeMessage(std::move(each), limits));
    batch.messages.push_back(std::move(message));
  }
  return batch;
}

void EncodeMessage(const Message& message, pb::Message* proto) {
  std::string bytes;
  const WireBatch batch = EncodeBatch({&message, 1}, 0);
  for (const WirePiece& piece : batch.pieces) bytes += piece.view();
  pb::Batch parsed;
  KEELSON_CHECK(parsed.ParseFromString(bytes) && parsed.messages_size() == 1);
  proto->Swap(parsed.mutable_messages(0));
}

}  // namespace keelson::raft
