#include "kvstore/state_machine.h"

#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "kvstore/engine_memory.h"
#include "kvstore/internal/machine.h"

namespace keelson::kvstore {

std::unique_ptr<StateMachine> StateMachine::OpenInMemory(const Options& options,
                                                         ApplyListener* listener) {
  absl::StatusOr<std::unique_ptr<internal::Machine>> machine = internal::Machine::Open(
      options, listener, {.home = NewMemoryEngineHome(), .wait_for_space = {}});
  KEELSON_CHECK_OK(machine.status());
  return *std::move(machine);
}

}  // namespace keelson::kvstore
