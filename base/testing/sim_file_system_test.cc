#include "base/testing/sim_file_system.h"

#include <catch2/catch.hpp>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/file_system.h"
#include "base/random.h"
#include "base/testing/status_matchers.h"

namespace keelson {
namespace {

using Code = absl::StatusCode;

std::unique_ptr<File> Open(SimFileSystem& fs, const std::string& path) {
  auto file = fs.Open(path, {.write = true, .create = true});
  KEELSON_REQUIRE_OK(file.status());
  return std::move(file).value();
}

// A file with durable contents and a durable name.
std::unique_ptr<File> OpenDurable(SimFileSystem& fs, const std::string& path,
                                  const std::string& contents) {
  auto file = Open(fs, path);
  KEELSON_REQUIRE_OK(file->WriteAt(0, contents));
  KEELSON_REQUIRE_OK(file->SyncData());
  KEELSON_REQUIRE_OK(fs.SyncDirectory(""));
  return file;
}

std::string Contents(SimFileSystem& fs, const std::string& path) {
  auto contents = ReadFile(fs, path, 1 << 24);
  KEELSON_REQUIRE_OK(contents.status());
  return std::move(contents).value();
}

TEST_CASE("Synced bytes and names survive every power loss", "[sim_fs][crash]") {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    INFO("seed=" << seed);
    SimFileSystem fs(Random(seed), {});
    const auto file = OpenDurable(fs, "f", std::string(3000, 'a'));
    KEELSON_REQUIRE_OK(file->WriteAt(3000, std::string(3000, 'b')));  // not synced

    fs.PowerLoss();

    REQUIRE(Contents(fs, "f").substr(0, 3000) == std::string(3000, 'a'));
  }
}

TEST_CASE("Unsynced writes are sometimes lost, kept, or torn at sectors", "[sim_fs][crash]") {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    INFO("seed=" << seed);
    SimFileSystem fs(Random(seed), {});
    const auto file = OpenDurable(fs, "f", std::string(4 * kSimSectorBytes, 'a'));
    KEELSON_REQUIRE_OK(file->WriteAt(0, std::string(4 * kSimSectorBytes, 'b')));

    fs.PowerLoss();

    const std::string contents = Contents(fs, "f");
    REQUIRE(contents.size() == 4 * kSimSectorBytes);
    std::string pattern;
    for (uint64_t at = 0; at < contents.size(); at += kSimSectorBytes) {
      const std::string sector = contents.substr(at, kSimSectorBytes);
      REQUIRE(sector == std::string(kSimSectorBytes, sector[0]));  // a sector is atomic
      pattern.push_back(sector[0]);
    }
    outcomes.insert(pattern);
  }
  CHECK(outcomes.count("aaaa") == 1);
  CHECK(outcomes.count("bbbb") == 1);
  CHECK(outcomes.count("abab") == 1);
  CHECK(outcomes.count("aaab") == 1);  // not only prefixes
  CHECK(outcomes.size() == 16);
}

TEST_CASE("A later write may survive while an earlier one is lost", "[sim_fs][crash]") {
  bool first_only = false;
  bool second_only = false;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    SimFileSystem fs(Random(seed), {});
    const auto file = OpenDurable(fs, "f", std::string(2 * kSimSectorBytes, '-'));
    KEELSON_REQUIRE_OK(file->WriteAt(0, "1"));
    KEELSON_REQUIRE_OK(file->WriteAt(kSimSectorBytes, "2"));

    fs.PowerLoss();

    const std::string contents = Contents(fs, "f");
    const bool first = contents[0] == '1';
    const bool second = contents[kSimSectorBytes] == '2';
    first_only = first_only || (first && !second);
    second_only = second_only || (second && !first);
  }
  CHECK(first_only);
  CHECK(second_only);
}

TEST_CASE("A kept sector holds all that was written to it before", "[sim_fs][crash]") {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    INFO("seed=" << seed);
    SimFileSystem fs(Random(seed), {});
    const auto file = OpenDurable(fs, "f", "......");
    for (int i = 0; i < 6; ++i) {
      KEELSON_REQUIRE_OK(file->WriteAt(static_cast<uint64_t>(i), std::string(1, '#')));
    }

    fs.PowerLoss();

    const std::string contents = Contents(fs, "f");
    REQUIRE(contents.find_first_not_of('#') == std::min(contents.find('.'), std::string::npos));
    REQUIRE(contents.find('#', contents.find('.') == std::string::npos ? 6 : contents.find('.')) ==
            std::string::npos);
  }
}

TEST_CASE("The size is decided apart from the data", "[sim_fs][crash]") {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SimFileSystem fs(Random(seed), {});
    const auto file = OpenDurable(fs, "f", "");
    KEELSON_REQUIRE_OK(file->WriteAt(0, "data"));

    fs.PowerLoss();

    outcomes.insert(Contents(fs, "f"));
  }
  CHECK(outcomes == std::set<std::string>{"", "data", std::string(4, '\0')});
}

TEST_CASE("An unsynced truncation may be undone, and never resurrects cut bytes",
          "[sim_fs][crash]") {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SimFileSystem fs(Random(seed), {});
    const auto file = OpenDurable(fs, "f", "abcdef");
    KEELSON_REQUIRE_OK(file->Truncate(2));
    fs.PowerLoss();
    outcomes.insert(Contents(fs, "f"));
  }
  CHECK(outcomes.count("abcdef") == 1);
  CHECK(outcomes.count("ab") == 1);

  SimFileSystem fs(Random(1), {});
  const auto file = OpenDurable(fs, "f", "abcdef");
  KEELSON_REQUIRE_OK(file->Truncate(2));
  KEELSON_REQUIRE_OK(file->Truncate(6));
  KEELSON_REQUIRE_OK(file->SyncData());
  fs.PowerLoss();
  CHECK(Contents(fs, "f") == std::string("ab\0\0\0\0", 6));
}

TEST_CASE("Names are durable only after their folder is synced", "[sim_fs][names]") {
  struct Row {
    std::string name;
    bool sync;
  };
  const auto row = GENERATE(values<Row>({{"synced", true}, {"not synced", false}}));
  int there = 0;
  constexpr int kSeeds = 100;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SimFileSystem fs(Random(seed), {});
    KEELSON_REQUIRE_OK(fs.CreateDirectories("d"));
    const auto file = Open(fs, "d/f");
    KEELSON_REQUIRE_OK(file->WriteAt(0, "x"));
    KEELSON_REQUIRE_OK(file->SyncData());
    KEELSON_REQUIRE_OK(fs.SyncDirectory(""));  // the wrong folder
    if (row.sync) KEELSON_REQUIRE_OK(fs.SyncDirectory("d"));

    fs.PowerLoss();

    REQUIRE(fs.Exists("d").value());
    there += fs.Exists("d/f").value();
  }
  if (row.sync) {
    CHECK(there == kSeeds);
  } else {
    CHECK(there > 20);
    CHECK(there < 80);
  }
}

TEST_CASE("A removal is undone or not", "[sim_fs][names]") {
  std::set<bool> outcomes;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimFileSystem fs(Random(seed), {});
    (void)OpenDurable(fs, "f", "x");
    KEELSON_REQUIRE_OK(fs.Remove("f"));
    REQUIRE_FALSE(fs.Exists("f").value());

    fs.PowerLoss();

    outcomes.insert(fs.Exists("f").value());
    if (fs.Exists("f").value()) REQUIRE(Contents(fs, "f") == "x");
  }
  CHECK(outcomes.size() == 2);
}

TEST_CASE("A rename happens whole or not at all", "[sim_fs][names]") {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    INFO("seed=" << seed);
    SimFileSystem fs(Random(seed), {});
    (void)OpenDurable(fs, "a", "new");
    (void)OpenDurable(fs, "b", "old");
    KEELSON_REQUIRE_OK(fs.CreateDirectories("d"));
    KEELSON_REQUIRE_OK(fs.Rename("a", "d/a"));
    KEELSON_REQUIRE_OK(fs.Rename("d/a", "b"));

    fs.PowerLoss();

    std::string where;
    for (const char* path : {"a", "d/a", "b"}) {
      if (fs.Exists(path).value()) absl::StrAppend(&where, path, "=", Contents(fs, path), " ");
    }
    outcomes.insert(where);
  }
  CHECK(outcomes == std::set<std::string>{"a=new b=old ", "d/a=new b=old ", "b=new "});
}

TEST_CASE("Syncing one folder of a move makes the whole move durable", "[sim_fs][names]") {
  const std::string synced = GENERATE("", "d");
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimFileSystem fs(Random(seed), {});
    KEELSON_REQUIRE_OK(fs.CreateDirectories("d"));
    (void)Open(fs, "d/f");  // a pending creation that the move replaces
    const auto file = Open(fs, "f");
    KEELSON_REQUIRE_OK(file->WriteAt(0, "x"));
    KEELSON_REQUIRE_OK(file->SyncData());
    KEELSON_REQUIRE_OK(fs.Rename("f", "d/f"));
    KEELSON_REQUIRE_OK(fs.SyncDirectory(synced));

    fs.PowerLoss();

    REQUIRE_FALSE(fs.Exists("f").value());
    REQUIRE(Contents(fs, "d/f") == "x");
  }
}

TEST_CASE("WriteFileAtomically leaves the old or the new file, whole, wherever the power fails",
          "[sim_fs][crash]") {
  std::set<std::string> outcomes;
  const std::string old_text(2000, 'o');
  const std::string new_text(1500, 'n');
  for (uint64_t seed = 0; seed < 400; ++seed) {
    INFO("seed=" << seed);
    SimFileSystem fs(Random(seed), {});
    KEELSON_REQUIRE_OK(WriteFileAtomically(fs, "f", old_text));
    fs.CutPowerAfter(seed % 7);
    const absl::Status status = WriteFileAtomically(fs, "f", new_text);

    fs.PowerLoss();

    const std::string contents = Contents(fs, "f");
    REQUIRE((contents == old_text || contents == new_text));
    if (status.ok()) REQUIRE(contents == new_text);
    outcomes.insert(absl::StrCat(contents.substr(0, 1), status.ok()));
  }
  CHECK(outcomes == std::set<std::string>{"o0", "n0", "n1"});
}

TEST_CASE("A cut of the power stops every call until the power is back", "[sim_fs][crash]") {
  SimFileSystem fs(Random(1), {});
  const auto file = OpenDurable(fs, "f", "abc");
  fs.CutPowerAfter(1);

  KEELSON_REQUIRE_OK(file->WriteAt(0, "x"));
  CHECK_FALSE(fs.power_is_cut());
  KEELSON_CHECK_ERROR(file->SyncData(), Code::kUnavailable, "fdatasync 'f'");
  CHECK(fs.power_is_cut());
  char byte = 0;
  KEELSON_CHECK_ERROR(file->ReadAt(0, std::span<char>(&byte, 1)), Code::kUnavailable, "");
  KEELSON_CHECK_ERROR(file->WriteAt(0, "y"), Code::kUnavailable, "");
  KEELSON_CHECK_ERROR(fs.Open("f", {}), Code::kUnavailable, "");
  KEELSON_CHECK_ERROR(fs.List(""), Code::kUnavailable, "");
  KEELSON_CHECK_ERROR(fs.Lock("l"), Code::kUnavailable, "");

  fs.PowerLoss();
  CHECK_FALSE(fs.power_is_cut());
  CHECK(Contents(fs, "f").size() == 3);

  fs.CutPowerAfter(0);
  fs.CancelPowerCut();
  KEELSON_REQUIRE_OK(fs.SyncDirectory(""));
}

TEST_CASE("Handles and locks of before a crash are void", "[sim_fs][crash]") {
  const bool power = GENERATE(true, false);
  SimFileSystem fs(Random(1), {});
  const auto file = OpenDurable(fs, "f", "abc");
  KEELSON_ASSIGN_OR_FAIL(auto lock, fs.Lock("LOCK"));

  power ? fs.PowerLoss() : fs.ProcessCrash();

  char byte = 0;
  KEELSON_CHECK_ERROR(file->ReadAt(0, std::span<char>(&byte, 1)), Code::kUnavailable, "crashed");
  KEELSON_CHECK_ERROR(file->WriteAt(0, "x"), Code::kUnavailable, "");
  KEELSON_CHECK_ERROR(file->SyncData(), Code::kUnavailable, "");
  KEELSON_CHECK_ERROR(file->Size(), Code::kUnavailable, "");
  KEELSON_CHECK_ERROR(file->Truncate(0), Code::kUnavailable, "");
  KEELSON_CHECK_ERROR(file->Allocate(0, 9), Code::kUnavailable, "");

  KEELSON_ASSIGN_OR_FAIL(const auto next, fs.Lock("LOCK"));
  lock.reset();  // The old holder's end must not release the new one's lock.
  KEELSON_CHECK_ERROR(fs.Lock("LOCK"), Code::kFailedPrecondition, "held");
}

TEST_CASE("A process crash loses nothing that was written", "[sim_fs][crash]") {
  SimFileSystem fs(Random(1), {});
  KEELSON_REQUIRE_OK(Open(fs, "f")->WriteAt(0, "unsynced"));

  fs.ProcessCrash();

  CHECK(Contents(fs, "f") == "unsynced");
  CHECK(fs.counters().process_crashes == 1);
}

TEST_CASE("After a failed sync the data is in doubt and a second sync does not help",
          "[sim_fs][faults]") {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SimFileSystem fs(Random(seed), {});
    const auto file = OpenDurable(fs, "f", std::string(2 * kSimSectorBytes, 'a'));
    KEELSON_REQUIRE_OK(file->WriteAt(0, std::string(2 * kSimSectorBytes, 'b')));
    fs.FailNext(SimOperation::kSync, "f");

    KEELSON_CHECK_ERROR(file->SyncData(), Code::kUnknown, "fdatasync 'f': injected");
    REQUIRE(Contents(fs, "f") == std::string(2 * kSimSectorBytes, 'b'));  // from the cache
    KEELSON_REQUIRE_OK(file->SyncData());
    fs.PowerLoss();

    const std::string contents = Contents(fs, "f");
    outcomes.insert({contents[0], contents[kSimSectorBytes]});
  }
  CHECK(outcomes == std::set<std::string>{"aa", "ab", "ba", "bb"});
}

TEST_CASE("What was to fail next is taken back, and a kill in a call ends only the process",
          "[sim_fs][faults]") {
  SimFileSystem fs(Random(1), {});
  fs.FailNext(SimOperation::kName, "f");
  fs.CancelFailNext();
  auto file = fs.Open("f", {.write = true, .create = true});
  REQUIRE(file.ok());
  REQUIRE((*file)->WriteAt(0, "abc").ok());
  fs.CutPowerAfter(0);
  CHECK_FALSE((*file)->SyncData().ok());
  REQUIRE(fs.power_is_cut());

  fs.ProcessCrash();

  CHECK_FALSE(fs.power_is_cut());
  auto again = fs.Open("f", {});
  REQUIRE(again.ok());
  char buffer[8];
  const auto read = (*again)->ReadAt(0, buffer);
  REQUIRE(read.ok());
  CHECK(std::string(buffer, *read) == "abc");
}

TEST_CASE("One-shot faults hit the next call on a matching path, in order", "[sim_fs][faults]") {
  SimFileSystem fs(Random(1), {});
  const auto wal = OpenDurable(fs, "wal-1", "abc");
  const auto other = OpenDurable(fs, "other", "abc");
  fs.FailNext(SimOperation::kWrite, "wal", absl::DataLossError("first"));
  fs.FailNext(SimOperation::kWrite, "wal", absl::AbortedError("second"));
  fs.FailNext(SimOperation::kRead, "other");

  KEELSON_REQUIRE_OK(other->WriteAt(0, "x"));
  KEELSON_REQUIRE_OK(wal->SyncData());
  KEELSON_CHECK_ERROR(wal->WriteAt(0, "x"), Code::kDataLoss, "pwrite 'wal-1' at 0: first");
  KEELSON_CHECK_ERROR(wal->Truncate(1), Code::kAborted, "second");
  KEELSON_REQUIRE_OK(wal->WriteAt(0, "x"));
  char byte = 0;
  KEELSON_CHECK_ERROR(other->ReadAt(0, std::span<char>(&byte, 1)), Code::kUnknown, "pread");
  KEELSON_REQUIRE_OK(other->ReadAt(0, std::span<char>(&byte, 1)));

  fs.FailNext(SimOperation::kName, "new");
  fs.FailNext(SimOperation::kName, "moved");
  fs.FailNext(SimOperation::kSyncDirectory, "");
  KEELSON_CHECK_ERROR(fs.Open("new", {.write = true, .create = true}), Code::kUnknown, "open");
  CHECK_FALSE(fs.Exists("new").value());
  KEELSON_CHECK_ERROR(fs.Rename("other", "moved"), Code::kUnknown, "rename");
  CHECK(fs.Exists("other").value());
  KEELSON_CHECK_ERROR(fs.SyncDirectory(""), Code::kUnknown, "fsync");
  CHECK(fs.counters().injected_errors[static_cast<int>(SimOperation::kWrite)] == 2);
  CHECK(fs.counters().injected_errors[static_cast<int>(SimOperation::kName)] == 2);
}

TEST_CASE("A folder that cannot be made durable is not there, and is when made again",
          "[sim_fs][faults]") {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SimFileSystem fs(Random(seed), {});
    fs.FailNext(SimOperation::kSyncDirectory, "a");
    CHECK_FALSE(fs.CreateDirectories("a").ok());
    CHECK_FALSE(fs.Exists("a").value());
    KEELSON_REQUIRE_OK(fs.CreateDirectories("a/b"));
    fs.PowerLoss();
    REQUIRE(fs.Exists("a/b").value());
  }
}

TEST_CASE("A folder that somebody left behind is durable once it is asked for",
          "[sim_fs][faults]") {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SimFileSystem fs(Random(seed), {});
    KEELSON_REQUIRE_OK(fs.CreateDirectories("a"));
    KEELSON_REQUIRE_OK(fs.Rename("a", "b"));  // This is not durable.
    KEELSON_REQUIRE_OK(fs.CreateDirectories("b"));
    fs.PowerLoss();
    REQUIRE(fs.Exists("b").value());
  }
}

TEST_CASE("A failed write has written some prefix, in whole sectors", "[sim_fs][faults]") {
  constexpr size_t kBefore = 100;
  constexpr size_t kBytes = 3 * kSimSectorBytes;
  std::set<size_t> lengths;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SimFileSystem fs(Random(seed), {});
    const auto file = OpenDurable(fs, "f", std::string(kBefore + kBytes, '.'));
    fs.FailNext(SimOperation::kWrite, "f");
    CHECK_FALSE(file->WriteAt(kBefore, std::string(kBytes, '#')).ok());
    const std::string contents = Contents(fs, "f");
    const auto length = static_cast<size_t>(std::count(contents.begin(), contents.end(), '#'));
    REQUIRE(contents.substr(kBefore, length) == std::string(length, '#'));
    lengths.insert(length == 0 ? 0 : kBefore + length);
  }
  CHECK(lengths == std::set<size_t>{0, kSimSectorBytes, 2 * kSimSectorBytes, 3 * kSimSectorBytes});
}

TEST_CASE("Faults by chance come at their rate", "[sim_fs][faults]") {
  SimFileSystem fs(Random(4), {});
  const auto file = OpenDurable(fs, "f", "abc");
  fs.SetFaults(
      {.read_error = 0.2, .write_error = 0.1, .sync_error = 0.3, .sync_directory_error = 0.4});
  constexpr int kCalls = 5000;

  int reads = 0, writes = 0, syncs = 0, folders = 0;
  for (int i = 0; i < kCalls; ++i) {
    char byte = 0;
    reads += !file->ReadAt(0, std::span<char>(&byte, 1)).ok();
    writes += !file->WriteAt(0, "x").ok();
    syncs += !file->SyncData().ok();
    folders += !fs.SyncDirectory("").ok();
  }

  CHECK(reads == Approx(0.2 * kCalls).epsilon(0.1));
  CHECK(writes == Approx(0.1 * kCalls).epsilon(0.15));
  CHECK(syncs == Approx(0.3 * kCalls).epsilon(0.1));
  CHECK(folders == Approx(0.4 * kCalls).epsilon(0.1));
  const SimFileSystem::Counters counters = fs.counters();
  CHECK(counters.injected_errors[static_cast<int>(SimOperation::kRead)] ==
        static_cast<uint64_t>(reads));
  CHECK(counters.injected_errors[static_cast<int>(SimOperation::kSync)] ==
        static_cast<uint64_t>(syncs));
}

TEST_CASE("A full disk refuses growth, honours allocated space, and recovers", "[sim_fs][faults]") {
  SimFileSystem fs(Random(1), {.faults = {}, .capacity_bytes = 10000, .on_latency = nullptr});
  const auto file = Open(fs, "f");
  KEELSON_REQUIRE_OK(file->Allocate(0, 6000));
  const auto other = Open(fs, "other");

  KEELSON_CHECK_ERROR(other->Allocate(0, 4001), Code::kResourceExhausted, "fallocate 'other'");
  CHECK(other->Size().value() == 0);
  KEELSON_CHECK_ERROR(other->WriteAt(0, std::string(5000, 'x')), Code::kResourceExhausted,
                      "pwrite 'other' at 0: No space left on device");
  CHECK(other->Size().value() == 4000);  // what there was space for
  KEELSON_CHECK_ERROR(other->Truncate(4001), Code::kResourceExhausted, "");
  CHECK(fs.Space("").value().free_bytes == 0);
  CHECK(fs.Space("").value().capacity_bytes == 10000);
  KEELSON_REQUIRE_OK(file->WriteAt(0, std::string(6000, 'y')));
  CHECK(fs.counters().no_space == 3);

  KEELSON_REQUIRE_OK(fs.Remove("other"));
  KEELSON_REQUIRE_OK(file->WriteAt(6000, "z"));
  fs.SetCapacity(0);
  KEELSON_REQUIRE_OK(file->Allocate(0, 100000));
  CHECK(fs.used_bytes() == 100000);
}

TEST_CASE("A flipped bit is read, survives a power loss, and is not healed by a sync",
          "[sim_fs][bit_rot]") {
  SimFileSystem fs(Random(1), {});
  const auto file = OpenDurable(fs, "f", "abc");

  KEELSON_REQUIRE_OK(fs.FlipBit("f", 1, 0));
  CHECK(Contents(fs, "f") == "acc");
  KEELSON_REQUIRE_OK(file->SyncData());
  fs.PowerLoss();

  CHECK(Contents(fs, "f") == "acc");
  KEELSON_CHECK_ERROR(fs.FlipBit("f", 3, 0), Code::kOutOfRange, "flip 'f' at 3");
  KEELSON_CHECK_ERROR(fs.FlipBit("g", 0, 0), Code::kNotFound, "");
  CHECK(fs.counters().bits_flipped == 1);
}

TEST_CASE("A random flip hits durable bytes of the files meant", "[sim_fs][bit_rot]") {
  SimFileSystem fs(Random(9), {});
  (void)OpenDurable(fs, "wal-1", std::string(10, '\0'));
  (void)OpenDurable(fs, "wal-2", std::string(10, '\0'));
  (void)OpenDurable(fs, "snap", std::string(10, '\0'));
  KEELSON_REQUIRE_OK(Open(fs, "wal-3")->WriteAt(0, "unsynced"));

  std::set<std::string> hit;
  for (int i = 0; i < 50; ++i) {
    const auto flip = fs.FlipRandomBit("wal");
    REQUIRE(flip.has_value());
    hit.insert(flip->path);
    const std::string contents = Contents(fs, flip->path);
    REQUIRE(flip->offset < contents.size());
    KEELSON_REQUIRE_OK(fs.FlipBit(flip->path, flip->offset, flip->bit));
    REQUIRE(Contents(fs, flip->path) == std::string(10, '\0'));
  }
  CHECK(hit == std::set<std::string>{"wal-1", "wal-2"});
  CHECK_FALSE(fs.FlipRandomBit("none").has_value());
}

TEST_CASE("Slow operations cost virtual time, none of it real", "[sim_fs][latency]") {
  SimFileSystem::Faults slow{.operation_latency = absl::Microseconds(10),
                             .sync_latency = absl::Milliseconds(2),
                             .slow_operation = 0.01,
                             .slow_latency = absl::Seconds(1)};
  SECTION("gathered") {
    SimFileSystem fs(Random(1), {});
    const auto file = OpenDurable(fs, "f", "abc");
    CHECK(fs.TakeLatency() == absl::ZeroDuration());
    fs.SetFaults(slow);
    for (int i = 0; i < 1000; ++i) KEELSON_REQUIRE_OK(file->SyncData());

    const double seconds = absl::ToDoubleSeconds(fs.TakeLatency());

    const double slow_ones = static_cast<double>(fs.counters().slow_operations);
    CHECK(slow_ones > 1);
    CHECK(seconds == Approx(2 + slow_ones).epsilon(0.5));
    CHECK(fs.TakeLatency() == absl::ZeroDuration());
  }
  SECTION("reported, outside the lock") {
    absl::Duration heard;
    SimFileSystem* self = nullptr;
    SimFileSystem fs(Random(1),
                     {.faults = slow, .capacity_bytes = 0, .on_latency = [&](absl::Duration spent) {
                        heard += spent;
                        (void)self->counters();  // would deadlock under the lock
                      }});
    self = &fs;
    (void)OpenDurable(fs, "f", "abc");
    CHECK(heard > absl::ZeroDuration());
    CHECK(fs.TakeLatency() == absl::ZeroDuration());
  }
}

TEST_CASE("A path with '..' is refused, a leading slash is the root", "[sim_fs]") {
  SimFileSystem fs(Random(1), {});
  KEELSON_REQUIRE_OK(fs.CreateDirectories("/a/./b"));
  CHECK(fs.Exists("a/b").value());
  KEELSON_CHECK_ERROR(fs.Open("a/../x", {.write = true, .create = true}), Code::kInvalidArgument,
                      "'..'");
  KEELSON_CHECK_ERROR(fs.Exists(".."), Code::kInvalidArgument, "");
  CHECK_FALSE(fs.Remove("/").ok());
}

// Random operations beside a naive model of what must be durable: for each file the contents
// at its last sync, byte ranges written since, and whether its name has been synced.
class Workload {
 public:
  explicit Workload(uint64_t seed) : random_(Random(seed).Stream("workload")) {}

  void Run(SimFileSystem& fs, int operations) {
    for (int i = 0; i < operations; ++i) Step(fs);
  }

  void CheckDurable(SimFileSystem& fs) const {
    for (const auto& [path, file] : files_) {
      if (!file.name_durable) continue;
      INFO(path);
      const std::string contents = Contents(fs, path);
      REQUIRE(contents.size() >= file.synced.size());
      for (size_t at = 0; at < file.synced.size(); ++at) {
        if (file.dirty.count(at / kSimSectorBytes) == 0) REQUIRE(contents[at] == file.synced[at]);
      }
    }
  }

 private:
  struct Model {
    std::string live;
    std::string synced;
    std::set<uint64_t> dirty;  // sectors
    bool name_durable = false;
    std::unique_ptr<File> handle;
  };

  void Step(SimFileSystem& fs) {
    const std::string path = absl::StrCat("f", random_.Below(4));
    Model& file = files_[path];
    if (file.handle == nullptr) file.handle = Open(fs, path);
    switch (random_.Below(8)) {
      case 0:
        if (random_.Bernoulli(0.7)) break;  // so that names are often still pending at the end
        KEELSON_REQUIRE_OK(fs.SyncDirectory(""));
        for (auto& [name, one] : files_) one.name_durable = true;
        break;
      case 1:
      case 2:
        KEELSON_REQUIRE_OK(file.handle->SyncData());
        file.synced = file.live;
        file.dirty.clear();
        break;
      default: {
        const uint64_t offset = random_.Below(5000);
        const std::string data(1 + random_.Below(1500), static_cast<char>('a' + random_.Below(26)));
        KEELSON_REQUIRE_OK(file.handle->WriteAt(offset, data));
        if (file.live.size() < offset + data.size()) file.live.resize(offset + data.size());
        file.live.replace(offset, data.size(), data);
        for (uint64_t at = offset; at < offset + data.size(); ++at) {
          file.dirty.insert(at / kSimSectorBytes);
        }
      }
    }
    REQUIRE(Contents(fs, path) == file.live);
  }

  Random random_;
  std::map<std::string, Model> files_;
};

TEST_CASE("Whatever was synced survives, and the same seed gives the same outcome",
          "[sim_fs][property]") {
  SimFileSystem::Counters total;
  std::set<uint64_t> hashes;
  constexpr uint64_t kSeeds = 150;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    INFO("seed=" << seed);
    uint64_t hash[2] = {};
    for (uint64_t& one : hash) {
      SimFileSystem fs(Random(seed), {});
      Workload workload(seed);
      workload.Run(fs, 40);
      fs.PowerLoss();
      workload.CheckDurable(fs);
      one = fs.StateHash();
      total.writes_lost += fs.counters().writes_lost;
      total.writes_kept += fs.counters().writes_kept;
      total.writes_torn += fs.counters().writes_torn;
      total.names_lost += fs.counters().names_lost;
      total.names_kept += fs.counters().names_kept;
    }
    REQUIRE(hash[0] == hash[1]);
    hashes.insert(hash[0]);
  }
  CHECK(hashes.size() > kSeeds * 3 / 4);  // some lose everything and are alike
  CHECK(total.writes_lost > 100);
  CHECK(total.writes_kept > 100);
  CHECK(total.writes_torn > 100);
  CHECK(total.names_lost > 10);
  CHECK(total.names_kept > 10);
}

}  // namespace
}  // namespace keelson
