#include "raft/sim/kv_machine.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/crc32c.h"
#include "base/status.h"
#include "raft/internal/mutation.h"
#include "raft/snapshot_store.h"

namespace keelson::raft::sim {
namespace {

constexpr uint64_t kMaxStateBytes = 64 << 20;

void PutNumber(std::string& out, uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) out.push_back(static_cast<char>(value >> shift));
}

void PutString(std::string& out, std::string_view text) {
  PutNumber(out, text.size());
  out.append(text);
}

void PutNodes(std::string& out, const std::vector<NodeId>& nodes) {
  PutNumber(out, nodes.size());
  for (const NodeId node : nodes) PutNumber(out, node);
}

// Takes values from the front of bytes; after the first failure everything is empty.
class Parser {
 public:
  explicit Parser(std::string_view bytes) : rest_(bytes) {}

  uint64_t Number() {
    if (rest_.size() < 8) {
      Fail();
      return 0;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < 8; ++i) {
      value |= uint64_t{static_cast<unsigned char>(rest_[i])} << (8 * i);
    }
    rest_.remove_prefix(8);
    return value;
  }

  std::string String() {
    const uint64_t size = Number();
    if (size > rest_.size()) {
      Fail();
      return "";
    }
    std::string text(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return text;
  }

  std::vector<NodeId> Nodes() {
    std::vector<NodeId> nodes;
    for (uint64_t left = Count(8); left > 0; --left) nodes.push_back(Number());
    return nodes;
  }

  // A number of items that take at least `item_bytes` each.
  uint64_t Count(uint64_t item_bytes) {
    const uint64_t count = Number();
    if (count <= rest_.size() / item_bytes) return count;
    Fail();
    return 0;
  }

  // Everything was read and nothing failed.
  [[nodiscard]] bool Finished() const { return ok_ && rest_.empty(); }

 private:
  void Fail() {
    ok_ = false;
    rest_ = {};
  }

  std::string_view rest_;
  bool ok_ = true;
};

uint64_t HashBytes(std::string_view bytes) {
  uint64_t hash = bytes.size();
  while (!bytes.empty()) {
    uint64_t word = 0;  // the next eight
    const std::string_view part = bytes.substr(0, sizeof(word));
    std::memcpy(&word, part.data(), part.size());
    bytes.remove_prefix(part.size());
    hash = MixHash(hash, word);
  }
  return hash;
}

uint64_t HashPair(const std::string& key, const KvValue& value) {
  return MixHash(MixHash(HashBytes(key), HashBytes(value.value)), value.revision);
}

// A copy of the state, taken when the snapshot was asked for.
class KvCapture final : public StateCapture {
 public:
  explicit KvCapture(const KvState& state)
      : metadata_(state.applied), bytes_(SerializeKvState(state)) {}

  const SnapshotMetadata& metadata() const override { return metadata_; }
  absl::Status WriteTo(SnapshotWriter& writer) override {
    // In pieces, so that the store sees more than one.
    constexpr size_t kPiece = 300;
    for (size_t at = 0; at < bytes_.size(); at += kPiece) {
      KEELSON_RETURN_IF_ERROR(writer.Append(std::string_view(bytes_).substr(at, kPiece)));
    }
    return absl::OkStatus();
  }

 private:
  const SnapshotMetadata metadata_;
  const std::string bytes_;
};

}  // namespace

uint64_t HashEntry(const Entry& entry) {
  return MixHash(MixHash(entry.term, static_cast<uint64_t>(entry.type)),
                 HashBytes(entry.data.view()));
}

std::string EncodeKvCommand(const KvCommand& command) {
  std::string bytes;
  PutNumber(bytes, command.client);
  PutNumber(bytes, command.sequence);
  PutString(bytes, command.key);
  PutString(bytes, command.value);
  return bytes;
}

absl::StatusOr<KvCommand> DecodeKvCommand(std::string_view bytes) {
  Parser parser(bytes);
  KvCommand command;
  command.client = parser.Number();
  command.sequence = parser.Number();
  command.key = parser.String();
  command.value = parser.String();
  if (!parser.Finished()) return absl::DataLossError("not a command of the simulated store");
  return command;
}

std::string SerializeKvState(const KvState& state) {
  std::string bytes;
  PutNumber(bytes, state.applied.index);
  PutNumber(bytes, state.applied.term);
  const ConfState& conf = state.applied.conf_state;
  for (const auto* nodes :
       {&conf.voters, &conf.learners, &conf.voters_outgoing, &conf.learners_next}) {
    PutNodes(bytes, *nodes);
  }
  PutNumber(bytes, conf.auto_leave);
  PutNumber(bytes, state.stream_hash);
  PutNumber(bytes, state.state_hash);
  PutNumber(bytes, state.keys.size());
  for (const auto& [key, value] : state.keys) {
    PutString(bytes, key);
    PutString(bytes, value.value);
    PutNumber(bytes, value.revision);
  }
  PutNumber(bytes, state.sessions.size());
  for (const auto& [client, session] : state.sessions) {
    PutNumber(bytes, client);
    PutNumber(bytes, session.sequence);
    PutNumber(bytes, session.revision);
  }
  PutNumber(bytes, Crc32c(bytes));
  return bytes;
}

absl::StatusOr<KvState> ParseKvState(std::string_view bytes) {
  if (bytes.size() < 8 || Parser(bytes.substr(bytes.size() - 8)).Number() !=
                              Crc32c(bytes.substr(0, bytes.size() - 8))) {
    return absl::DataLossError("the state of the simulated store has a wrong checksum");
  }
  Parser parser(bytes.substr(0, bytes.size() - 8));
  KvState state;
  state.applied.index = parser.Number();
  state.applied.term = parser.Number();
  ConfState& conf = state.applied.conf_state;
  for (auto* nodes : {&conf.voters, &conf.learners, &conf.voters_outgoing, &conf.learners_next}) {
    *nodes = parser.Nodes();
  }
  conf.auto_leave = parser.Number() != 0;
  state.stream_hash = parser.Number();
  state.state_hash = parser.Number();
  for (uint64_t left = parser.Count(24); left > 0; --left) {
    std::string key = parser.String();
    KvValue& value = state.keys[std::move(key)];
    value.value = parser.String();
    value.revision = parser.Number();
  }
  for (uint64_t left = parser.Count(24); left > 0; --left) {
    KvSession& session = state.sessions[parser.Number()];
    session.sequence = parser.Number();
    session.revision = parser.Number();
  }
  if (!parser.Finished()) return absl::DataLossError("the state of the simulated store is cut");
  return state;
}

absl::StatusOr<std::unique_ptr<KvMachine>> KvMachine::Open(FileSystem& fs, const std::string& path,
                                                           const ConfState& initial, Random random,
                                                           const Options& options, Hooks hooks) {
  std::unique_ptr<KvMachine> machine(new KvMachine(fs, path, random, options, std::move(hooks)));
  machine->state_.applied.conf_state = initial;
  const absl::StatusOr<std::string> bytes = ReadFile(fs, path, kMaxStateBytes);
  if (bytes.status().code() == absl::StatusCode::kNotFound) return machine;
  KEELSON_RETURN_IF_ERROR(bytes.status());
  KEELSON_ASSIGN_OR_RETURN(machine->state_, ParseKvState(*bytes));
  return machine;
}

absl::StatusOr<std::pair<KvCommand, Index>> KvMachine::ApplyCommand(const Entry& entry) {
  KEELSON_ASSIGN_OR_RETURN(KvCommand command, DecodeKvCommand(entry.data.view()));
  KvSession& session = state_.sessions[command.client];
  if (command.sequence > session.sequence || Mutated(Mutation::kNoSessions)) {
    session = {.sequence = command.sequence, .revision = entry.index};
    KvValue& value = state_.keys[command.key];
    if (value.revision != 0) state_.state_hash ^= HashPair(command.key, value);
    value = {.value = command.value, .revision = entry.index};
    state_.state_hash ^= HashPair(command.key, value);
  }
  // An older one than the session's last was given up by its client long ago.
  const Index revision = command.sequence == session.sequence ? session.revision : 0;
  return std::pair(std::move(command), revision);
}

absl::Status KvMachine::Apply(std::span<const Entry> entries, const SnapshotMetadata& after) {
  for (const Entry& entry : entries) {
    before_last_ = state_.applied;
    state_.applied.index = entry.index;
    state_.applied.term = entry.term;
    if (entry.index == after.index) state_.applied = after;
    state_.stream_hash = MixHash(state_.stream_hash, HashEntry(entry));
    std::pair<KvCommand, Index> command;
    if (entry.type == EntryType::kNormal && !entry.data.empty()) {
      KEELSON_ASSIGN_OR_RETURN(command, ApplyCommand(entry));
    }
    if (hooks_.applied) hooks_.applied(entry, state_, entry.index == after.index);
    if (command.second != 0 && hooks_.done) hooks_.done(command.first, command.second);
  }
  return random_.Bernoulli(options_.spontaneous_flush) ? Flush() : absl::OkStatus();
}

std::function<absl::Status()> KvMachine::BeginFlush() {
  if (!random_.Bernoulli(options_.flush_beside)) return nullptr;
  return [this, state = state_] { return WriteDurably(state); };
}

absl::Status KvMachine::WriteDurably(const KvState& state) {
  if (state.applied.index < durable_) return absl::OkStatus();
  durable_ = state.applied.index;
  if (!Mutated(Mutation::kPositionBehindEffects) || before_last_.index == 0) {
    return WriteFileAtomically(fs_, path_, SerializeKvState(state));
  }
  KvState wrong = state;
  wrong.applied = before_last_;
  return WriteFileAtomically(fs_, path_, SerializeKvState(wrong));
}

absl::StatusOr<std::unique_ptr<StateCapture>> KvMachine::Capture() {
  return std::make_unique<KvCapture>(state_);
}

absl::Status KvMachine::Restore(SnapshotReader& reader, const SnapshotMetadata& metadata) {
  std::string bytes;
  while (true) {
    KEELSON_ASSIGN_OR_RETURN(const std::string chunk, reader.Next());
    if (chunk.empty()) break;
    bytes += chunk;
  }
  KEELSON_ASSIGN_OR_RETURN(KvState state, ParseKvState(bytes));
  if (state.applied != metadata) {
    return absl::DataLossError(absl::StrCat("a snapshot of index ", metadata.index,
                                            " holds the state of ", state.applied.index));
  }
  if (Mutated(Mutation::kSnapshotWithoutSessions)) state.sessions.clear();
  durable_ = state.applied.index;
  KEELSON_RETURN_IF_ERROR(WriteFileAtomically(fs_, path_, SerializeKvState(state)));
  state_ = std::move(state);
  before_last_ = {};
  if (hooks_.restored) hooks_.restored(state_);
  return absl::OkStatus();
}

}  // namespace keelson::raft::sim
