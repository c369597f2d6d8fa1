// Arithmetic in GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11d) and alpha = x, on
// single symbols and on rows of them.
//
// Rows are worked on by the widest instructions that this processor has; every implementation
// gives the same bytes, which the test checks for all that can run.
#ifndef KEELSON_PARTITION_VERITY_INTERNAL_GF256_H_
#define KEELSON_PARTITION_VERITY_INTERNAL_GF256_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace keelson::partition {

uint8_t GfMultiply(uint8_t a, uint8_t b);
// `a` must not be 0.
uint8_t GfInverse(uint8_t a);
// alpha^n, for any n >= 0.
uint8_t GfAlphaPower(uint32_t n);

// What multiplying by one constant needs, in each implementation's form.
struct GfFactor {
  std::array<uint8_t, 16> low;   // products of 0..15
  std::array<uint8_t, 16> high;  // products of 0, 16, 32, ...
  uint64_t matrix = 0;           // as the instruction GF2P8AFFINEQB takes it
  uint8_t value = 0;
};

GfFactor MakeGfFactor(uint8_t value);

// Symbols that are worked on at a time; the length of every row is a multiple.
inline constexpr size_t kGfLanes = 64;

struct GfKernels {
  std::string_view name;  // "plain", "avx2", "gfni"

  // One step of Reed-Solomon encoders, one for each symbol of `row`: the feedback registers of
  // encoder i are registers[(i / 64) * roots * 64 + t * 64 + i % 64] for t in [0, roots), and
  // roots = factors.size(). `factors[t]` is the coefficient that is added into register t.
  void (*encode)(const uint8_t* row, size_t size, std::span<const GfFactor> factors,
                 uint8_t* registers);

  // sums[i] = sums[i] * factor + row[i]
  void (*multiply_and_add)(const uint8_t* row, size_t size, const GfFactor& factor, uint8_t* sums);
};

// All that this processor can run, the fastest first; the last is plain.
std::span<const GfKernels> GfKernelsHere();

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_INTERNAL_GF256_H_
