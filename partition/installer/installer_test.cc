#include "partition/installer/installer.h"

#include <catch2/catch.hpp>

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "partition/installer/block_delta.h"
#include "partition/installer/device_source.h"
#include "partition/installer/memory_source.h"
#include "partition/installer/partition_window.h"
#include "partition/partition_types.h"
#include "partition/slots/slot_table.h"
#include "partition/testing/fake_disk.h"
#include "partition/verity/verity_device.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

constexpr uint64_t kBlocks = 40;
constexpr uint64_t kBlockBytes = 512;
constexpr Geometry kGeometry = {.sectors = 34 + 60 + 60 + 60 + 34};

std::string RandomBlocks(uint64_t seed, uint64_t count) {
  Random random(seed);
  std::string bytes(count * kBlockBytes, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// An image with its tree, as a build leaves them.
struct Image {
  explicit Image(std::string data_bytes, const std::string& name)
      : data({.sectors = data_bytes.size() / kBlockBytes}, "image"), hash({.sectors = 20}, "tree") {
    data.image() = std::move(data_bytes);
    description = {.version = name,
                   .params = {.data_block_bytes = kBlockBytes,
                              .hash_block_bytes = kBlockBytes,
                              .data_blocks = data.geometry().sectors,
                              .salt = name},
                   .uuid = {7}};
    const VerityFormat format = {.params = description.params, .uuid = {7}};
    const VerityDevices devices = {.data = &data, .hash = &hash};
    place = AreasOf(format, devices)->place;
    description.root_hash = *FormatVerity(format, devices, {});
  }
  [[nodiscard]] DeviceSource source() const { return {description, place}; }

  FakeDisk data;
  FakeDisk hash;
  VerityPlace place;
  ImageDescription description;
};

// The old system's blocks in another order, and some of its own in between.
std::string NewBytes() {
  const std::string old_bytes = RandomBlocks(1, kBlocks);
  const std::string fresh = RandomBlocks(2, kBlocks);
  std::string bytes;
  for (uint64_t i = 0; i < kBlocks; ++i) {
    const std::string& from = i % 5 == 0 ? fresh : old_bytes;
    bytes += from.substr((i * 7 % kBlocks) * kBlockBytes, kBlockBytes);
  }
  return bytes;
}

// Slots 1 and 2 and a partition 3 for a tree; slot 1 is good and holds the old system.
FakeDisk MakeDisk() {
  FakeDisk disk(kGeometry, "disk");
  GptTable table = *EmptyTable(kGeometry, {.bytes = {1}});
  for (uint64_t i = 0; i < 3; ++i) {
    table.entries[i] = {.type = i == 2 ? *ParsePartitionType("usr-verity") : CoreOsUsrType(),
                        .unique = {.bytes = {static_cast<uint8_t>(10 + i)}},
                        .first_lba = 34 + 60 * i,
                        .last_lba = 34 + 60 * i + 59};
  }
  SetSlotBits(table, 1, {.priority = 1, .successful = true});
  const auto writes = PlanCreate(kGeometry, disk.image().substr(0, 512), table);
  KEELSON_REQUIRE_OK(writes);
  KEELSON_REQUIRE_OK(Apply(disk, *writes));
  disk.image().replace(34 * 512, kBlocks * kBlockBytes, RandomBlocks(1, kBlocks));
  disk.ForgetHistory();
  return disk;
}

int BootsFrom(const FakeDisk& disk) {
  const absl::StatusOr<GptReading> reading = ReadGpt(disk);
  KEELSON_REQUIRE_OK(reading);
  return NextSlot(SlotsOf(reading->table, CoreOsUsrType())).value_or(0);
}

InstallTarget TargetOf(FakeDisk& disk) {
  return {.disk = disk, .slot_type = CoreOsUsrType(), .running = 1};
}

absl::StatusOr<InstallResult> InstallOn(FakeDisk& disk, ImageSource& source,
                                        InstallRequest request = {}) {
  if (request.trusted_root_hash.empty()) {
    request.trusted_root_hash = source.description().root_hash;
  }
  return Install(TargetOf(disk), source, request);
}

// A slot that boots must hold the whole new system.
void CheckSystem(FakeDisk& disk, const Image& image, int hash_partition = 0) {
  const GptTable table = ReadGpt(disk)->table;
  const PartitionWindow data = *PartitionWindow::Open(disk, table, 2);
  const PartitionWindow hash =
      *PartitionWindow::Open(disk, table, hash_partition == 0 ? 2 : hash_partition);
  const VerityPlace place = {
      .data = &data,
      .hash = &hash,
      .tree_offset = (hash_partition == 0 ? kBlocks * kBlockBytes : 0) + kBlockBytes,
      .params = image.description.params};
  const auto report = VerifyTree(place, image.description.root_hash, {.threads = 1});
  KEELSON_REQUIRE_OK(report);
  REQUIRE(report->ok());
}

TEST_CASE("A new system boots next, and what the old one has is not fetched", "[installer]") {
  FakeDisk disk = MakeDisk();
  const Image image(NewBytes(), "v2");
  DeviceSource source = image.source();
  KEELSON_ASSIGN_OR_FAIL(const InstallResult result, InstallOn(disk, source, {.tries = 2}));

  CHECK(result.slot == 2);
  CHECK(result.copied_blocks == 32);
  CHECK(result.fetched_blocks == 8);
  CHECK(result.kept_blocks == 0);
  CHECK(BootsFrom(disk) == 2);
  CheckSystem(disk, image);
  const GptTable table = ReadGpt(disk)->table;
  CHECK(NameOf(table.entries[1]) == "v2");
  CHECK(table.entries[1].unique == PartitionGuidsOf(image.description.root_hash)->data);
  CHECK(SlotBitsOf(table.entries[1].attributes) == SlotBits{.priority = 2, .tries = 2});
  CHECK(disk.image().substr((34 + 60 + 40) * 512, 6) == "verity");
}

TEST_CASE("The tree may have a partition of its own", "[installer]") {
  FakeDisk disk = MakeDisk();
  const Image image(NewBytes(), "v2");
  DeviceSource source = image.source();
  KEELSON_REQUIRE_OK(InstallOn(disk, source, {.hash_partition = 3}));
  CheckSystem(disk, image, 3);
  const GptTable table = ReadGpt(disk)->table;
  CHECK(table.entries[2].unique == PartitionGuidsOf(image.description.root_hash)->hash);
  CHECK(NameOf(table.entries[2]) == "v2");
}

TEST_CASE("At every power cut the old system boots, or the new one is whole",
          "[installer][crash]") {
  FakeDisk disk = MakeDisk();
  const std::string before = disk.image();
  const Image image(NewBytes(), "v2");
  DeviceSource source = image.source();
  KEELSON_REQUIRE_OK(InstallOn(disk, source));

  uint64_t nth = 0;
  uint64_t again = 0;
  const uint64_t cuts = ForEachPowerCut(before, disk, [&](FakeDisk& cut, const std::string& when) {
    INFO(when);
    const int boots = BootsFrom(cut);
    REQUIRE((boots == 1 || boots == 2));
    if (boots == 2) CheckSystem(cut, image);
    if (++nth % 11 != 0) return;
    // After any of them, installing again ends well, and fetches only what is not there.
    const std::string at_cut = cut.image();
    DeviceSource second = image.source();
    KEELSON_REQUIRE_OK(InstallOn(cut, second));
    CHECK(BootsFrom(cut) == 2);
    CheckSystem(cut, image);
    cut.image() = at_cut;
    ++again;
  });
  CHECK(cuts > 400);
  CHECK(again > 20);
}

TEST_CASE("Killed after any write, an installation goes on where it stopped",
          "[installer][crash]") {
  const Image image(NewBytes(), "v2");
  bool completed = false;
  for (uint64_t writes = 0; !completed; ++writes) {
    INFO("after " << writes << " writes and flushes");
    FakeDisk disk = MakeDisk();
    disk.FailAfter(writes);
    DeviceSource source = image.source();
    completed = InstallOn(disk, source).ok();
    const int boots = BootsFrom(disk);
    REQUIRE((boots == 1 || boots == 2));
    if (boots == 2) CheckSystem(disk, image);
    disk.FailAfter(UINT64_MAX);
    KEELSON_ASSIGN_OR_FAIL(const InstallResult result, InstallOn(disk, source));
    CHECK(result.kept_blocks + result.copied_blocks + result.fetched_blocks == kBlocks);
    CHECK(BootsFrom(disk) == 2);
    CheckSystem(disk, image);
    REQUIRE(writes < 1000);
  }
}

TEST_CASE("What a kill left in the slot is believed only after reading it", "[installer][crash]") {
  FakeDisk disk = MakeDisk();
  const std::string bytes = NewBytes();
  const Image image(bytes, "v2");
  // As if all had been written, but for one byte that the disk lost.
  disk.image().replace((34 + 60) * 512, bytes.size(), bytes);
  disk.image()[(34 + 60) * 512 + 5] ^= 1;
  DeviceSource source = image.source();
  KEELSON_ASSIGN_OR_FAIL(const InstallResult result, InstallOn(disk, source));
  CHECK(result.kept_blocks == kBlocks - 1);
  CHECK(result.copied_blocks + result.fetched_blocks == 1);
  CheckSystem(disk, image);
}

TEST_CASE("What is not signed for is refused before the first write", "[installer][refusal]") {
  FakeDisk disk = MakeDisk();
  Image image(NewBytes(), "v2");
  DeviceSource source = image.source();
  SECTION("another root hash") {
    KEELSON_CHECK_ERROR(InstallOn(disk, source, {.trusted_root_hash = std::string(32, 'x')}),
                        Code::kPermissionDenied, "expected the root hash 7878");
  }
  SECTION("a tree that does not match it") {
    image.hash.image()[3 * 512] ^= 1;
    KEELSON_CHECK_ERROR(InstallOn(disk, source), Code::kDataLoss, "hash tree: level 0 block 1");
  }
  SECTION("the running slot") {
    KEELSON_CHECK_ERROR(InstallOn(disk, source, {.slot = 1}), Code::kFailedPrecondition, "running");
  }
  SECTION("no slot") {
    KEELSON_CHECK_ERROR(InstallOn(disk, source, {.slot = 3}), Code::kNotFound, "not a slot");
  }
  SECTION("tries that no bits can say") {
    KEELSON_CHECK_ERROR(InstallOn(disk, source, {.tries = 16}), Code::kInvalidArgument, "tries 16");
  }
  SECTION("a partition for the tree that is none") {
    KEELSON_CHECK_ERROR(InstallOn(disk, source, {.hash_partition = 9}), Code::kNotFound,
                        "partition 9");
    KEELSON_CHECK_ERROR(InstallOn(disk, source, {.hash_partition = 2}), Code::kInvalidArgument,
                        "the slot itself");
  }
  SECTION("an image that does not fit") {
    const Image large(RandomBlocks(9, 58), "large");
    DeviceSource large_source = large.source();
    KEELSON_CHECK_ERROR(InstallOn(disk, large_source), Code::kInvalidArgument, "does not fit");
  }
  SECTION("a version whose name no partition can have") {
    const Image wordy(NewBytes(), std::string(37, 'v'));
    DeviceSource wordy_source = wordy.source();
    KEELSON_CHECK_ERROR(InstallOn(disk, wordy_source), Code::kInvalidArgument, "36");
  }
  SECTION("a version that failed here") {
    InstallTarget target = TargetOf(disk);
    target.failed_versions.Add({.version = "v2", .partition = 2, .reason = "it hangs"});
    KEELSON_CHECK_ERROR(Install(target, source, {.trusted_root_hash = image.description.root_hash}),
                        Code::kFailedPrecondition, "it hangs");
  }
  CHECK(disk.history().empty());
}

TEST_CASE("A damaged block is never written, and the slot does not boot", "[installer][refusal]") {
  FakeDisk disk = MakeDisk();
  Image image(NewBytes(), "v2");
  image.data.image()[5 * 512] ^= 1;  // one that only the source has
  DeviceSource source = image.source();
  KEELSON_CHECK_ERROR(InstallOn(disk, source), Code::kDataLoss, "block 5: expected sha256 ");
  CHECK(BootsFrom(disk) == 1);
  CHECK(disk.image().substr((34 + 60 + 5) * 512, 512) == std::string(512, '\0'));
}

TEST_CASE("A disk that does not keep what was written is found out", "[installer][refusal]") {
  // Its own memory answers rightly until it is made to forget.
  class Forgetful final : public BlockDevice {
   public:
    explicit Forgetful(FakeDisk& disk) : disk_(disk) {}
    [[nodiscard]] const std::string& name() const override { return disk_.name(); }
    [[nodiscard]] Geometry geometry() const override { return disk_.geometry(); }
    absl::Status Read(uint64_t offset, std::span<char> buffer) const override {
      return disk_.Read(offset, buffer);
    }
    absl::Status Write(uint64_t offset, std::string_view data) override {
      return disk_.Write(offset, data);
    }
    absl::Status Flush() override { return disk_.Flush(); }
    void ForgetCache() const override { disk_.image()[(34 + 60 + 20) * 512 + 9] ^= 1; }
    absl::Status RereadPartitions() override { return absl::OkStatus(); }

   private:
    FakeDisk& disk_;
  };
  FakeDisk disk = MakeDisk();
  Forgetful forgetful(disk);
  const Image image(NewBytes(), "v2");
  DeviceSource source = image.source();
  KEELSON_CHECK_ERROR(Install({.disk = forgetful, .slot_type = CoreOsUsrType(), .running = 1},
                              source, {.trusted_root_hash = image.description.root_hash}),
                      Code::kDataLoss, "read back after writing: data block 20");
  CHECK(BootsFrom(disk) == 1);
}

struct DeltaFile {
  explicit DeltaFile(ImageSource& source) {
    FakeDisk old_image({.sectors = kBlocks}, "old");
    old_image.image() = RandomBlocks(1, kBlocks);
    auto out = fs.Open("delta", {.write = true, .create = true});
    KEELSON_REQUIRE_OK(out);
    const auto tell = [this](DeltaPhase phase, uint64_t done, uint64_t total) {
      REQUIRE(done <= total);
      told[phase] = {done, total};
    };
    const auto written = WriteBlockDelta(old_image, source, **out, tell);
    KEELSON_REQUIRE_OK(written);
    size = *written;
  }
  absl::StatusOr<std::unique_ptr<BlockDeltaSource>> Open() {
    return BlockDeltaSource::Open(*fs.Open("delta", {}));
  }

  SimFileSystem fs{Random(1), {}};
  DeltaSize size;
  std::map<DeltaPhase, std::pair<uint64_t, uint64_t>> told;  // done and total, the last of a phase
};

TEST_CASE("Data in memory are padded and installed with a tree of their own", "[installer]") {
  const std::string data = RandomBlocks(3, 17) + "the end";
  for (const std::string& bytes : {data, std::string("short"), std::string()}) {
    FakeDisk disk = MakeDisk();
    KEELSON_ASSIGN_OR_FAIL(const auto source, MemorySource::Make("2024.1", bytes));
    const ImageDescription& image = source->description();
    CHECK(image.version == "2024.1");
    REQUIRE(image.params.data_blocks == (bytes.empty() ? 1 : bytes.size() / 4096 + 1));
    KEELSON_ASSIGN_OR_FAIL(const InstallResult result, InstallOn(disk, *source));
    CHECK(result.kept_blocks + result.fetched_blocks == image.params.data_blocks);
    CHECK(BootsFrom(disk) == 2);
    const PartitionWindow slot = *PartitionWindow::Open(disk, ReadGpt(disk)->table, 2);
    std::string found(image.params.data_bytes(), 'x');
    KEELSON_REQUIRE_OK(slot.Read(0, {found.data(), found.size()}));
    CHECK(found.substr(0, bytes.size()) == bytes);
    CHECK(found.find_first_not_of('\0', bytes.size()) == std::string::npos);
    const VerityPlace place = {.data = &slot,
                               .hash = &slot,
                               .tree_offset = image.params.data_bytes() + 4096,
                               .params = image.params};
    KEELSON_ASSIGN_OR_FAIL(const auto report, VerifyTree(place, source->root_hash(), {}));
    CHECK(report.ok());
    KEELSON_ASSIGN_OR_FAIL(const auto other, MemorySource::Make("2024.1", bytes + "."));
    CHECK(other->root_hash() != source->root_hash());
  }
}

TEST_CASE("A delta has the changed blocks only, and gives the same system", "[installer][delta]") {
  const Image image(NewBytes(), "v2");
  DeviceSource full = image.source();
  DeltaFile delta(full);
  CHECK(delta.size.changed_blocks == 8);
  CHECK(delta.size.bytes == *(*delta.fs.Open("delta", {}))->Size());
  CHECK(delta.told[DeltaPhase::kOldImage] ==
        std::pair(kBlocks * kBlockBytes, kBlocks * kBlockBytes));
  CHECK(delta.told[DeltaPhase::kWrite] == std::pair(8 * kBlockBytes, 8 * kBlockBytes));

  FakeDisk disk = MakeDisk();
  KEELSON_ASSIGN_OR_FAIL(const auto source, delta.Open());
  CHECK(source->description() == image.description);
  KEELSON_ASSIGN_OR_FAIL(
      const auto needed,
      BlocksToFetch(TargetOf(disk), *source, {.trusted_root_hash = image.description.root_hash}));
  CHECK(needed.size() == 8);
  CHECK(disk.history().empty());
  KEELSON_ASSIGN_OR_FAIL(const InstallResult result, InstallOn(disk, *source));
  CHECK(result.fetched_blocks == 8);
  CheckSystem(disk, image);
}

TEST_CASE("A delta for another system is refused, and the slot does not boot",
          "[installer][delta]") {
  const Image image(NewBytes(), "v2");
  DeviceSource full = image.source();
  DeltaFile delta(full);
  FakeDisk disk = MakeDisk();
  disk.image()[(34 + 7) * 512] ^= 1;  // a block that the delta takes for granted
  KEELSON_ASSIGN_OR_FAIL(const auto source, delta.Open());
  KEELSON_CHECK_ERROR(InstallOn(disk, *source), Code::kNotFound, "made for another image");
  CHECK(BootsFrom(disk) == 1);
}

TEST_CASE("A delta that is cut off or contradicts itself is refused", "[installer][delta]") {
  const Image image(NewBytes(), "v2");
  DeviceSource full = image.source();
  DeltaFile delta(full);
  KEELSON_ASSIGN_OR_FAIL(const auto file, delta.fs.Open("delta", {.write = true}));
  std::string bytes(delta.size.bytes, '\0');
  KEELSON_REQUIRE_OK(file->ReadAt(0, {bytes.data(), bytes.size()}));
  for (uint64_t end = 0; end < bytes.size(); end += end < 800 ? 1 : 97) {
    KEELSON_REQUIRE_OK(file->Truncate(end));
    CHECK(!delta.Open().ok());
  }
  const auto with = [&](size_t at, const std::string& change) {
    KEELSON_REQUIRE_OK(file->Truncate(0));
    std::string changed = bytes;
    KEELSON_REQUIRE_OK(file->WriteAt(0, changed.replace(at, change.size(), change)));
    return delta.Open().status();
  };
  KEELSON_REQUIRE_OK(with(0, "K"));
  KEELSON_CHECK_ERROR(with(7, "2"), Code::kInvalidArgument, "first bytes");
  KEELSON_CHECK_ERROR(with(8, "V"), Code::kNotFound, "superblock");
  KEELSON_CHECK_ERROR(with(521, "!"), Code::kInvalidArgument, "root hash");
  KEELSON_CHECK_ERROR(with(587, "\xff"), Code::kInvalidArgument, "version");
  KEELSON_CHECK_ERROR(with(590, std::string(8, '\xff')), Code::kInvalidArgument, "more ranges");
  KEELSON_CHECK_ERROR(with(598, "\x29"), Code::kInvalidArgument, "range 0");
  KEELSON_CHECK_ERROR(with(606, std::string(8, '\xff')), Code::kInvalidArgument, "range 0");
  KEELSON_CHECK_ERROR(with(606, "\2"), Code::kInvalidArgument, "expected");
}

}  // namespace
}  // namespace keelson::partition
