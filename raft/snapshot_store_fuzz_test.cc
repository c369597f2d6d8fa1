// Feeds arbitrary bytes to the reader of snapshots: as a whole file, and behind a right header.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/file_system.h"
#include "base/testing/sim_file_system.h"
#include "raft/snapshot_store.h"

namespace keelson::raft {
namespace {

constexpr Index kIndex = 4;
constexpr Term kTerm = 2;
const char* const kPath = "snap/0000000000000002-0000000000000004.snap";

// Reads all of it, if it is one; an error is an answer.
void Read(std::string_view bytes) {
  SimFileSystem fs(Random(1), {});
  auto store = SnapshotStore::Open(fs, "snap");
  KEELSON_CHECK(store.ok());
  KEELSON_CHECK(WriteFileAtomically(fs, kPath, bytes).ok());
  if (const auto found = (*store)->List(); found.ok()) KEELSON_CHECK(found->size() <= 1);
  const auto reader = (*store)->OpenSnapshot(kIndex, kTerm);
  if (!reader.ok()) return;
  KEELSON_CHECK((*reader)->metadata().index == kIndex && (*reader)->metadata().term == kTerm);
  size_t total = 0;
  while (true) {
    const auto chunk = (*reader)->Next();
    if (!chunk.ok()) {
      // Out of the way, unless the reader stopped for another reason.
      KEELSON_CHECK(!absl::IsDataLoss(chunk.status()) || !*fs.Exists(kPath)) << bytes.size();
      return;
    }
    if (chunk->empty()) return;
    total += chunk->size();
    KEELSON_CHECK(chunk->size() <= 1 << 20 && total <= bytes.size()) << total;
  }
}

// A right header, and what stands behind it in an empty snapshot.
std::string Header() {
  SimFileSystem fs(Random(1), {});
  auto store = SnapshotStore::Open(fs, "snap");
  SnapshotMetadata metadata = {.index = kIndex, .term = kTerm, .conf_state = {}};
  metadata.conf_state.voters = {1, 2, 3};
  auto writer = (*store)->Create(metadata);
  KEELSON_CHECK(writer.ok() && (*writer)->Commit().ok());
  constexpr size_t kTrailerBytes = 28;
  std::string bytes = *ReadFile(fs, kPath, 1 << 20);
  bytes.resize(bytes.size() - kTrailerBytes);
  return bytes;
}

}  // namespace
}  // namespace keelson::raft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::raft;  // NOLINT: the entry point must be global
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Read(bytes);
  static const std::string& header = *new std::string(Header());
  Read(header + std::string(bytes));
  return 0;
}
