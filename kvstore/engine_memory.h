// An Engine in memory, for simulations and tests: ordered maps, copied when somebody
// still reads them, and a durable image as of the last Flush.
#ifndef KEELSON_KVSTORE_ENGINE_MEMORY_H_
#define KEELSON_KVSTORE_ENGINE_MEMORY_H_

#include <memory>

#include "kvstore/engine.h"

namespace keelson::kvstore {

// A home whose Open gives what the last Flush of the current engine left: dropping an engine
// and opening again is a crash.
std::unique_ptr<EngineHome> NewMemoryEngineHome();

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_ENGINE_MEMORY_H_
