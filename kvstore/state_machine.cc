#include "kvstore/state_machine.h"

#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "kvstore/engine_memory.h"
#include "kvstore/engine_rocksdb.h"
#include "kvstore/internal/machine.h"

namespace keelson::kvstore {

absl::StatusOr<std::unique_ptr<StateMachine>> StateMachine::Open(const Options& options,
                                                                 ApplyListener* listener) {
  RocksDbOptions rocksdb;
  rocksdb.directory = options.directory;
  rocksdb.cache_bytes = options.cache_bytes;
  rocksdb.write_buffer_bytes = options.write_buffer_bytes;
  KEELSON_ASSIGN_OR_RETURN(std::unique_ptr<EngineHome> home, OpenRocksDbHome(rocksdb));
  internal::MachineParts parts;
  parts.home = std::move(home);
  parts.background_sweep = true;
  // Some 150 bytes each: an eighth of what the block cache may take.
  parts.cached_keys = options.cache_bytes / 8 / 150;
  return internal::Machine::Open(options, listener, std::move(parts));
}

std::unique_ptr<StateMachine> StateMachine::OpenInMemory(const Options& options,
                                                         ApplyListener* listener) {
  internal::MachineParts parts;
  parts.home = NewMemoryEngineHome();
  absl::StatusOr<std::unique_ptr<internal::Machine>> machine =
      internal::Machine::Open(options, listener, std::move(parts));
  KEELSON_CHECK_OK(machine.status());
  return *std::move(machine);
}

}  // namespace keelson::kvstore
