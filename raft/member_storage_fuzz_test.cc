// Damages a small log as the fuzzer says, and opens it: it must be repaired or refused, and after a
// repair it must be whole.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/file_system.h"
#include "base/testing/sim_file_system.h"
#include "raft/member_storage.h"

namespace keelson::raft {
namespace {

constexpr Index kEntries = 9;
constexpr uint64_t kFileBytes = 1 << 20;

MemberStorageOptions Options() {
  return {.wal_dir = "wal",
          .snapshot_dir = "snap",
          .identity = {.cluster_id = 1, .node_id = 2},
          .wal = {.segment_bytes = 6144, .incarnation = 77},
          .random = Random(1)};
}

SnapshotMetadata Applied(Index index) {
  SnapshotMetadata applied = {.index = index, .term = index == 0 ? 0 : Term{3}, .conf_state = {}};
  applied.conf_state.voters = {1, 2, 3};
  return applied;
}

struct FileBytes {
  std::string path;
  std::string bytes;
};

// A sound log of some segments.
std::vector<FileBytes> MakeLog() {
  SimFileSystem fs(Random(1), {});
  auto storage = OpenMemberStorage(fs, Options(), Applied(0));
  KEELSON_CHECK(storage.ok()) << storage.status().ToString();
  for (Index index = 1; index <= kEntries; ++index) {
    const std::vector<Entry> entries = {
        {.term = 3, .index = index, .data = Payload(std::string(300, static_cast<char>(index)))}};
    KEELSON_CHECK(
        storage->wal->Append({.entries = entries, .hard_state = HardState{.term = 3}}).ok());
    KEELSON_CHECK(storage->wal->Sync().ok());
  }
  std::vector<FileBytes> files;
  const auto names = fs.List("wal");
  KEELSON_CHECK(names.ok());
  for (const std::string& name : *names) {
    const std::string path = JoinPath("wal", name);
    if (name != "lock") files.push_back({path, *ReadFile(fs, path, kFileBytes)});
  }
  return files;
}

}  // namespace
}  // namespace keelson::raft

// Input: which file, where (2 bytes), what to add to the byte there; and so on.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::raft;  // NOLINT: the entry point must be global
  using keelson::SimFileSystem;
  static const std::vector<FileBytes>& sound = *new std::vector<FileBytes>(MakeLog());
  if (size == 0) return 0;
  const SnapshotMetadata applied = Applied(data[0] % (kEntries + 3));
  std::vector<FileBytes> files = sound;
  for (size_t i = 1; i + 4 <= size; i += 4) {
    std::string& bytes = files[data[i] % files.size()].bytes;
    const size_t at = data[i + 1] * size_t{256} + data[i + 2];
    if (data[i + 3] == 0) {
      bytes.resize(std::min(bytes.size(), at));  // cut
    } else if (at < bytes.size()) {
      bytes[at] = static_cast<char>(bytes[at] + data[i + 3]);
    }
  }
  SimFileSystem fs(keelson::Random(1), {});
  KEELSON_CHECK(fs.CreateDirectories("wal").ok());
  for (const FileBytes& file : files) {
    KEELSON_CHECK(keelson::WriteFileAtomically(fs, file.path, file.bytes).ok());
  }

  auto storage = OpenMemberStorage(fs, Options(), applied);
  if (!storage.ok()) {
    // Only what cannot be told from another member's log or another version's.
    KEELSON_CHECK(absl::IsFailedPrecondition(storage.status()) ||
                  absl::IsUnimplemented(storage.status()))
        << storage.status().ToString();
    return 0;
  }
  const Wal::Recovered first = storage->recovered;
  KEELSON_CHECK(storage->loss.has_value() == first.hard_state.recovering);
  KEELSON_CHECK(first.start.index + first.entries.size() >= applied.index);
  KEELSON_CHECK(first.hard_state.commit <= first.start.index + first.entries.size());
  storage->wal.reset();
  const auto again = OpenMemberStorage(fs, Options(), applied);
  KEELSON_CHECK(again.ok()) << again.status().ToString();
  KEELSON_CHECK(!again->loss.has_value() && again->recovered.hard_state == first.hard_state &&
                again->recovered.entries == first.entries);
  return 0;
}
