// Speed of verity hashing, error correction and slot commits in memory, beside raw OpenSSL.
// One JSON object on stdout; tools/bench/partition reads it.
#include <openssl/evp.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <memory>
#include <string>

#include "base/check.h"
#include "partition/gpt_disk.h"
#include "partition/partition_types.h"
#include "partition/slots/slot_manager.h"
#include "partition/testing/fake_disk.h"
#include "partition/verity/fec.h"
#include "partition/verity/hash_tree.h"

namespace keelson::partition {
namespace {

constexpr uint64_t kBytes = 128 << 20;

double WallSeconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Of this process: on a machine with other work, what one thread does in its own time.
double CpuSeconds(const std::function<void()>& work) {
  const std::clock_t start = std::clock();
  work();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

double Rate(double seconds) { return static_cast<double>(kBytes) / seconds / (1 << 20); }

void HashRaw(const std::string& data) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  for (uint64_t at = 0; at < data.size(); at += 1 << 20) {
    KEELSON_CHECK(EVP_Digest(data.data() + at, 1 << 20, digest, nullptr, EVP_sha256(), nullptr) ==
                  1);
  }
}

// As `openssl dgst` does it: what is on a device is read piece by piece, and hashed.
void HashRawDevice(const FakeDisk& disk) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  std::string piece(256 << 10, '\0');
  for (uint64_t at = 0; at < kBytes; at += piece.size()) {
    KEELSON_CHECK_OK(disk.Read(at, {piece.data(), piece.size()}));
    KEELSON_CHECK(EVP_Digest(piece.data(), piece.size(), digest, nullptr, EVP_sha256(), nullptr) ==
                  1);
  }
}

// As while data arrives: what is in memory is hashed where it is.
void HashStream(const std::string& data) {
  const VerityParams params = {.data_blocks = kBytes / 4096, .salt = std::string(32, 's')};
  auto tree =
      HashTreeStream::Create(params, [](uint64_t, std::string_view) { return absl::OkStatus(); });
  KEELSON_CHECK_OK(tree.status());
  for (uint64_t at = 0; at < data.size(); at += 1 << 20) {
    KEELSON_CHECK_OK(tree->Append(std::string_view(data).substr(at, 1 << 20)));
  }
  KEELSON_CHECK_OK(tree->Finish().status());
}

void HashTree(const FakeDisk& disk, int threads) {
  const VerityParams params = {.data_blocks = kBytes / 4096, .salt = std::string(32, 's')};
  const auto sink = [](uint64_t, std::string_view) { return absl::OkStatus(); };
  KEELSON_CHECK_OK(BuildHashTree(disk, params, sink, {.threads = threads}).status());
}

void Encode(const FakeDisk& data, const FakeDisk& hash, int roots) {
  const VerityPlace place = {
      .data = &data, .hash = &hash, .params = {.data_blocks = kBytes / 4096}};
  const auto message = MessageOf(place, false, 0);
  KEELSON_CHECK_OK(message.status());
  const auto sink = [](uint64_t, std::string_view) { return absl::OkStatus(); };
  KEELSON_CHECK_OK(EncodeFec(*message, roots, sink, {.threads = 1}));
}

// Milliseconds of marking a slot good on a disk that flushes in no time.
double CommitMilliseconds() {
  constexpr int kTimes = 50;
  const Geometry geometry = {.sectors = 4096};
  FakeDisk disk(geometry);
  GptTable table = *EmptyTable(geometry, RandomGuid());
  table.entries[0] = {
      .type = CoreOsUsrType(), .unique = RandomGuid(), .first_lba = 40, .last_lba = 49};
  SetSlotBits(table, 1, {.priority = 1, .tries = 1});
  KEELSON_CHECK_OK(Apply(disk, *PlanCreate(geometry, std::string(512, '\0'), table)));
  const double seconds = CpuSeconds([&] {
    for (int i = 0; i < kTimes; ++i) {
      const auto reading = ReadGpt(disk);
      KEELSON_CHECK_OK(reading.status());
      GptTable next = reading->table;
      SetSlotBits(next, 1, {.priority = 1, .tries = i % 2, .successful = true});
      const auto writes = PlanCommit(*reading, next);
      KEELSON_CHECK_OK(writes.status());
      KEELSON_CHECK_OK(Apply(disk, *writes));
    }
  });
  return seconds / kTimes * 1000;
}

void Run() {
  FakeDisk disk({.sectors = kBytes / 512});
  for (size_t i = 0; i < disk.image().size(); ++i) disk.image()[i] = static_cast<char>(i * i >> 7);
  const TreeShape shape = *ShapeOf({.data_blocks = kBytes / 4096});
  const FakeDisk hash({.sectors = shape.blocks * 8});
  std::printf(
      "{\"openssl_mib_s\": %.0f, \"openssl_device_mib_s\": %.0f, \"stream_mib_s\": %.0f, "
      "\"tree1_mib_s\": %.0f, \"tree2_mib_s\": %.0f, \"tree2_cpu_mib_s\": %.0f,\n",
      Rate(CpuSeconds([&] { HashRaw(disk.image()); })),
      Rate(CpuSeconds([&] { HashRawDevice(disk); })),
      Rate(CpuSeconds([&] { HashStream(disk.image()); })),
      Rate(CpuSeconds([&] { HashTree(disk, 1); })), Rate(WallSeconds([&] { HashTree(disk, 2); })),
      Rate(CpuSeconds([&] { HashTree(disk, 2); })));
  std::printf(" \"fec2_mib_s\": %.0f, \"fec24_mib_s\": %.0f, \"commit_ms\": %.3f}\n",
              Rate(CpuSeconds([&] { Encode(disk, hash, 2); })),
              Rate(CpuSeconds([&] { Encode(disk, hash, 24); })), CommitMilliseconds());
}

}  // namespace
}  // namespace keelson::partition

int main() {
  keelson::partition::Run();
  return EXIT_SUCCESS;
}
