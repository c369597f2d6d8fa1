#include "partition/verity/internal/gf256.h"

#include <vector>

#include "base/check.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace keelson::partition {
namespace {

constexpr uint32_t kPolynomial = 0x11d;
constexpr uint32_t kOrder = 255;  // of alpha

struct Tables {
  // Twice over, so that the sum of two logarithms needs no reduction.
  std::array<uint8_t, 2 * kOrder> power{};
  std::array<uint8_t, 256> log{};
};

constexpr Tables MakeTables() {
  Tables tables;
  uint32_t value = 1;
  for (uint32_t n = 0; n < kOrder; ++n) {
    tables.power[n] = tables.power[n + kOrder] = static_cast<uint8_t>(value);
    tables.log[value] = static_cast<uint8_t>(n);
    value <<= 1;
    if (value > 255) value ^= kPolynomial;
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

uint8_t Times(const GfFactor& factor, uint8_t a) {
  return factor.low[a & 15] ^ factor.high[a >> 4];
}

void EncodePlain(const uint8_t* row, size_t size, std::span<const GfFactor> factors,
                 uint8_t* registers) {
  const size_t roots = factors.size();
  for (size_t at = 0; at < size; at += kGfLanes, registers += roots * kGfLanes) {
    for (size_t lane = 0; lane < kGfLanes; ++lane) {
      uint8_t* mine = registers + lane;
      const uint8_t feedback = row[at + lane] ^ mine[0];
      for (size_t t = 0; t + 1 < roots; ++t) {
        mine[t * kGfLanes] = mine[(t + 1) * kGfLanes] ^ Times(factors[t], feedback);
      }
      mine[(roots - 1) * kGfLanes] = Times(factors[roots - 1], feedback);
    }
  }
}

void MultiplyAndAddPlain(const uint8_t* row, size_t size, const GfFactor& factor, uint8_t* sums) {
  for (size_t i = 0; i < size; ++i) sums[i] = Times(factor, sums[i]) ^ row[i];
}

#ifdef __x86_64__

// The intrinsics take pointers to vectors where bytes need no alignment.
__attribute__((target("avx2"))) inline __m256i Load256(const uint8_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}
__attribute__((target("avx2"))) inline void Store256(uint8_t* to, __m256i value) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), value);
}
__attribute__((target("avx2"))) inline __m256i Table256(const std::array<uint8_t, 16>& table) {
  return _mm256_broadcastsi128_si256(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(table.data())));
}

// The two halves of each byte, which index tables of 16 products.
struct Nibbles {
  __m256i low;
  __m256i high;
};
__attribute__((target("avx2"))) inline Nibbles Split256(__m256i value) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(value, mask), _mm256_and_si256(_mm256_srli_epi64(value, 4), mask)};
}
__attribute__((target("avx2"))) inline __m256i Times256(const GfFactor& factor,
                                                        const Nibbles& nibbles) {
  return _mm256_xor_si256(_mm256_shuffle_epi8(Table256(factor.low), nibbles.low),
                          _mm256_shuffle_epi8(Table256(factor.high), nibbles.high));
}

__attribute__((target("avx2"))) void EncodeAvx2(const uint8_t* row, size_t size,
                                                std::span<const GfFactor> factors,
                                                uint8_t* registers) {
  const size_t last = factors.size() - 1;
  for (size_t at = 0; at < size; at += kGfLanes, registers += (last + 1) * kGfLanes) {
    for (size_t half = 0; half < kGfLanes; half += 32) {
      uint8_t* mine = registers + half;
      const Nibbles feedback = Split256(_mm256_xor_si256(Load256(row + at + half), Load256(mine)));
      for (size_t t = 0; t < last; ++t) {
        Store256(mine + t * kGfLanes, _mm256_xor_si256(Load256(mine + (t + 1) * kGfLanes),
                                                       Times256(factors[t], feedback)));
      }
      Store256(mine + last * kGfLanes, Times256(factors[last], feedback));
    }
  }
}

__attribute__((target("avx2"))) void MultiplyAndAddAvx2(const uint8_t* row, size_t size,
                                                        const GfFactor& factor, uint8_t* sums) {
  for (size_t i = 0; i < size; i += 32) {
    const __m256i product = Times256(factor, Split256(Load256(sums + i)));
    Store256(sums + i, _mm256_xor_si256(product, Load256(row + i)));
  }
}

__attribute__((target("avx512f,avx512bw,gfni"))) void EncodeGfni(const uint8_t* row, size_t size,
                                                                 std::span<const GfFactor> factors,
                                                                 uint8_t* registers) {
  const size_t last = factors.size() - 1;
  for (size_t at = 0; at < size; at += kGfLanes, registers += (last + 1) * kGfLanes) {
    const __m512i feedback =
        _mm512_xor_si512(_mm512_loadu_si512(row + at), _mm512_loadu_si512(registers));
    for (size_t t = 0; t <= last; ++t) {
      __m512i next = _mm512_gf2p8affine_epi64_epi8(
          feedback, _mm512_set1_epi64(static_cast<int64_t>(factors[t].matrix)), 0);
      if (t != last) {
        next = _mm512_xor_si512(next, _mm512_loadu_si512(registers + (t + 1) * kGfLanes));
      }
      _mm512_storeu_si512(registers + t * kGfLanes, next);
    }
  }
}

__attribute__((target("avx512f,avx512bw,gfni"))) void MultiplyAndAddGfni(const uint8_t* row,
                                                                         size_t size,
                                                                         const GfFactor& factor,
                                                                         uint8_t* sums) {
  const __m512i matrix = _mm512_set1_epi64(static_cast<int64_t>(factor.matrix));
  for (size_t i = 0; i < size; i += kGfLanes) {
    const __m512i product = _mm512_gf2p8affine_epi64_epi8(_mm512_loadu_si512(sums + i), matrix, 0);
    _mm512_storeu_si512(sums + i, _mm512_xor_si512(product, _mm512_loadu_si512(row + i)));
  }
}

#endif

std::vector<GfKernels> FindKernels() {
  std::vector<GfKernels> kernels;
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("gfni")) {
    kernels.push_back({"gfni", EncodeGfni, MultiplyAndAddGfni});
  }
  if (__builtin_cpu_supports("avx2")) kernels.push_back({"avx2", EncodeAvx2, MultiplyAndAddAvx2});
#endif
  kernels.push_back({"plain", EncodePlain, MultiplyAndAddPlain});
  return kernels;
}

}  // namespace

uint8_t GfMultiply(uint8_t a, uint8_t b) {
  if (a == 0 || b == 0) return 0;
  return kTables.power[kTables.log[a] + kTables.log[b]];
}

uint8_t GfInverse(uint8_t a) {
  KEELSON_CHECK(a != 0) << "zero has no inverse";
  return kTables.power[kOrder - kTables.log[a]];
}

uint8_t GfAlphaPower(uint32_t n) { return kTables.power[n % kOrder]; }

GfFactor MakeGfFactor(uint8_t value) {
  GfFactor factor = {.value = value};
  for (uint8_t i = 0; i < 16; ++i) {
    factor.low[i] = GfMultiply(value, i);
    factor.high[i] = GfMultiply(value, static_cast<uint8_t>(i << 4));
  }
  // Row r of the matrix, which makes bit r of the product, is byte 7 - r; its bit c says whether
  // bit c of the other factor counts.
  for (int column = 0; column < 8; ++column) {
    const uint8_t product = GfMultiply(value, static_cast<uint8_t>(1 << column));
    for (int bit = 0; bit < 8; ++bit) {
      if ((product >> bit & 1) != 0) factor.matrix |= uint64_t{1} << (8 * (7 - bit) + column);
    }
  }
  return factor;
}

std::span<const GfKernels> GfKernelsHere() {
  static const std::vector<GfKernels>* const kKernels = new std::vector<GfKernels>(FindKernels());
  return *kKernels;
}

}  // namespace keelson::partition
