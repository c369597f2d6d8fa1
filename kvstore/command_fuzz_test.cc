// Any bytes may stand in a log entry, and in a snapshot: applying them never crashes and
// never fails the machine, and every member ends in the same state.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "kvstore/state_machine.h"
#include "kvstore/testing/machine_driver.h"

namespace kv = keelson::kvstore;
namespace raft = keelson::raft;

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

struct Member {
  explicit Member(bool waiting) {
    listener.waiting = waiting;
    machine = kv::StateMachine::OpenInMemory({}, &listener);
    driver.emplace(*machine, listener);
    driver
        ->Apply({kv::testing::GrantCommand(1, 60),
                 kv::testing::ToCommand(kv::testing::MakePut("a", "1", 1)),
                 kv::testing::ToCommand(kv::testing::MakePut("b", "2"))})
        .status()
        .IgnoreError();
  }

  void Apply(const std::string& bytes) {
    raft::SnapshotMetadata after = driver->last();
    raft::Entry entry;
    entry.term = 1;
    entry.index = ++after.index;
    entry.data = raft::Payload(bytes);
    Require(machine->Apply({&entry, 1}, after).ok());
    driver->set_last(after);
  }

  kv::testing::RecordingListener listener;
  std::unique_ptr<kv::StateMachine> machine;
  std::optional<kv::testing::MachineDriver> driver;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  Member one(/*waiting=*/true);
  Member two(/*waiting=*/false);
  for (Member* member : {&one, &two}) {
    member->Apply(input);
    member->Apply(input);
  }
  Require(one.driver->Dump() == two.driver->Dump());
  Require(one.driver->store().Revision() == two.driver->store().Revision());

  kv::testing::MemorySnapshotReader reader(input, {});
  (void)one.machine->Restore(reader, {});  // Refused or not, it must come back.
  return 0;
}
