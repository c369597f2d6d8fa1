#include "partition/verity/hash_tree.h"

#include <openssl/evp.h>

#include <catch2/catch.hpp>

#include <map>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/random.h"
#include "base/testing/status_matchers.h"
#include "partition/testing/fake_disk.h"
#include "partition/verity/block_hasher.h"
#include "partition/verity/internal/ordered_parallel.h"
#include "partition/verity/internal/sha256_pair.h"
#include "partition/verity/verify.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

std::string RandomBytes(Random& random, size_t size) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// Level by level in memory, straight from the format's description.
struct NaiveTree {
  std::string bytes;
  std::string root_hash;
};
NaiveTree MakeNaiveTree(const std::string& data, const VerityParams& params) {
  const TreeShape shape = *ShapeOf(params);
  BlockHasher hasher = *BlockHasher::Create(params);
  NaiveTree tree;
  std::string below = data;
  uint32_t block_bytes = params.data_block_bytes;
  while (below.size() > block_bytes) {
    std::string level;
    for (size_t at = 0; at < below.size();) {
      std::string block;
      for (uint64_t i = 0; i < shape.digests_per_block && at < below.size(); ++i) {
        std::string digest = hasher.Hash(std::string_view(below).substr(at, block_bytes));
        digest.resize(shape.slot_bytes, '\0');
        block += digest;
        at += block_bytes;
      }
      block.resize(params.hash_block_bytes, '\0');
      level += block;
    }
    tree.bytes = level + tree.bytes;
    below = level;
    block_bytes = params.hash_block_bytes;
  }
  tree.root_hash = hasher.Hash(below);
  return tree;
}

class Collector {
 public:
  explicit Collector(size_t bytes) : bytes_(bytes, '\0') {}
  HashBlockSink sink() {
    return [this](uint64_t offset, std::string_view block) {
      bytes_.replace(offset, block.size(), block);
      ++blocks_[offset];
      return absl::OkStatus();
    };
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  [[nodiscard]] bool EachOnce(size_t count) const {
    if (blocks_.size() != count) return false;
    for (const auto& [offset, times] : blocks_) {
      if (times != 1) return false;
    }
    return true;
  }

 private:
  std::string bytes_;
  std::map<uint64_t, int> blocks_;
};

FakeDisk DiskOf(const std::string& bytes) {
  FakeDisk disk({.sector_bytes = 512, .sectors = (bytes.size() + 511) / 512});
  disk.image().replace(0, bytes.size(), bytes);
  return disk;
}

TEST_CASE("A tree made while data arrives, by many threads, and by hand is the same",
          "[verity][tree]") {
  const uint64_t seed = GENERATE(range(uint64_t{1}, uint64_t{31}));
  INFO("seed " << seed);
  Random random(seed);
  const std::vector<std::string> algorithms = {"sha1", "sha256", "sha384", "sha512"};
  VerityParams params = {.hash_type = static_cast<uint32_t>(random.Below(2)),
                         .algorithm = algorithms[random.Below(4)],
                         .data_block_bytes = 512u << random.Below(4),
                         .hash_block_bytes = 512u << random.Below(4),
                         .data_blocks = 1 + random.Below(random.Bernoulli(0.2) ? 5000 : 300),
                         .salt = RandomBytes(random, random.Below(257))};
  const std::string data = RandomBytes(random, params.data_bytes());
  const NaiveTree naive = MakeNaiveTree(data, params);
  const uint64_t blocks = ShapeOf(params)->blocks;

  Collector streamed(naive.bytes.size());
  KEELSON_ASSIGN_OR_FAIL(HashTreeStream stream, HashTreeStream::Create(params, streamed.sink()));
  for (size_t at = 0; at < data.size();) {
    const size_t size =
        std::min<size_t>(data.size() - at, random.Below(3 * params.data_block_bytes));
    KEELSON_REQUIRE_OK(stream.Append(std::string_view(data).substr(at, size)));
    at += size;
  }
  KEELSON_ASSIGN_OR_FAIL(const std::string streamed_root, stream.Finish());
  Collector built(naive.bytes.size());
  const FakeDisk disk = DiskOf(data + "more");
  KEELSON_ASSIGN_OR_FAIL(const std::string built_root,
                         BuildHashTree(disk, params, built.sink(), {.threads = 3}));

  CHECK(streamed_root == naive.root_hash);
  CHECK(streamed.bytes() == naive.bytes);
  CHECK(streamed.EachOnce(blocks));
  CHECK(built_root == naive.root_hash);
  CHECK(built.bytes() == naive.bytes);
  CHECK(built.EachOnce(blocks));
}

TEST_CASE("Data blocks may be larger than what is read at a time", "[verity][tree]") {
  Random random(8);
  const VerityParams params = {.data_block_bytes = 512 << 10, .data_blocks = 3};
  const std::string data = RandomBytes(random, params.data_bytes());
  const NaiveTree naive = MakeNaiveTree(data, params);
  Collector built(naive.bytes.size());
  const FakeDisk disk = DiskOf(data);
  CHECK(*BuildHashTree(disk, params, built.sink(), {.threads = 2}) == naive.root_hash);
  CHECK(built.bytes() == naive.bytes);
}

// By (printf salt; head -c 4096 /dev/zero) | sha256sum, and the other way round.
TEST_CASE("Blocks hashed two at a time have the digests that OpenSSL gives one by one",
          "[verity][tree]") {
  Random random(5);
  for (const int hash_type : {0, 1}) {
    for (const uint32_t block_bytes : {512u, 1024u, 4096u}) {
      for (const size_t salt_bytes : {0, 1, 8, 32, 55, 56, 63, 64, 65, 128, 200, 256}) {
        CAPTURE(hash_type, block_bytes, salt_bytes);
        const VerityParams params = {.hash_type = static_cast<uint32_t>(hash_type),
                                     .data_block_bytes = block_bytes,
                                     .hash_block_bytes = block_bytes,
                                     .data_blocks = 5,
                                     .salt = RandomBytes(random, salt_bytes)};
        BlockHasher hasher = *BlockHasher::Create(params);
        const std::string blocks = RandomBytes(random, size_t{5} * block_bytes);
        std::string expected;
        for (size_t at = 0; at < blocks.size(); at += block_bytes) {
          expected += hasher.Hash(std::string_view(blocks).substr(at, block_bytes));
        }
        std::string found(expected.size(), '\0');
        hasher.HashDataBlocks(blocks, found.data());
        REQUIRE(absl::BytesToHexString(found) == absl::BytesToHexString(expected));
      }
    }
  }
}

TEST_CASE("Pairs of messages of any length have the digests of FIPS 180-4", "[verity][tree]") {
  if (!HasSha256Pair()) {
    WARN("SKIPPED: this processor has no SHA instructions");
    return;
  }
  Random random(6);
  for (int i = 0; i < 500; ++i) {
    const std::string prefix = RandomBytes(random, random() % 257);
    const std::string suffix = RandomBytes(random, random() % 257);
    const std::string messages[2] = {RandomBytes(random, 64 + i), RandomBytes(random, 64 + i)};
    CAPTURE(i, prefix.size(), suffix.size());
    Sha256Pair pair(prefix, messages[0].size(), suffix);
    for (int turn = 0; turn < 2; ++turn) {  // Nothing of the first pair is left for the second.
      std::string digests(2 * kSha256DigestBytes, '\0');
      pair.Hash(messages[turn].data(), messages[1].data(), digests.data(),
                digests.data() + kSha256DigestBytes);
      const auto openssl = [&](const std::string& message) {
        const std::string whole = prefix + message + suffix;
        std::string digest(kSha256DigestBytes, '\0');
        auto* out = reinterpret_cast<unsigned char*>(digest.data());
        REQUIRE(EVP_Digest(whole.data(), whole.size(), out, nullptr, EVP_sha256(), nullptr) == 1);
        return digest;
      };
      REQUIRE(absl::BytesToHexString(digests) ==
              absl::BytesToHexString(openssl(messages[turn]) + openssl(messages[1])));
    }
  }
}

TEST_CASE("The salt stands before the block, in ChromeOS's type behind it", "[verity][tree]") {
  VerityParams params = {.data_blocks = 1, .salt = "salt"};
  const std::string zeros(4096, '\0');
  const FakeDisk disk = DiskOf(zeros);
  const auto sink = [](uint64_t, std::string_view) { return absl::OkStatus(); };
  CHECK(absl::BytesToHexString(*BuildHashTree(disk, params, sink, {})) ==
        "02c7d121869b589993de67261b43b1dbdb761c952946eba8f8ba02baf98fdced");
  params.hash_type = 0;
  CHECK(absl::BytesToHexString(*BuildHashTree(disk, params, sink, {})) ==
        "592594b8aa3ea17f5d74bd953e279f1b5d579d44b7bde0a9428fa4056f300f08");
}

TEST_CASE("Data of another length than said is refused", "[verity][tree]") {
  const auto sink = [](uint64_t, std::string_view) { return absl::OkStatus(); };
  KEELSON_ASSIGN_OR_FAIL(HashTreeStream stream, HashTreeStream::Create({.data_blocks = 2}, sink));
  KEELSON_REQUIRE_OK(stream.Append(std::string(8000, 'x')));
  KEELSON_CHECK_ERROR(stream.Finish(), Code::kFailedPrecondition,
                      "expected 8192 bytes of data, found 8000");
  KEELSON_CHECK_ERROR(stream.Append(std::string(193, 'x')), Code::kOutOfRange, "found 8193");
  const FakeDisk disk = DiskOf(std::string(7000, 'x'));
  KEELSON_CHECK_ERROR(BuildHashTree(disk, {.data_blocks = 2}, sink, {}), Code::kOutOfRange,
                      "expected 8192 bytes, found 7168");
}

TEST_CASE("An error of reading or of the sink ends the work", "[verity][tree]") {
  FakeDisk disk = DiskOf(std::string(8 << 20, 'x'));
  int calls = 0;
  const auto full = [&](uint64_t, std::string_view) {
    return ++calls == 3 ? absl::ResourceExhaustedError("full") : absl::OkStatus();
  };
  KEELSON_CHECK_ERROR(BuildHashTree(disk, {.data_blocks = 2048}, full, {.threads = 2}),
                      Code::kResourceExhausted, "full");
  CHECK(calls == 3);
  disk.BreakSector(9000);
  const auto sink = [](uint64_t, std::string_view) { return absl::OkStatus(); };
  KEELSON_CHECK_ERROR(BuildHashTree(disk, {.data_blocks = 2048}, sink, {.threads = 2}),
                      Code::kUnknown, "4608000");
}

TEST_CASE("Results are taken in order, whoever is done first", "[verity][parallel]") {
  std::vector<uint64_t> taken;
  const absl::Status status = OrderedParallel<uint64_t>::Run(
      1000, 4,
      [](uint64_t index, int) -> absl::StatusOr<uint64_t> {
        if (index % 7 == 0) std::this_thread::yield();
        return index * index;
      },
      [&](uint64_t index, uint64_t result) {
        CHECK(result == index * index);
        taken.push_back(index);
        return absl::OkStatus();
      });
  KEELSON_REQUIRE_OK(status);
  REQUIRE(taken.size() == 1000);
  for (uint64_t i = 0; i < taken.size(); ++i) REQUIRE(taken[i] == i);
}

struct Verified {
  VerityParams params;
  FakeDisk data{{.sector_bytes = 512, .sectors = 0}};
  FakeDisk hash{{.sector_bytes = 512, .sectors = 0}};
  std::string root_hash;

  [[nodiscard]] VerityPlace place() const {
    return {.data = &data, .hash = &hash, .params = params};
  }
};

Verified MakeVerified(uint64_t blocks) {
  Random random(blocks);
  Verified v = {
      .params = {.data_block_bytes = 512, .hash_block_bytes = 512, .data_blocks = blocks}};
  const std::string data = RandomBytes(random, v.params.data_bytes());
  const NaiveTree tree = MakeNaiveTree(data, v.params);
  v.data = DiskOf(data);
  v.hash = DiskOf(tree.bytes);
  v.root_hash = tree.root_hash;
  return v;
}

TEST_CASE("Every single damaged byte is found, in data and in tree", "[verity][verify]") {
  // 16 digests a block: 3 levels of 1, 2 and 19 blocks.
  Verified v = MakeVerified(300);
  REQUIRE(VerifyTree(v.place(), v.root_hash, {.threads = 2})->ok());
  for (size_t block = 0; block < 300; block += 7) {
    const size_t at = block * 512 + block;
    v.data.image()[at] ^= 1;
    KEELSON_ASSIGN_OR_FAIL(const VerityReport report,
                           VerifyTree(v.place(), v.root_hash, {.threads = 2}));
    v.data.image()[at] ^= 1;
    REQUIRE(report.faults.size() == 1);
    CHECK(report.faults[0].level == VerityFault::kData);
    CHECK(report.faults[0].block == block);
    CHECK(report.faults[0].offset == block * 512);
  }
  const uint64_t under[] = {300, 256, 44};
  for (size_t block = 0; block < 22; ++block) {
    v.hash.image()[block * 512 + 511 - block] ^= 1;
    KEELSON_ASSIGN_OR_FAIL(const VerityReport report,
                           VerifyTree(v.place(), v.root_hash, {.threads = 2}));
    v.hash.image()[block * 512 + 511 - block] ^= 1;
    REQUIRE(report.faults.size() == 1);
    CHECK(report.faults[0].level == (block == 0 ? 2 : block < 3 ? 1 : 0));
    CHECK(report.faults[0].offset == block * 512);
    CHECK(report.unjudged_blocks == (block < 3 ? under[block] : block == 21 ? 12 : 16));
  }
}

TEST_CASE("Faults are named from the top down, with what was expected", "[verity][verify]") {
  Verified v = MakeVerified(300);
  v.data.image()[299 * 512] ^= 1;
  v.data.image()[16 * 512] ^= 1;
  v.data.image()[0] ^= 1;        // under the damaged leaf: not judged
  v.hash.image()[3 * 512] ^= 1;  // leaf 0
  KEELSON_ASSIGN_OR_FAIL(const VerityReport report, VerifyTree(v.place(), v.root_hash, {}));
  REQUIRE(report.faults.size() == 3);
  CHECK(report.faults[0].message.find(
            "level 0 hash block 0 at byte 1536 of 'fake': expected sha256 ") == 0);
  CHECK(report.faults[1].message.find("data block 16 at byte 8192 of 'fake': expected sha256 ") ==
        0);
  CHECK(report.faults[2].block == 299);
  CHECK(report.unjudged_blocks == 16);
}

TEST_CASE("A wrong root hash condemns the top block; one of another length is refused",
          "[verity][verify]") {
  Verified v = MakeVerified(300);
  KEELSON_ASSIGN_OR_FAIL(const VerityReport report,
                         VerifyTree(v.place(), std::string(32, 'x'), {}));
  REQUIRE(report.faults.size() == 1);
  CHECK(report.faults[0].level == 2);
  CHECK(report.unjudged_blocks == 300);
  KEELSON_CHECK_ERROR(VerifyTree(v.place(), "short", {}), Code::kInvalidArgument,
                      "root hash of 5 bytes");
  v.hash.Resize(21);
  KEELSON_CHECK_ERROR(VerifyTree(v.place(), v.root_hash, {}), Code::kOutOfRange, "hash device");
  v.data.Resize(299);
  KEELSON_CHECK_ERROR(VerifyTree(v.place(), v.root_hash, {}), Code::kOutOfRange, "data device");
}

TEST_CASE("A single data block is judged by the root hash", "[verity][verify]") {
  Verified v = MakeVerified(1);
  CHECK(VerifyTree(v.place(), v.root_hash, {})->ok());
  v.data.image()[5] ^= 1;
  CHECK(VerifyTree(v.place(), v.root_hash, {})->faults.size() == 1);
}

}  // namespace
}  // namespace keelson::partition
