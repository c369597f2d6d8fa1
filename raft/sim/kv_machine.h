// A small replicated key-value store for the simulator: a StateMachine that hashes all it does.
//
// It keeps a session for each client: an operation that arrives twice (a retry, a forwarded
// proposal that the network doubled) takes effect once.
#ifndef KEELSON_RAFT_SIM_KV_MACHINE_H_
#define KEELSON_RAFT_SIM_KV_MACHINE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "base/random.h"
#include "raft/state_machine.h"
#include "raft/types.h"

namespace keelson::raft::sim {

// One write. `sequence` grows with each new operation of a client; a retry keeps it.
struct KvCommand {
  uint64_t client = 0;
  uint64_t sequence = 0;
  std::string key;
  std::string value;

  friend bool operator==(const KvCommand&, const KvCommand&) = default;
};

std::string EncodeKvCommand(const KvCommand& command);
// DATA_LOSS if `bytes` is not what EncodeKvCommand makes.
absl::StatusOr<KvCommand> DecodeKvCommand(std::string_view bytes);

struct KvValue {
  std::string value;
  Index revision = 0;  // the entry that wrote it

  friend bool operator==(const KvValue&, const KvValue&) = default;
};

// The last operation of a client that took effect.
struct KvSession {
  uint64_t sequence = 0;
  Index revision = 0;

  friend bool operator==(const KvSession&, const KvSession&) = default;
};

struct KvState {
  SnapshotMetadata applied;
  uint64_t stream_hash = 0;  // over every entry applied, in order
  uint64_t state_hash = 0;   // over the keys and values as they are
  std::map<std::string, KvValue> keys;
  std::map<uint64_t, KvSession> sessions;

  friend bool operator==(const KvState&, const KvState&) = default;
};

// With a checksum at the end.
std::string SerializeKvState(const KvState& state);
// DATA_LOSS if the bytes are damaged.
absl::StatusOr<KvState> ParseKvState(std::string_view bytes);

// A hash of what an entry says, without its index.
uint64_t HashEntry(const Entry& entry);
// A good mix of two hashes, in this order.
inline uint64_t MixHash(uint64_t a, uint64_t b) {
  uint64_t z = a * 0x9e3779b97f4a7c15u + b + 0x7f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

class KvMachine final : public StateMachine {
 public:
  struct Options {
    // Each Apply is followed by a flush of its own accord with this probability.
    double spontaneous_flush = 0;
    // A flush is one that Apply goes on beside with this probability.
    double flush_beside = 0.5;
  };

  struct Hooks {
    // After each entry took effect, with the state as it is then. The membership in it is
    // brought up to date with the last entry of each batch.
    std::function<void(const Entry& entry, const KvState& state, bool last)> applied;
    // After a snapshot replaced the state.
    std::function<void(const KvState& state)> restored;
    // Then: a command took effect as `revision`, now or, for a repetition, earlier.
    std::function<void(const KvCommand& command, Index revision)> done;
  };

  // Loads what survived in `path`, a file of `fs`; `initial` is the membership of a new machine.
  // `fs` is borrowed. DATA_LOSS when the file is damaged.
  static absl::StatusOr<std::unique_ptr<KvMachine>> Open(FileSystem& fs, const std::string& path,
                                                         const ConfState& initial, Random random,
                                                         const Options& options, Hooks hooks);

  SnapshotMetadata Applied() override { return state_.applied; }
  absl::Status Apply(std::span<const Entry> entries, const SnapshotMetadata& after) override;
  absl::Status Flush() override { return WriteDurably(state_); }
  std::function<absl::Status()> BeginFlush() override;
  absl::StatusOr<std::unique_ptr<StateCapture>> Capture() override;
  absl::Status Restore(SnapshotReader& reader, const SnapshotMetadata& metadata) override;

  // Whatever the machine holds now, durable or not.
  [[nodiscard]] const KvState& state() const { return state_; }

 private:
  KvMachine(FileSystem& fs, std::string path, Random random, const Options& options, Hooks hooks)
      : fs_(fs),
        path_(std::move(path)),
        random_(random),
        options_(options),
        hooks_(std::move(hooks)) {}
  // The command of `entry`, and its revision if it took effect now or is the repetition of one
  // that did.
  absl::StatusOr<std::pair<KvCommand, Index>> ApplyCommand(const Entry& entry);
  // Unless what is durable is newer.
  absl::Status WriteDurably(const KvState& state);

  FileSystem& fs_;
  const std::string path_;
  Random random_;
  const Options options_;
  const Hooks hooks_;
  KvState state_;
  Index durable_ = 0;
  SnapshotMetadata before_last_;  // for Mutation::kPositionBehindEffects
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_KV_MACHINE_H_
