// Remembers, for keys changed lately, where their newest version is, so that an update need
// not seek for what it replaces and a read can ask for one exact row.
//
// Only the writer fills it, and always before it publishes the revision: whoever has read
// revision R sees every entry up to R here. An entry at or before R is therefore the newest
// version at R; one after R says nothing about R.
//
// Of fixed size: a key's place is its hash, and the last one to come stays.
#ifndef KEELSON_KVSTORE_INTERNAL_LATEST_CACHE_H_
#define KEELSON_KVSTORE_INTERNAL_LATEST_CACHE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/hash/hash.h"
#include "absl/synchronization/mutex.h"
#include "kvstore/internal/codec.h"

namespace keelson::kvstore::internal {

// Thread-safe; Set and Erase are the writer's.
class LatestCache {
 public:
  struct Entry {
    Revision modified;
    int64_t create_revision = 0;
    int64_t version = 0;
    int64_t lease = 0;
  };

  // Holds at most about `keys` keys.
  explicit LatestCache(size_t keys) {
    for (Shard& shard : shards_) {
      absl::MutexLock lock(&shard.mu);
      shard.slots.resize(keys / kShards + 1);
    }
  }

  // False when the key's newest version is not known.
  bool Find(std::string_view key, Entry* entry) const {
    const size_t hash = Hash(key);
    const Shard& shard = shards_[hash % kShards];
    absl::ReaderMutexLock lock(&shard.mu);
    const Slot& slot = shard.slots[hash / kShards % shard.slots.size()];
    if (slot.entry.modified.main == 0 || slot.key != key) return false;
    *entry = slot.entry;
    return true;
  }

  void Set(std::string_view key, const Entry& entry) {
    if (key.size() > kKeyBytesMax) return;
    const size_t hash = Hash(key);
    Shard& shard = shards_[hash % kShards];
    absl::MutexLock lock(&shard.mu);
    Slot& slot = shard.slots[hash / kShards % shard.slots.size()];
    slot.key.assign(key);
    slot.entry = entry;
  }

  void Erase(std::string_view key) {
    const size_t hash = Hash(key);
    Shard& shard = shards_[hash % kShards];
    absl::MutexLock lock(&shard.mu);
    Slot& slot = shard.slots[hash / kShards % shard.slots.size()];
    if (slot.key == key) slot.entry.modified.main = 0;
  }

 private:
  static constexpr size_t kShards = 16;
  static constexpr size_t kKeyBytesMax = 512;

  struct Slot {
    std::string key;
    Entry entry;  // modified.main 0: empty
  };
  struct Shard {
    mutable absl::Mutex mu;
    std::vector<Slot> slots ABSL_GUARDED_BY(mu);
  };

  static size_t Hash(std::string_view key) { return absl::Hash<std::string_view>()(key); }

  std::array<Shard, kShards> shards_;
};

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_LATEST_CACHE_H_
