#include "partition/verity/fec.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/testing/status_matchers.h"
#include "partition/testing/fake_disk.h"
#include "partition/verity/copy_on_write.h"
#include "partition/verity/format.h"
#include "partition/verity/internal/gf256.h"
#include "partition/verity/internal/reed_solomon.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

void Fill(Random& random, std::span<char> bytes) {
  for (char& byte : bytes) byte = static_cast<char>(random());
}

// Multiplication by hand: shift and add, reduced by the polynomial.
uint8_t NaiveMultiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (int bit = 0; bit < 8; ++bit) {
    if ((b >> bit & 1) != 0) product ^= a << bit;
  }
  for (int bit = 15; bit >= 8; --bit) {
    if ((product >> bit & 1) != 0) product ^= 0x11du << (bit - 8);
  }
  return static_cast<uint8_t>(product);
}

TEST_CASE("The field's arithmetic is that of the polynomial", "[verity][gf256]") {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      REQUIRE(GfMultiply(static_cast<uint8_t>(a), static_cast<uint8_t>(b)) == NaiveMultiply(a, b));
    }
    if (a != 0)
      REQUIRE(GfMultiply(static_cast<uint8_t>(a), GfInverse(static_cast<uint8_t>(a))) == 1);
  }
}

TEST_CASE("All implementations that run here give the same bytes", "[verity][gf256]") {
  Random random(11);
  for (const GfKernels& kernels : GfKernelsHere()) {
    INFO(kernels.name);
    for (int factor = 0; factor < 256; ++factor) {
      std::vector<uint8_t> row(256);
      std::vector<uint8_t> sums(256);
      for (int i = 0; i < 256; ++i) {
        row[i] = static_cast<uint8_t>(random());
        sums[i] = static_cast<uint8_t>(i);
      }
      kernels.multiply_and_add(row.data(), row.size(), MakeGfFactor(static_cast<uint8_t>(factor)),
                               sums.data());
      for (int i = 0; i < 256; ++i) REQUIRE(sums[i] == (NaiveMultiply(i, factor) ^ row[i]));
    }
  }
  for (int roots = kFecRootsMin; roots <= kFecRootsMax; ++roots) {
    const std::vector<GfFactor> factors = EncoderFactors(roots);
    std::vector<uint8_t> rows(10 * 192);
    for (uint8_t& symbol : rows) symbol = static_cast<uint8_t>(random());
    std::vector<std::vector<uint8_t>> results;
    for (const GfKernels& kernels : GfKernelsHere()) {
      std::vector<uint8_t> registers(192 * roots);
      for (int i = 0; i < 10; ++i) {
        kernels.encode(rows.data() + i * 192, 192, factors, registers.data());
      }
      results.push_back(registers);
      INFO(kernels.name << " with " << roots << " roots");
      CHECK(results.back() == results.front());
    }
  }
}

using Codeword = std::array<uint8_t, kCodewordSymbols>;

// Long division by the generator polynomial.
Codeword RandomCodeword(Random& random, int roots) {
  Codeword codeword{};
  const int symbols = static_cast<int>(kCodewordSymbols) - roots;
  for (int i = 0; i < symbols; ++i) codeword[i] = static_cast<uint8_t>(random());
  const std::vector<GfFactor> generator = EncoderFactors(roots);
  Codeword rest = codeword;
  for (int i = 0; i < symbols; ++i) {
    const uint8_t by = rest[i];
    for (int t = 0; t < roots; ++t) rest[i + 1 + t] ^= NaiveMultiply(by, generator[t].value);
  }
  std::copy(rest.end() - roots, rest.end(), codeword.end() - roots);
  return codeword;
}

TEST_CASE("A codeword is zero at every root", "[verity][reed-solomon]") {
  Random random(3);
  for (int roots = kFecRootsMin; roots <= kFecRootsMax; ++roots) {
    const Codeword codeword = RandomCodeword(random, roots);
    for (int t = 0; t < roots; ++t) {
      uint8_t sum = 0;
      for (const uint8_t symbol : codeword) sum = NaiveMultiply(sum, GfAlphaPower(t)) ^ symbol;
      REQUIRE(sum == 0);
    }
  }
}

TEST_CASE("As many errors and erasures as the code can bear are corrected",
          "[verity][reed-solomon]") {
  const uint64_t seed = GENERATE(range(uint64_t{1}, uint64_t{9}));
  INFO("seed " << seed);
  Random random(seed);
  for (int roots = kFecRootsMin; roots <= kFecRootsMax; ++roots) {
    for (int erased = 0; erased <= roots; ++erased) {
      const int errors = (roots - erased) / 2;
      const Codeword sound = RandomCodeword(random, roots);
      Codeword damaged = sound;
      std::set<int> positions;
      while (static_cast<int>(positions.size()) < erased + errors) {
        positions.insert(static_cast<int>(random.Below(kCodewordSymbols)));
      }
      std::vector<int> shuffled(positions.begin(), positions.end());
      std::shuffle(shuffled.begin(), shuffled.end(), random);
      for (const int position : shuffled)
        damaged[position] ^= static_cast<uint8_t>(1 + random.Below(255));
      // A symbol that is said to be wrong may be right.
      if (erased > 0 && random.Bernoulli(0.2)) damaged[shuffled[0]] = sound[shuffled[0]];
      INFO(roots << " roots, " << erased << " erasures, " << errors << " errors");
      REQUIRE(CorrectCodeword(damaged, roots, std::span(shuffled).first(erased)).has_value());
      REQUIRE(damaged == sound);
    }
  }
}

TEST_CASE("Too many errors leave the codeword alone, or give another codeword",
          "[verity][reed-solomon]") {
  Random random(5);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    const int roots = 4 + static_cast<int>(random.Below(8));
    Codeword damaged = RandomCodeword(random, roots);
    for (int e = 0; e < roots; ++e) damaged[e * 9] ^= static_cast<uint8_t>(1 + random.Below(255));
    const Codeword before = damaged;
    if (CorrectCodeword(damaged, roots, {}).has_value()) {
      CHECK(CorrectCodeword(damaged, roots, {}) == 0);
    } else {
      ++refused;
      CHECK(damaged == before);
    }
  }
  CHECK(refused > 200);
  std::vector<int> all(5);
  for (int i = 0; i < 5; ++i) all[i] = i;
  Codeword codeword = RandomCodeword(random, 4);
  CHECK(!CorrectCodeword(codeword, 4, all).has_value());
}

// A formatted device with everything on disks of its own.
struct Fixture {
  explicit Fixture(uint64_t blocks, int fec_roots)
      : format{.params = {.data_block_bytes = 512, .hash_block_bytes = 512, .data_blocks = blocks},
               .fec = FecArea{.roots = fec_roots}},
        data({.sectors = blocks}),
        hash({.sectors = 1 + ShapeOf(format.params)->blocks}),
        fec({.sectors = 0}) {
    Random random(blocks);
    Fill(random, {data.image().data(), data.image().size()});
    const FecMessage message = *FecMessageOf(format, devices());
    fec.Resize(FecShapeOf(message, fec_roots)->bytes / 512);
    root_hash = *FormatVerity(format, devices(), {.threads = 2});
    sound_data = data.image();
    sound_hash = hash.image();
  }

  VerityDevices devices() { return {.data = &data, .hash = &hash, .fec = &fec}; }
  RepairDevices repair() {
    return {.message = *FecMessageOf(format, devices()),
            .data = &data,
            .hash = &hash,
            .fec = &fec,
            .roots = format.fec->roots};
  }
  void Damage(std::string& image, uint64_t block) {
    for (size_t i = 0; i < 512; ++i) image[block * 512 + i] ^= static_cast<char>(i | 1);
  }

  VerityFormat format;
  FakeDisk data;
  FakeDisk hash;
  FakeDisk fec;
  std::string root_hash;
  std::string sound_data;
  std::string sound_hash;
};

TEST_CASE("As many blocks of a round as there are roots come back", "[verity][fec]") {
  const int roots = GENERATE(2, 3, 8, 24);
  Fixture f(600, roots);
  const FecShape shape = *FecShapeOf(f.repair().message, roots);
  for (int i = 0; i < roots; ++i) {
    // Blocks of round 0, and as many of round 1.
    if (i * shape.rounds < 600) f.Damage(f.data.image(), i * shape.rounds);
    if (i * shape.rounds + 1 < 600) f.Damage(f.data.image(), i * shape.rounds + 1);
  }
  KEELSON_ASSIGN_OR_FAIL(const VerityRepair result, RepairVerity(f.repair(), f.root_hash, {}));
  CHECK(result.beyond_repair.empty());
  CHECK(result.repaired.size() == result.damaged_blocks);
  CHECK(result.damaged_blocks > 0);
  CHECK(f.data.image() == f.sound_data);
  CHECK(f.data.history().back().is_flush);
}

TEST_CASE("The tree is repaired from the top down, then the data under it", "[verity][fec]") {
  Fixture f(600, 4);
  // The superblock is before the tree: top block 1, level 1 from 2, leaves from 5.
  f.Damage(f.hash.image(), 1);
  f.Damage(f.hash.image(), 2);
  f.Damage(f.hash.image(), 5);
  f.Damage(f.data.image(), 7);
  KEELSON_ASSIGN_OR_FAIL(const VerityRepair result, RepairVerity(f.repair(), f.root_hash, {}));
  CHECK(result.damaged_blocks == 1);
  CHECK(result.repaired.size() == 4);
  CHECK(f.hash.image() == f.sound_hash);
  CHECK(f.data.image() == f.sound_data);
}

TEST_CASE("Damaged parity does not lead to wrong data", "[verity][fec]") {
  Fixture f(600, 4);
  f.fec.image()[0] ^= 1;  // parity of the first codeword
  f.Damage(f.data.image(), 0);
  SECTION("what is left of it suffices") {
    KEELSON_ASSIGN_OR_FAIL(const VerityRepair result, RepairVerity(f.repair(), f.root_hash, {}));
    CHECK(result.beyond_repair.empty());
    CHECK(f.data.image() == f.sound_data);
  }
  SECTION("or nothing is written") {
    for (char& byte : f.fec.image()) byte ^= '\x55';
    const std::string before = f.data.image();
    KEELSON_ASSIGN_OR_FAIL(const VerityRepair result, RepairVerity(f.repair(), f.root_hash, {}));
    CHECK(result.beyond_repair.size() == 1);
    CHECK(result.repaired.empty());
    CHECK(f.data.image() == before);
    CHECK(f.data.history().empty());
  }
}

TEST_CASE("Few wrong bytes in many blocks of a round are found one by one", "[verity][fec]") {
  Fixture f(600, 2);
  const FecShape shape = *FecShapeOf(f.repair().message, 2);
  // 20 blocks of one round, each wrong in a byte of its own: more blocks than roots.
  for (uint64_t i = 0; i < 20; ++i) f.data.image()[i * shape.rounds * 512 + i * 3] ^= 9;
  KEELSON_ASSIGN_OR_FAIL(const VerityRepair result, RepairVerity(f.repair(), f.root_hash, {}));
  CHECK(result.repaired.size() == 20);
  CHECK(f.data.image() == f.sound_data);
}

TEST_CASE("A repair can be tried without writing", "[verity][fec]") {
  Fixture f(600, 2);
  f.Damage(f.data.image(), 3);
  const std::string before = f.data.image();
  CopyOnWriteDevice data(f.data);
  CopyOnWriteDevice hash(f.hash);
  const VerityDevices devices = {.data = &data, .hash = &hash, .fec = &f.fec};
  KEELSON_ASSIGN_OR_FAIL(const VerityRepair result,
                         RepairVerity({.message = *FecMessageOf(f.format, devices),
                                       .data = &data,
                                       .hash = &hash,
                                       .fec = &f.fec},
                                      f.root_hash, {}));
  CHECK(result.repaired.size() == 1);
  CHECK(f.data.image() == before);
  std::string block(512, ' ');
  KEELSON_REQUIRE_OK(data.Read(3 * 512, {block.data(), block.size()}));
  CHECK(block == f.sound_data.substr(3 * 512, 512));
}

TEST_CASE("Areas that overlap or do not fit are refused", "[verity][format]") {
  Fixture f(600, 2);
  VerityDevices one = {.data = &f.data, .hash = &f.data};
  KEELSON_CHECK_ERROR(AreasOf(f.format, one), Code::kInvalidArgument, "the data ends");
  f.hash.Resize(10);
  KEELSON_CHECK_ERROR(FormatVerity(f.format, f.devices(), {}), Code::kOutOfRange, "hash device");
  VerityFormat other = f.format;
  other.params.hash_block_bytes = 1024;
  f.hash.Resize(1000);
  KEELSON_CHECK_ERROR(FormatVerity(other, f.devices(), {}), Code::kInvalidArgument, "one size");
  f.format.fec->roots = 25;
  KEELSON_CHECK_ERROR(FormatVerity(f.format, f.devices(), {}), Code::kInvalidArgument,
                      "FEC roots 25");
  f.format.fec->roots = 2;
  f.fec.Resize(3);
  KEELSON_CHECK_ERROR(FormatVerity(f.format, f.devices(), {}), Code::kOutOfRange, "FEC device");
}

// A superblock says that a tree is there, so it must not be durable before the tree is.
TEST_CASE("The superblock is written when the tree is durable", "[verity][format]") {
  Fixture f(600, 2);
  bool flushed_after_tree = false;
  for (const FakeDisk::Event& event : f.hash.history()) {
    if (event.is_flush) flushed_after_tree = true;
    if (!event.is_flush && event.offset != 0) flushed_after_tree = false;
    if (!event.is_flush && event.offset == 0) CHECK(flushed_after_tree);
  }
  CHECK(f.hash.image().starts_with("verity"));
}

}  // namespace
}  // namespace keelson::partition
