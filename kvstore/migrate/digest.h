// SHA-256, which ends every snapshot.
#ifndef KEELSON_KVSTORE_MIGRATE_DIGEST_H_
#define KEELSON_KVSTORE_MIGRATE_DIGEST_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace keelson::kvstore {

inline constexpr size_t kSha256Bytes = 32;

// Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void Add(std::string_view bytes);
  // The digest of all that was added. Once, last.
  std::string Take();

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

// Whether a file of this size ends in a digest: databases are made of whole sectors.
inline bool EndsInDigest(uint64_t bytes) { return bytes % 512 == kSha256Bytes; }

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_MIGRATE_DIGEST_H_
