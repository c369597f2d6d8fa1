// Damages a small log that groups share as the fuzzer says, and opens it: it must be repaired or
// refused, and after a repair it must be whole.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/file_system.h"
#include "base/random.h"
#include "base/testing/sim_file_system.h"
#include "raft/internal/shared_wal.h"

namespace keelson::raft {
namespace {

constexpr char kDir[] = "wal";
constexpr Identity kIdentity = {.cluster_id = 1, .node_id = 2};
constexpr uint64_t kFileBytes = 1 << 20;
constexpr uint64_t kLife = 77;
constexpr Index kEntries = 6;

Wal::Options Options() { return {.segment_bytes = 6144, .incarnation = 77}; }

struct FileBytes {
  std::string path;
  std::string bytes;
};

// A sound log of some segments with three groups, and one that was removed.
std::vector<FileBytes> MakeLog() {
  SimFileSystem fs(Random(1), {});
  KEELSON_CHECK(SharedWal::Create(fs, kDir, kIdentity, Options()).ok());
  SharedWal::Recovered recovered;
  const auto log = SharedWal::Open(fs, kDir, kIdentity, Options(), &recovered);
  KEELSON_CHECK(log.ok()) << log.status().ToString();
  SnapshotMetadata start;
  start.conf_state.voters = {1, 2, 3};
  for (const GroupId group : {1, 2, 3, 4}) KEELSON_CHECK((*log)->AddGroup(group, start).ok());
  KEELSON_CHECK((*log)->RemoveGroup(4).ok());
  for (Index index = 1; index <= kEntries; ++index) {
    for (const GroupId group : {1, 2, 3}) {
      const std::vector<Entry> entries = {
          {.term = 3, .index = index, .data = Payload(std::string(300, static_cast<char>(index)))}};
      const Wal::Batch batch = {.entries = entries, .hard_state = HardState{.term = 3}};
      KEELSON_CHECK((*log)->Group(group)->Append(batch).ok());
      KEELSON_CHECK((*log)->Sync().ok());
    }
  }
  std::vector<FileBytes> files;
  const auto names = fs.List(kDir);
  KEELSON_CHECK(names.ok());
  for (const std::string& name : *names) {
    const std::string path = JoinPath(kDir, name);
    if (name != "lock") files.push_back({path, *ReadFile(fs, path, kFileBytes)});
  }
  return files;
}

void Check(const SharedWal::Recovered& recovered) {
  for (const auto& [group, one] : recovered.groups) {
    KEELSON_CHECK(one.hard_state.commit <= one.start.index + one.entries.size()) << group;
    Index next = one.start.index;
    for (const Entry& entry : one.entries) KEELSON_CHECK(entry.index == ++next) << group;
    KEELSON_CHECK(next <= kEntries) << group;
  }
}

}  // namespace
}  // namespace keelson::raft

// Input: which file, where (2 bytes), what to add to the byte there; 0 cuts the file. And so on.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::raft;  // NOLINT: the entry point must be global
  using keelson::SimFileSystem;
  static const std::vector<FileBytes>& sound = *new std::vector<FileBytes>(MakeLog());
  std::vector<FileBytes> files = sound;
  for (size_t i = 0; i + 4 <= size; i += 4) {
    std::string& bytes = files[data[i] % files.size()].bytes;
    const size_t at = data[i + 1] * size_t{256} + data[i + 2];
    if (data[i + 3] == 0) {
      bytes.resize(std::min(bytes.size(), at));
    } else if (at < bytes.size()) {
      bytes[at] = static_cast<char>(bytes[at] + data[i + 3]);
    }
  }
  SimFileSystem fs(keelson::Random(1), {});
  KEELSON_CHECK(fs.CreateDirectories(kDir).ok());
  for (const FileBytes& file : files) {
    KEELSON_CHECK(keelson::WriteFileAtomically(fs, file.path, file.bytes).ok());
  }

  SharedWal::Recovered first;
  auto log = SharedWal::OpenAndRepair(fs, kDir, kIdentity, Options(), kLife, &first);
  if (!log.ok()) {
    // Only what cannot be told from another host's log or another version's.
    KEELSON_CHECK(absl::IsFailedPrecondition(log.status()) || absl::IsUnimplemented(log.status()))
        << log.status().ToString();
    return 0;
  }
  log->reset();
  SharedWal::Recovered again;
  const auto reopened = SharedWal::OpenAndRepair(fs, kDir, kIdentity, Options(), kLife, &again);
  KEELSON_CHECK(reopened.ok()) << reopened.status().ToString();
  KEELSON_CHECK(!again.loss.has_value() && again.groups.size() == first.groups.size());
  for (const auto& [group, one] : first.groups) {
    KEELSON_CHECK(again.groups.contains(group)) << group;
    KEELSON_CHECK(again.groups.at(group).entries == one.entries) << group;
    KEELSON_CHECK(again.groups.at(group).hard_state == one.hard_state) << group;
  }
  Check(first);
  return 0;
}
