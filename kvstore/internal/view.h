// The key space at a revision: what the engine holds, under what the batch being applied
// has changed and not yet written.
#ifndef KEELSON_KVSTORE_INTERNAL_VIEW_H_
#define KEELSON_KVSTORE_INTERNAL_VIEW_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/btree_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/api/kv.pb.h"
#include "kvstore/engine.h"
#include "kvstore/internal/codec.h"
#include "kvstore/internal/latest_cache.h"

namespace keelson::kvstore::internal {

// One live pair. The views are good until the View that gave it is used again.
struct Pair {
  std::string_view key;
  Revision modified;
  int64_t create_revision = 0;
  int64_t version = 0;
  int64_t lease = 0;
  std::string_view value;
};

// Copies `pair` into `out`, an empty message.
void ToKeyValue(const Pair& pair, bool with_value, mvccpb::KeyValue* out);

// Appends `pair` to `out` as a `kvs` field of a RangeResponse on the wire.
void AppendPairField(const Pair& pair, bool with_value, std::string* out);

// Changes that are not in the engine yet, by key, oldest first. Borrows what it is given.
class Overlay {
 public:
  struct Version {
    Revision revision;
    const mvccpb::KeyValue* pair = nullptr;
    bool deleted = false;
  };
  using Versions = absl::InlinedVector<Version, 1>;
  using Map = absl::btree_map<std::string_view, Versions>;

  // `pair` stays in place until the overlay is gone; its key is the key.
  void Add(Revision revision, const mvccpb::KeyValue& pair, bool deleted) {
    versions_[pair.key()].push_back({revision, &pair, deleted});
  }
  // The newest of `versions` at or before main revision `at`, or null.
  static const Version* At(const Versions& versions, int64_t at);

  [[nodiscard]] const Map& map() const { return versions_; }

 private:
  Map versions_;
};

// Bounds as requests spell them (KeyRange of store.h, without owning the bytes).
struct Bounds {
  std::string_view key;
  std::string_view range_end;

  [[nodiscard]] bool OneKey() const { return range_end.empty(); }
  [[nodiscard]] bool Open() const { return range_end == std::string_view("\0", 1); }
  [[nodiscard]] bool Contains(std::string_view candidate) const;
};

enum class Need {
  kMetadata,  // the value of the pair may be left empty
  kPair,
};

// Not thread-safe. Errors are the engine's, or DATA_LOSS for a row that cannot be read.
class View {
 public:
  // All are borrowed; `overlay` may be null.
  View(const Engine& engine, const LatestCache& latest, const Overlay* overlay = nullptr)
      : engine_(engine), latest_(latest), overlay_(overlay) {}

  // Finds the live pair of `key` as of main revision `at`; false if there is none.
  absl::StatusOr<bool> Find(std::string_view key, int64_t at, Need need, Pair* pair);

  // Visits live pairs as of `at` by ascending key, until `visit` returns false.
  // `visit` must not use this View.
  absl::Status Scan(const Bounds& bounds, int64_t at, Need need,
                    absl::FunctionRef<bool(const Pair&)> visit);

 private:
  // Finds the newest version by the cache; false when that does not help.
  absl::StatusOr<bool> FindLatest(std::string_view key, int64_t at, Need need, Pair* pair);
  absl::StatusOr<bool> Seek(std::string_view key, int64_t at, Pair* pair);
  absl::Status ScanUnderOverlay(const Bounds& bounds, int64_t at,
                                absl::FunctionRef<bool(const Pair&)> visit);

  const Engine& engine_;
  const LatestCache& latest_;
  const Overlay* const overlay_;
  // Kept from one Find to the next: the engine does not change under a View in use.
  std::unique_ptr<EngineIterator> point_;
  std::string row_;
  std::string value_;
};

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_VIEW_H_
