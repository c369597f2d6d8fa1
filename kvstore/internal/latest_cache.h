// Remembers, for keys changed lately, where their newest version is, so that an update need
// not seek for what it replaces and a read can ask for one exact row.
//
// Only the writer fills it, and always before it publishes the revision: whoever has read
// revision R sees every entry up to R here. An entry at or before R is therefore the newest
// version at R; one after R says nothing about R.
//
// Of fixed size: a key's hash names a set of four places, and of five keys the one whose last
// change is oldest goes.
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

  // Holds `keys` keys, rounded up.
  explicit LatestCache(size_t keys) {
    for (Shard& shard : shards_) {
      absl::MutexLock lock(&shard.mu);
      shard.sets.resize(keys / (kShards * kWays) + 1);
    }
  }

  // False when the key's newest version is not known.
  bool Find(std::string_view key, Entry* entry) const {
    const size_t hash = Hash(key);
    const Shard& shard = shards_[hash % kShards];
    absl::ReaderMutexLock lock(&shard.mu);
    for (const Slot& slot : shard.sets[hash / kShards % shard.sets.size()]) {
      if (!slot.Holds(key, hash)) continue;
      *entry = slot.entry;
      return true;
    }
    return false;
  }

  void Set(std::string_view key, const Entry& entry) {
    if (key.size() > kKeyBytesMax) return;
    const size_t hash = Hash(key);
    Shard& shard = shards_[hash % kShards];
    absl::MutexLock lock(&shard.mu);
    auto& set = shard.sets[hash / kShards % shard.sets.size()];
    Slot* place = &set.front();
    for (Slot& slot : set) {
      if (slot.Holds(key, hash)) {
        slot.entry = entry;
        return;
      }
      if (slot.entry.modified < place->entry.modified) place = &slot;
    }
    place->key.assign(key);
    place->hash = hash;
    place->entry = entry;
  }

  void Erase(std::string_view key) {
    const size_t hash = Hash(key);
    Shard& shard = shards_[hash % kShards];
    absl::MutexLock lock(&shard.mu);
    for (Slot& slot : shard.sets[hash / kShards % shard.sets.size()]) {
      if (slot.Holds(key, hash)) slot.entry.modified = {};
    }
  }

 private:
  static constexpr size_t kShards = 16;
  static constexpr size_t kWays = 4;
  static constexpr size_t kKeyBytesMax = 512;

  struct Slot {
    std::string key;
    size_t hash = 0;
    Entry entry;  // modified.main 0: empty

    [[nodiscard]] bool Holds(std::string_view candidate, size_t candidate_hash) const {
      return hash == candidate_hash && entry.modified.main != 0 && key == candidate;
    }
  };
  struct Shard {
    mutable absl::Mutex mu;
    std::vector<std::array<Slot, kWays>> sets ABSL_GUARDED_BY(mu);
  };

  static size_t Hash(std::string_view key) { return absl::Hash<std::string_view>()(key); }

  std::array<Shard, kShards> shards_;
};

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_LATEST_CACHE_H_
