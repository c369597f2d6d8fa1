#include "raft/snapshot_store.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "base/crc32c.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"

namespace keelson::raft {
namespace {

using absl::StatusCode;

constexpr char kDir[] = "snap";
const std::string kName = "snap/0000000000000003-0000000000000009.snap";

SnapshotMetadata MakeMetadata(Index index, Term term) {
  SnapshotMetadata metadata = {.index = index, .term = term, .conf_state = {}};
  metadata.conf_state.voters = {1, 2, 3};
  metadata.conf_state.learners = {7};
  return metadata;
}

std::unique_ptr<SnapshotStore> OpenStore(FileSystem& fs) {
  KEELSON_ASSIGN_OR_FAIL(auto store, SnapshotStore::Open(fs, kDir));
  return store;
}

void Write(SnapshotStore& store, const SnapshotMetadata& metadata, const std::string& state) {
  KEELSON_ASSIGN_OR_FAIL(const auto writer, store.Create(metadata));
  KEELSON_REQUIRE_OK(writer->Append(state));
  KEELSON_REQUIRE_OK(writer->Commit());
}

// The whole state of a snapshot, or the first error.
absl::StatusOr<std::string> ReadAll(SnapshotStore& store, Index index, Term term) {
  auto reader = store.OpenSnapshot(index, term);
  if (!reader.ok()) return reader.status();
  std::string state;
  while (true) {
    auto chunk = (*reader)->Next();
    if (!chunk.ok()) return chunk.status();
    CHECK(chunk->size() <= 1 << 20);
    if (chunk->empty()) return state;
    state += *chunk;
  }
}

std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  return bytes;
}

TEST_CASE("A snapshot comes back byte for byte, whatever the sizes written", "[raft][snapshot]") {
  SimFileSystem fs(Random(1), {});
  const auto store = OpenStore(fs);
  const size_t size = GENERATE(0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (5 << 20) + 77);
  const size_t step = GENERATE(size_t{1} << 30, size_t{300000}, size_t{1} << 20);
  const std::string state = Pattern(size);
  {
    KEELSON_ASSIGN_OR_FAIL(const auto writer, store->Create(MakeMetadata(9, 3)));
    for (size_t at = 0; at < size; at += step) {
      KEELSON_REQUIRE_OK(writer->Append(std::string_view(state).substr(at, step)));
    }
    KEELSON_REQUIRE_OK(writer->Append(""));
    KEELSON_REQUIRE_OK(writer->Commit());
    KEELSON_CHECK_ERROR(writer->Commit(), StatusCode::kFailedPrecondition, "committed");
    KEELSON_CHECK_ERROR(writer->Append("x"), StatusCode::kFailedPrecondition, "committed");
  }
  fs.PowerLoss();

  const auto again = OpenStore(fs);
  KEELSON_ASSIGN_OR_FAIL(const std::string read, ReadAll(*again, 9, 3));
  CHECK((read == state));
  KEELSON_ASSIGN_OR_FAIL(const auto reader, again->OpenSnapshot(9, 3));
  CHECK(reader->metadata() == MakeMetadata(9, 3));
}

TEST_CASE("Snapshots are listed newest first and old ones go", "[raft][snapshot]") {
  SimFileSystem fs(Random(1), {});
  const auto store = OpenStore(fs);
  Write(*store, MakeMetadata(9, 3), "nine");
  Write(*store, MakeMetadata(40, 3), "forty");
  Write(*store, MakeMetadata(20, 3), "twenty");
  KEELSON_ASSIGN_OR_FAIL(auto list, store->List());
  REQUIRE(list.size() == 3);
  CHECK(list[0] == MakeMetadata(40, 3));
  CHECK(list[2] == MakeMetadata(9, 3));
  KEELSON_ASSIGN_OR_FAIL(const auto open_reader, store->OpenSnapshot(9, 3));

  KEELSON_REQUIRE_OK(store->RemoveOld(1));

  KEELSON_ASSIGN_OR_FAIL(list, store->List());
  CHECK(list == std::vector<SnapshotMetadata>{MakeMetadata(40, 3)});
  KEELSON_CHECK_ERROR(store->OpenSnapshot(9, 3), StatusCode::kNotFound, kName);
  KEELSON_ASSIGN_OR_FAIL(const std::string rest, open_reader->Next());
  CHECK(rest == "nine");
  fs.PowerLoss();
  KEELSON_ASSIGN_OR_FAIL(list, OpenStore(fs)->List());
  CHECK(list.size() == 1);
}

TEST_CASE("A dropped writer leaves nothing, an abandoned one only until the next open",
          "[raft][snapshot]") {
  SimFileSystem fs(Random(1), {});
  const auto store = OpenStore(fs);
  {
    KEELSON_ASSIGN_OR_FAIL(const auto writer, store->Create(MakeMetadata(9, 3)));
    KEELSON_REQUIRE_OK(writer->Append("half"));
  }
  KEELSON_ASSIGN_OR_FAIL(auto names, fs.List(kDir));
  CHECK(names.empty());

  KEELSON_ASSIGN_OR_FAIL(auto writer, store->Create(MakeMetadata(9, 3)));
  KEELSON_REQUIRE_OK(writer->Append("half"));
  fs.ProcessCrash();
  const auto again = OpenStore(fs);
  KEELSON_ASSIGN_OR_FAIL(names, fs.List(kDir));
  CHECK(names.empty());
}

TEST_CASE("Two writers of one snapshot do not mix", "[raft][snapshot]") {
  SimFileSystem fs(Random(1), {});
  const auto store = OpenStore(fs);
  KEELSON_ASSIGN_OR_FAIL(const auto first, store->Create(MakeMetadata(9, 3)));
  KEELSON_ASSIGN_OR_FAIL(const auto second, store->Create(MakeMetadata(9, 3)));
  KEELSON_REQUIRE_OK(first->Append("first"));
  KEELSON_REQUIRE_OK(second->Append("second"));
  KEELSON_REQUIRE_OK(first->Commit());
  KEELSON_ASSIGN_OR_FAIL(const std::string state, ReadAll(*store, 9, 3));
  CHECK(state == "first");
  KEELSON_REQUIRE_OK(second->Commit());
  KEELSON_ASSIGN_OR_FAIL(const std::string replaced, ReadAll(*store, 9, 3));
  CHECK(replaced == "second");
}

TEST_CASE("After a power cut at any step a snapshot is whole or not there",
          "[raft][snapshot][crash]") {
  const std::string state = Pattern(3 << 10);
  int visible = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    for (uint64_t steps = 0; steps < 10; ++steps) {
      INFO("seed " << seed << " steps " << steps);
      SimFileSystem fs(Random(seed), {});
      OpenStore(fs);
      bool committed = false;
      fs.CutPowerAfter(steps);
      {
        const auto store = SnapshotStore::Open(fs, kDir);
        if (store.ok()) {
          auto writer = (*store)->Create(MakeMetadata(9, 3));
          committed = writer.ok() && (*writer)->Append(state).ok() && (*writer)->Commit().ok();
        }
      }
      fs.PowerLoss();

      const auto store = OpenStore(fs);
      KEELSON_ASSIGN_OR_FAIL(const auto list, store->List());
      if (committed) REQUIRE(list.size() == 1);
      if (list.empty()) continue;
      ++visible;
      KEELSON_ASSIGN_OR_FAIL(const std::string read, ReadAll(*store, 9, 3));
      REQUIRE(read == state);
    }
  }
  CHECK(visible > 100);
}

TEST_CASE("A snapshot that cannot be written is not there", "[raft][snapshot]") {
  const SimOperation operation =
      GENERATE(SimOperation::kWrite, SimOperation::kSync, SimOperation::kName);
  SimFileSystem fs(Random(1), {});
  const auto store = OpenStore(fs);
  KEELSON_ASSIGN_OR_FAIL(auto writer, store->Create(MakeMetadata(9, 3)));
  fs.FailNext(operation, kDir);
  KEELSON_REQUIRE_OK(writer->Append("state"));
  KEELSON_CHECK_ERROR(writer->Commit(), StatusCode::kUnknown, "injected");
  KEELSON_CHECK_ERROR(writer->Commit(), StatusCode::kUnknown, "injected");  // never retried
  writer.reset();
  KEELSON_ASSIGN_OR_FAIL(const auto list, store->List());
  CHECK(list.empty());
}

// One small snapshot of three chunks' worth, made by hand-sized appends.
std::string SmallFile(SimFileSystem& fs) {
  const auto store = OpenStore(fs);
  Write(*store, MakeMetadata(9, 3), Pattern(300));
  KEELSON_ASSIGN_OR_FAIL(const std::string bytes, ReadFile(fs, kName, 1 << 20));
  return bytes;
}

absl::Status ReadDamaged(const std::string& bytes) {
  SimFileSystem fs(Random(1), {});
  KEELSON_REQUIRE_OK(fs.CreateDirectories(kDir));
  KEELSON_REQUIRE_OK(WriteFileAtomically(fs, kName, bytes));
  return ReadAll(*OpenStore(fs), 9, 3).status();
}

TEST_CASE("A snapshot cut at any byte is damaged, and the place is named", "[raft][snapshot]") {
  SimFileSystem fs(Random(1), {});
  const std::string bytes = SmallFile(fs);
  KEELSON_REQUIRE_OK(ReadDamaged(bytes));
  for (size_t n = 0; n < bytes.size(); ++n) {
    INFO("cut at " << n);
    KEELSON_CHECK_ERROR(ReadDamaged(bytes.substr(0, n)), StatusCode::kDataLoss,
                        "'" + kName + "' at ");
  }
  KEELSON_CHECK_ERROR(ReadDamaged(bytes + "x"), StatusCode::kDataLoss, "excess bytes");
}

TEST_CASE("A flipped bit anywhere in a snapshot is seen", "[raft][snapshot]") {
  SimFileSystem fs(Random(1), {});
  const std::string bytes = SmallFile(fs);
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    INFO("bit " << bit);
    CHECK(!ReadDamaged(damaged).ok());
  }
}

TEST_CASE("Missing, repeated and swapped chunks are seen", "[raft][snapshot]") {
  SimFileSystem fs(Random(1), {});
  const auto store = OpenStore(fs);
  Write(*store, MakeMetadata(9, 3), std::string(1 << 20, 'a') + std::string(1 << 20, 'b'));
  KEELSON_ASSIGN_OR_FAIL(const std::string bytes, ReadFile(fs, kName, 4 << 20));
  const size_t chunk = (1 << 20) + 8;
  const size_t head = bytes.find("aaaa") - 8;
  const std::string start = bytes.substr(0, head);
  const std::string a = bytes.substr(head, chunk);
  const std::string b = bytes.substr(head + chunk, chunk);
  const std::string end = bytes.substr(head + 2 * chunk);
  REQUIRE((start + a + b + end == bytes));

  for (const std::string& wrong : {start + b + a + end, start + a + end, start + a + b + b + end,
                                   start + a + a + end, start + end}) {
    KEELSON_CHECK_ERROR(ReadDamaged(wrong), StatusCode::kDataLoss, "missing or out of order");
  }
}

TEST_CASE("A snapshot under a wrong name or of a newer version is refused", "[raft][snapshot]") {
  SimFileSystem fs(Random(1), {});
  std::string bytes = SmallFile(fs);
  const auto store = OpenStore(fs);

  SECTION("name") {
    const std::string other = "snap/0000000000000003-000000000000000a.snap";
    KEELSON_REQUIRE_OK(fs.Rename(kName, other));
    KEELSON_CHECK_ERROR(store->OpenSnapshot(10, 3), StatusCode::kDataLoss, "under another name");
  }
  SECTION("version") {
    bytes[8] = 2;
    // With its checksum, or else it is a damaged byte.
    KEELSON_CHECK_ERROR(ReadDamaged(bytes), StatusCode::kDataLoss, "the header is damaged");
    const size_t size = 16 + static_cast<unsigned char>(bytes[12]);
    const uint32_t crc = Crc32c(std::string_view(bytes).substr(0, size));
    for (size_t i = 0; i < 4; ++i) bytes[size + i] = static_cast<char>(crc >> (8 * i));
    KEELSON_CHECK_ERROR(ReadDamaged(bytes), StatusCode::kUnimplemented,
                        "has snapshot format version 2; this program reads version 1");
  }
  SECTION("metadata of 4 GiB") {
    bytes.replace(12, 4, "\xff\xff\xff\xff");
    KEELSON_CHECK_ERROR(ReadDamaged(bytes), StatusCode::kDataLoss, "the header is damaged");
  }
}

TEST_CASE("A damaged snapshot is moved aside by whoever finds out", "[raft][snapshot]") {
  SimFileSystem fs(Random(1), {});
  const std::string bytes = SmallFile(fs);
  const auto store = OpenStore(fs);
  SECTION("by its header, in a list") {
    KEELSON_REQUIRE_OK(fs.FlipBit(kName, 20, 1));
    KEELSON_ASSIGN_OR_FAIL(const auto found, store->List());
    CHECK(found.empty());
  }
  SECTION("in a chunk, by reading to the end") {
    KEELSON_REQUIRE_OK(fs.FlipBit(kName, bytes.size() - 40, 1));
    KEELSON_ASSIGN_OR_FAIL(const auto found, store->List());
    CHECK(found.size() == 1);
    KEELSON_CHECK_ERROR(VerifySnapshot(*store, 9, 3), StatusCode::kDataLoss, kName);
  }
  CHECK_FALSE(fs.Exists(kName).value());
  CHECK(fs.Exists(std::string(kName) + ".damaged").value());
  KEELSON_CHECK_ERROR(VerifySnapshot(*store, 9, 3), StatusCode::kNotFound, "");
  KEELSON_REQUIRE_OK(store->RemoveOld(0));
  CHECK(fs.Exists(std::string(kName) + ".damaged").value());  // Only a person deletes it.
}

}  // namespace
}  // namespace keelson::raft
