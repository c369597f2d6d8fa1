// SHA-256 (FIPS 180-4) of two messages of one length at once.
//
// One message leaves a core's SHA unit idle half of the time: each round waits for the one before.
// The blocks of dm-verity are messages of one length that do not depend on each other, so two of
// them go side by side. Where the processor cannot do it, OpenSSL hashes one after the other.
#ifndef KEELSON_PARTITION_VERITY_INTERNAL_SHA256_PAIR_H_
#define KEELSON_PARTITION_VERITY_INTERNAL_SHA256_PAIR_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace keelson::partition {

inline constexpr size_t kSha256ChunkBytes = 64;
inline constexpr size_t kSha256DigestBytes = 32;

// Whether this processor has the SHA instructions (x86-64: SHA-NI).
bool HasSha256Pair();

// Hashes prefix + message + suffix for pairs of messages that share prefix, suffix and length.
// Only where HasSha256Pair(). Not thread-safe.
class Sha256Pair {
 public:
  // `message_bytes`: of each message, 64 or more. Prefix and suffix have at most 256 bytes.
  Sha256Pair(std::string_view prefix, size_t message_bytes, std::string_view suffix);

  // Writes kSha256DigestBytes to each of `digest_a` and `digest_b`. The messages may be one.
  void Hash(const char* a, const char* b, char* digest_a, char* digest_b);

 private:
  using State = std::array<uint32_t, 8>;

  size_t message_bytes_;
  State start_;       // with the whole chunks of the prefix in it
  size_t head_;       // bytes of the prefix that are left, at the start of `first_`
  size_t from_head_;  // bytes of the message that fill up the chunk of those
  size_t direct_;     // bytes of the message behind that, in whole chunks
  size_t end_bytes_;  // of `ends_` from there on: the rest of the message, suffix and padding
  std::array<std::array<char, kSha256ChunkBytes>, 2> first_{};
  std::array<std::array<char, 6 * kSha256ChunkBytes>, 2> ends_{};
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_INTERNAL_SHA256_PAIR_H_
