#include "base/random.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

namespace keelson {
namespace {

std::vector<uint64_t> Draw(Random random, size_t count) {
  std::vector<uint64_t> values(count);
  for (uint64_t& value : values) value = random();
  return values;
}

// Computed by a separate implementation of splitmix64 and xoshiro256** in Python from the
// definitions by Blackman and Vigna. A change here breaks the replay of every stored seed.
TEST_CASE("The stream of a seed never changes", "[base][random]") {
  CHECK(Draw(Random(0), 4) == std::vector<uint64_t>{0x99ec5f36cb75f2b4, 0xbf6e1f784956452a,
                                                    0x1a5f849d4933e6e0, 0x6aa594f1262d2d2c});
  CHECK(Draw(Random(0x123456789abcdef0), 4) ==
        std::vector<uint64_t>{0xe01d6fafc557f1b9, 0xbd627ebe4406b404, 0x2c23132b578b57db,
                              0x2e8b319d4d1f276a});
}

TEST_CASE("A named stream depends on the seed and the label alone", "[base][random]") {
  Random used(7);
  for (int i = 0; i < 100; ++i) (void)used();

  CHECK(Draw(used.Stream("network"), 8) == Draw(Random(7).Stream("network"), 8));
  CHECK(Draw(Random(7).Stream("disk"), 8) != Draw(Random(7).Stream("network"), 8));
  CHECK(Draw(Random(8).Stream("disk"), 8) != Draw(Random(7).Stream("disk"), 8));
  CHECK(Draw(Random(7).Stream(""), 8) != Draw(Random(7), 8));
  CHECK(Draw(Random(7).Stream("a").Stream("b"), 8) != Draw(Random(7).Stream("b").Stream("a"), 8));
}

TEST_CASE("Named streams are not correlated", "[base][random]") {
  Random a = Random(1).Stream("a");
  Random b = Random(1).Stream("b");
  constexpr int kDraws = 20000;

  int equal_bits = 0;
  for (int i = 0; i < kDraws; ++i) equal_bits += 64 - __builtin_popcountll(a() ^ b());

  // Mean 32 a draw, standard deviation 4; the bound is five deviations of the mean.
  CHECK(std::abs(static_cast<double>(equal_bits) / kDraws - 32.0) < 5 * 4 / std::sqrt(kDraws));
}

TEST_CASE("Below stays under its bound and reaches every value evenly", "[base][random]") {
  const uint64_t bound = GENERATE(1, 2, 3, 7, 10, 100);
  Random random(bound);
  constexpr int kPerValue = 2000;

  std::vector<int> seen(bound);
  for (uint64_t i = 0; i < bound * kPerValue; ++i) {
    const uint64_t value = random.Below(bound);
    REQUIRE(value < bound);
    ++seen[value];
  }

  const auto [low, high] = std::minmax_element(seen.begin(), seen.end());
  CHECK(*low > kPerValue * 0.88);
  CHECK(*high < kPerValue * 1.12);
}

TEST_CASE("Below has no bias for bounds that do not divide the range", "[base][random]") {
  // With a plain remainder the lower half would be drawn twice as often as the upper one.
  const uint64_t bound = (uint64_t{1} << 63) + (uint64_t{1} << 62);
  Random random(3);
  constexpr int kDraws = 20000;

  int low = 0;
  for (int i = 0; i < kDraws; ++i) low += random.Below(bound) < bound / 2;

  CHECK(std::abs(low - kDraws / 2) < 400);
}

TEST_CASE("Between includes both ends, also of the whole range", "[base][random]") {
  Random random(5);
  std::set<int64_t> seen;
  for (int i = 0; i < 200; ++i) seen.insert(random.Between(-2, 2));
  CHECK(seen == std::set<int64_t>{-2, -1, 0, 1, 2});
  CHECK(random.Between(9, 9) == 9);

  bool negative = false;
  bool positive = false;
  for (int i = 0; i < 100; ++i) {
    const int64_t value =
        random.Between(std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max());
    negative = negative || value < 0;
    positive = positive || value > 0;
  }
  CHECK(negative);
  CHECK(positive);
}

TEST_CASE("Unit is uniform in [0, 1)", "[base][random]") {
  Random random(11);
  constexpr int kDraws = 100000;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double value = random.Unit();
    REQUIRE(value >= 0);
    REQUIRE(value < 1);
    sum += value;
    squares += value * value;
  }
  CHECK(sum / kDraws == Approx(0.5).margin(0.005));
  CHECK(squares / kDraws == Approx(1.0 / 3).margin(0.005));
}

TEST_CASE("Bernoulli keeps its probability and always draws once", "[base][random]") {
  const double p = GENERATE(-1.0, 0.0, 0.1, 0.5, 0.9, 1.0, 2.0);
  Random random(13);
  constexpr int kDraws = 50000;

  int hits = 0;
  for (int i = 0; i < kDraws; ++i) hits += random.Bernoulli(p);

  CHECK(static_cast<double>(hits) / kDraws == Approx(std::clamp(p, 0.0, 1.0)).margin(0.01));
  Random twin(13);
  for (int i = 0; i < kDraws; ++i) (void)twin();
  CHECK(random() == twin());
}

TEST_CASE("Exponential has its mean, its median and its limit", "[base][random]") {
  Random random(17);
  constexpr int kDraws = 100000;
  std::vector<double> values(kDraws);
  for (double& value : values) value = random.Exponential(8);

  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  CHECK(*low >= 0);
  CHECK(*high <= 15 * 8);
  CHECK(std::accumulate(values.begin(), values.end(), 0.0) / kDraws == Approx(8).margin(0.15));
  std::nth_element(values.begin(), values.begin() + kDraws / 2, values.end());
  CHECK(values[kDraws / 2] == Approx(8 * std::log(2)).margin(0.15));
  // One in e^3 is above three times the mean.
  const auto above = std::count_if(values.begin(), values.end(), [](double v) { return v > 24; });
  CHECK(static_cast<double>(above) / kDraws == Approx(std::exp(-3)).margin(0.003));
}

TEST_CASE("Two seeds from the system differ", "[base][random]") {
  CHECK(Random::SeedFromSystem() != Random::SeedFromSystem());
}

}  // namespace
}  // namespace keelson
