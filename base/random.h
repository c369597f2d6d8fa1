// Deterministic random numbers: the same seed gives the same stream on every
// compiler and machine, which the standard library's distributions do not promise.
//
//   Random root(seed);
//   Random network = root.Stream("network");  // independent of the other streams
//   if (network.Bernoulli(0.05)) Drop(message);
//
// Not for secrets. Threading: a Random is a value; give each thread its own.
#ifndef KEELSON_BASE_RANDOM_H_
#define KEELSON_BASE_RANDOM_H_

#include <array>
#include <cstdint>
#include <limits>
#include <string_view>

namespace keelson {

// xoshiro256** (Blackman and Vigna, 2018), state filled from the seed by splitmix64.
// Meets UniformRandomBitGenerator, so std::shuffle and absl accept it.
class Random {
 public:
  using result_type = uint64_t;

  explicit Random(uint64_t seed);

  // A seed that differs in every process, from the kernel. For production use.
  static uint64_t SeedFromSystem();

  // A generator for the concern `label`. It depends on this one's seed and the label
  // alone, so draws made in one stream never shift another.
  [[nodiscard]] Random Stream(std::string_view label) const;

  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return std::numeric_limits<uint64_t>::max(); }
  uint64_t operator()();

  // Uniform in [0, bound). `bound` must not be 0. Unbiased.
  uint64_t Below(uint64_t bound);
  // Uniform in [first, last], both ends included; first <= last.
  int64_t Between(int64_t first, int64_t last);
  // Uniform in [0, 1) with 53 bits.
  double Unit();
  // True with probability `p`; p <= 0 never, p >= 1 always. Always draws once.
  bool Bernoulli(double p);
  // Exponentially distributed with the given mean, to within one percent, by integers, so that
  // it is the same everywhere. At most 15 times the mean.
  double Exponential(double mean);

 private:
  uint64_t seed_;
  std::array<uint64_t, 4> state_;
};

}  // namespace keelson

#endif  // KEELSON_BASE_RANDOM_H_
