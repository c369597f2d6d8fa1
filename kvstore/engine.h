// The ordered key-value engine under the Store: a few column families of byte strings,
// changed by atomic batches. Nothing here knows revisions or leases.
//
// Durability: a Write is visible at once and durable after the next Flush. A crash keeps a
// prefix of the Writes, all of each, across all families; at least what the last Flush covered.
//
// Threading: an Engine is thread-safe. Batches, iterators and snapshots belong to one thread
// at a time; iterators and snapshots must be gone before their Engine is.
#ifndef KEELSON_KVSTORE_ENGINE_H_
#define KEELSON_KVSTORE_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keelson::kvstore {

// What a column family holds: docs/format.md.
enum class Family : uint8_t { kMeta = 0, kData = 1, kLog = 2 };
inline constexpr size_t kFamilyCount = 3;

// Changes that become visible together. Rows are bytes; order is that of memcmp.
class WriteBatch {
 public:
  virtual ~WriteBatch() = default;
  // Sets `key` to the pieces of `value` joined. Everything is copied.
  virtual void Put(Family family, std::string_view key,
                   std::initializer_list<std::string_view> value) = 0;
  virtual void Delete(Family family, std::string_view key) = 0;
  virtual void Clear() = 0;
};

// Walks one family in ascending order over the state at its making.
class EngineIterator {
 public:
  virtual ~EngineIterator() = default;
  // Goes to the first row at or after `target` that lies inside the bounds.
  virtual void Seek(std::string_view target) = 0;
  virtual void Next() = 0;  // precondition: Valid()
  // False past the end and after an error; status() tells which.
  [[nodiscard]] virtual bool Valid() const = 0;
  // Good until the iterator moves. Precondition: Valid().
  [[nodiscard]] virtual std::string_view key() const = 0;
  [[nodiscard]] virtual std::string_view value() const = 0;
  [[nodiscard]] virtual absl::Status status() const = 0;
};

class EngineSnapshot {
 public:
  virtual ~EngineSnapshot() = default;
};

class Engine {
 public:
  struct IterateOptions {
    std::string upper_bound;  // exclusive; empty: none
    // Only for kData, and only with targets that RowPrefix (internal/codec.h) accepts: rows
    // whose prefix is not the target's may be left out, which spares most disk reads.
    bool same_prefix = false;
    const EngineSnapshot* snapshot = nullptr;  // null: the state now
  };
  struct Sizes {
    int64_t disk_bytes = 0;
    int64_t in_use_bytes = 0;
    int64_t data_rows = 0;
  };

  virtual ~Engine() = default;

  [[nodiscard]] virtual std::unique_ptr<WriteBatch> NewBatch() const = 0;

  // All or nothing. `batch` is unchanged, so that a failed Write can be tried again.
  // RESOURCE_EXHAUSTED when the disk is full: free some, Resume, then try again; reads go on.
  // Any other error means that the engine cannot be written any more.
  virtual absl::Status Write(WriteBatch& batch) = 0;

  // Calls `use` with the value of `key` and returns true, or returns false if it is missing.
  virtual absl::StatusOr<bool> Get(Family family, std::string_view key,
                                   absl::FunctionRef<void(std::string_view)> use) const = 0;

  // Never null.
  [[nodiscard]] virtual std::unique_ptr<EngineIterator> NewIterator(
      Family family, const IterateOptions& options) const = 0;
  [[nodiscard]] virtual std::unique_ptr<EngineSnapshot> GetSnapshot() const = 0;

  // Makes every Write so far durable. Errors as for Write.
  virtual absl::Status Flush() = 0;

  // Leaves the state that a full disk put the engine into. OK if there is none.
  virtual absl::Status Resume() = 0;

  // Rewrites what holds rows that are gone, so that their bytes are free now and not in the course of
  // time. May take minutes and, meanwhile, space; reads and writes go on. Errors as for Write.
  virtual absl::Status GiveBackSpace() = 0;

  // Estimates, without reading rows.
  [[nodiscard]] virtual Sizes GetSizes() const = 0;
};

// Where the engine of one state machine lives, and how it is replaced as a whole.
// Not thread-safe.
class EngineHome {
 public:
  virtual ~EngineHome() = default;

  // The engine that survived, or an empty one. FAILED_PRECONDITION when it is in use or the
  // place holds something else, DATA_LOSS when it is damaged.
  virtual absl::StatusOr<std::unique_ptr<Engine>> Open() = 0;

  // An empty engine beside the current one.
  virtual absl::StatusOr<std::unique_ptr<Engine>> Create() = 0;

  // From now on Open gives `next`, which came from Create and has been flushed; durable when
  // OK is returned. The files of `old` go when it is destroyed; it can be read until then.
  virtual absl::Status Replace(Engine& old, Engine& next) = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_ENGINE_H_
