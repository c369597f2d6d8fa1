#include "base/random.h"

#include <sys/random.h>

#include <bit>

#include "base/check.h"

namespace keelson {
namespace {

uint64_t SplitMix64(uint64_t& state) {
  state += 0x9e3779b97f4a7c15u;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace

Random::Random(uint64_t seed) : seed_(seed) {
  uint64_t mixer = seed;
  for (uint64_t& word : state_) word = SplitMix64(mixer);
}

uint64_t Random::SeedFromSystem() {
  uint64_t seed = 0;
  const ssize_t got = ::getrandom(&seed, sizeof seed, 0);
  KEELSON_CHECK(got == sizeof seed) << "getrandom returned " << got;
  return seed;
}

Random Random::Stream(std::string_view label) const {
  // FNV-1a over the label, mixed with the seed.
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : label) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3u;
  }
  uint64_t mixer = seed_ ^ std::rotl(hash, 32);
  return Random(SplitMix64(mixer) ^ hash);
}

uint64_t Random::operator()() {
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

uint64_t Random::Below(uint64_t bound) {
  KEELSON_CHECK(bound != 0);
  // Rejects the values that would make the remainder uneven.
  const uint64_t threshold = (0 - bound) % bound;
  while (true) {
    const uint64_t draw = (*this)();
    if (draw >= threshold) return draw % bound;
  }
}

int64_t Random::Between(int64_t first, int64_t last) {
  KEELSON_CHECK(first <= last) << first << " > " << last;
  const uint64_t span = static_cast<uint64_t>(last) - static_cast<uint64_t>(first);
  const uint64_t draw = span == max() ? (*this)() : Below(span + 1);
  return static_cast<int64_t>(static_cast<uint64_t>(first) + draw);
}

double Random::Unit() { return static_cast<double>((*this)() >> 11) * 0x1.0p-53; }

bool Random::Bernoulli(double p) { return Unit() < p; }

double Random::Exponential(double mean) {
  // -ln(u) of a u that is drawn as its leading zeros and what follows its first one, in units of
  // 2^-30: -log2(u) = zeros + 1 - log2(1 + rest), and the last of these is nearly a parabola.
  constexpr uint64_t kOne = uint64_t{1} << 30;
  constexpr uint64_t kLinear = 1443324080, kSquare = 369582256;  // 1.3442 and 0.3442
  constexpr uint64_t kLn2 = 744261118;
  const uint64_t draw = (*this)() | uint64_t{1} << 43;  // At most 20 zeros.
  const auto zeros = static_cast<uint64_t>(std::countl_zero(draw));
  const uint64_t rest = (draw << zeros << 1) >> 34;
  const uint64_t log2 = rest * (kLinear - (kSquare * rest >> 30)) >> 30;
  const uint64_t x = ((zeros + 1) * kOne - log2) * kLn2 >> 30;
  return static_cast<double>(x) * 0x1.0p-30 * mean;
}

}  // namespace keelson
