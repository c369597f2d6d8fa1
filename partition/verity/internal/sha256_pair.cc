#include "partition/verity/internal/sha256_pair.h"

#include <cstring>
#include <utility>

#include "base/check.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace keelson::partition {
namespace {

// FIPS 180-4, 4.2.2.
alignas(16) constexpr uint32_t kRoundConstants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// FIPS 180-4, 5.3.3.
constexpr std::array<uint32_t, 8> kInitialState = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

#ifdef __x86_64__

#define KEELSON_SHA_TARGET __attribute__((target("sha,sse4.1,avx"), always_inline))

// One message on its way: the state as the instructions want it, and 16 words of the schedule.
struct Lane {
  __m128i abef;
  __m128i cdgh;
  __m128i words[4];
};

KEELSON_SHA_TARGET inline Lane Load(const std::array<uint32_t, 8>& state) {
  const auto* from = reinterpret_cast<const __m128i*>(state.data());
  const __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128(from), 0xb1);
  const __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(from + 1), 0x1b);
  return {.abef = _mm_alignr_epi8(cdab, efgh, 8), .cdgh = _mm_blend_epi16(efgh, cdab, 0xf0)};
}

KEELSON_SHA_TARGET inline void Store(const Lane& lane, std::array<uint32_t, 8>& state) {
  const __m128i feba = _mm_shuffle_epi32(lane.abef, 0x1b);
  const __m128i dchg = _mm_shuffle_epi32(lane.cdgh, 0xb1);
  auto* to = reinterpret_cast<__m128i*>(state.data());
  _mm_storeu_si128(to, _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128(to + 1, _mm_alignr_epi8(dchg, feba, 8));
}

KEELSON_SHA_TARGET inline void LoadWords(Lane& lane, const char* chunk) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  for (int i = 0; i < 4; ++i) {
    lane.words[i] =
        _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(chunk) + i), big_endian);
  }
}

// Rounds 4 * group to 4 * group + 3, and the words of four groups later.
KEELSON_SHA_TARGET inline void FourRounds(Lane& lane, size_t group) {
  __m128i(&w)[4] = lane.words;
  const auto* constants = reinterpret_cast<const __m128i*>(kRoundConstants);
  __m128i sum = _mm_add_epi32(w[group % 4], _mm_load_si128(constants + group));
  lane.cdgh = _mm_sha256rnds2_epu32(lane.cdgh, lane.abef, sum);
  sum = _mm_shuffle_epi32(sum, 0x0e);
  lane.abef = _mm_sha256rnds2_epu32(lane.abef, lane.cdgh, sum);
  if (group >= 12) return;
  const __m128i last = w[(group + 3) % 4];
  const __m128i sevens = _mm_alignr_epi8(last, w[(group + 2) % 4], 4);
  const __m128i partial =
      _mm_add_epi32(_mm_sha256msg1_epu32(w[group % 4], w[(group + 1) % 4]), sevens);
  w[group % 4] = _mm_sha256msg2_epu32(partial, last);
}

template <size_t... kGroups>
KEELSON_SHA_TARGET inline void AllRounds(Lane& a, Lane& b, std::index_sequence<kGroups...>) {
  (..., (FourRounds(a, kGroups), FourRounds(b, kGroups)));
}

__attribute__((target("sha,sse4.1,avx"))) void TakeChunks(std::array<uint32_t, 8>& state_a,
                                                          std::array<uint32_t, 8>& state_b,
                                                          const char* a, const char* b,
                                                          size_t chunks) {
  Lane lane_a = Load(state_a);
  Lane lane_b = Load(state_b);
  for (; chunks > 0; --chunks, a += kSha256ChunkBytes, b += kSha256ChunkBytes) {
    const Lane before_a = lane_a;
    const Lane before_b = lane_b;
    LoadWords(lane_a, a);
    LoadWords(lane_b, b);
    AllRounds(lane_a, lane_b, std::make_index_sequence<16>());
    lane_a.abef = _mm_add_epi32(lane_a.abef, before_a.abef);
    lane_a.cdgh = _mm_add_epi32(lane_a.cdgh, before_a.cdgh);
    lane_b.abef = _mm_add_epi32(lane_b.abef, before_b.abef);
    lane_b.cdgh = _mm_add_epi32(lane_b.cdgh, before_b.cdgh);
  }
  Store(lane_a, state_a);
  Store(lane_b, state_b);
}

bool FindSha256Pair() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  // GCC 12 has no name for SHA-NI: CPUID leaf 7, EBX bit 29. The system must keep AVX registers.
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> 29 & 1) != 0 &&
         __builtin_cpu_supports("sse4.1") != 0 && __builtin_cpu_supports("avx") != 0;
}

#else

void TakeChunks(std::array<uint32_t, 8>& /*state_a*/, std::array<uint32_t, 8>& /*state_b*/,
                const char* /*a*/, const char* /*b*/, size_t /*chunks*/) {
  KEELSON_CHECK(false) << "this processor has no SHA instructions";
}

bool FindSha256Pair() { return false; }

#endif

void PutBigEndian(const std::array<uint32_t, 8>& state, char* digest) {
  for (size_t i = 0; i < kSha256DigestBytes; ++i) {
    digest[i] = static_cast<char>(state[i / 4] >> (24 - 8 * (i % 4)));
  }
}

}  // namespace

bool HasSha256Pair() {
  static const bool kHas = FindSha256Pair();
  return kHas;
}

Sha256Pair::Sha256Pair(std::string_view prefix, size_t message_bytes, std::string_view suffix)
    : message_bytes_(message_bytes), start_(kInitialState) {
  KEELSON_CHECK(HasSha256Pair()) << "no SHA instructions";
  KEELSON_CHECK(message_bytes >= kSha256ChunkBytes) << message_bytes;
  KEELSON_CHECK(prefix.size() <= 256 && suffix.size() <= 256) << prefix.size() + suffix.size();
  const size_t whole = prefix.size() / kSha256ChunkBytes;
  State twin = start_;
  TakeChunks(start_, twin, prefix.data(), prefix.data(), whole);
  const std::string_view rest = prefix.substr(whole * kSha256ChunkBytes);
  head_ = rest.size();
  from_head_ = head_ == 0 ? 0 : kSha256ChunkBytes - head_;
  direct_ = (message_bytes - from_head_) / kSha256ChunkBytes * kSha256ChunkBytes;
  const size_t left = message_bytes - from_head_ - direct_;
  // A bit 1, zeros, and the length in bits: 9 bytes at least.
  const size_t content = left + suffix.size();
  end_bytes_ = (content + 9 + kSha256ChunkBytes - 1) / kSha256ChunkBytes * kSha256ChunkBytes;
  const uint64_t bits = 8 * uint64_t{prefix.size() + message_bytes + suffix.size()};
  for (int i = 0; i < 2; ++i) {
    rest.copy(first_[i].data(), rest.size());
    suffix.copy(ends_[i].data() + left, suffix.size());
    ends_[i][content] = static_cast<char>(0x80);
    for (int byte = 0; byte < 8; ++byte) {
      ends_[i][end_bytes_ - 1 - byte] = static_cast<char>(bits >> (8 * byte));
    }
  }
}

void Sha256Pair::Hash(const char* a, const char* b, char* digest_a, char* digest_b) {
  State state_a = start_;
  State state_b = start_;
  if (head_ != 0) {
    std::memcpy(first_[0].data() + head_, a, from_head_);
    std::memcpy(first_[1].data() + head_, b, from_head_);
    TakeChunks(state_a, state_b, first_[0].data(), first_[1].data(), 1);
  }
  TakeChunks(state_a, state_b, a + from_head_, b + from_head_, direct_ / kSha256ChunkBytes);
  const size_t left = from_head_ + direct_;
  std::memcpy(ends_[0].data(), a + left, message_bytes_ - left);
  std::memcpy(ends_[1].data(), b + left, message_bytes_ - left);
  TakeChunks(state_a, state_b, ends_[0].data(), ends_[1].data(), end_bytes_ / kSha256ChunkBytes);
  PutBigEndian(state_a, digest_a);
  PutBigEndian(state_b, digest_b);
}

}  // namespace keelson::partition
