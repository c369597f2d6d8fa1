// One RocksDB database as an Engine.
#ifndef KEELSON_KVSTORE_INTERNAL_ROCKSDB_ENGINE_H_
#define KEELSON_KVSTORE_INTERNAL_ROCKSDB_ENGINE_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "kvstore/engine.h"
#include "kvstore/engine_rocksdb.h"

namespace keelson::kvstore::internal {

class RocksDbEngine : public Engine {
 public:
  // Opens the database in folder `path`, or makes it there with `create`. `lock` is held as
  // long as the engine lives. DATA_LOSS naming the folder when it is damaged or missing.
  static absl::StatusOr<std::unique_ptr<RocksDbEngine>> Open(const RocksDbOptions& options,
                                                             const std::string& path, bool create,
                                                             std::shared_ptr<FileLock> lock);

  // Whether the files go when the engine is destroyed.
  virtual void RemoveOnClose(bool remove) = 0;
  [[nodiscard]] virtual const std::string& path() const = 0;
};

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_ROCKSDB_ENGINE_H_
