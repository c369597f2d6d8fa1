#include "raft/sim/fault_counts.h"

namespace keelson::raft::sim {
namespace {

constexpr std::array<const char*, kFaults> kNames = {
    "drop",
    "burst loss",
    "duplicate",
    "overtaking",
    "replay",
    "corruption",
    "connection reset",
    "bandwidth",
    "clog",
    "swizzle",
    "snapshot failure",
    "split",
    "one-way split",
    "isolate one",
    "isolate leader",
    "deaf or mute",
    "bridge",
    "ring",
    "process crash",
    "power loss",
    "power cut in operation",
    "crash in recovery",
    "crash loop",
    "cluster power loss",
    "pause",
    "long pause",
    "slow cpu",
    "changed options",
    "wipe",
    "read error",
    "write error",
    "sync error",
    "directory sync error",
    "no space",
    "full disk",
    "slow disk",
    "disk stall",
    "lost write",
    "torn write",
    "lost name",
    "bit rot",
    "stale sector",
    "misdirected write",
    "zeroed sector",
    "lost file",
    "clock rate",
    "wall clock jump",
    "clock suspended",
    "campaign",
    "transfer",
    "add voter",
    "add learner",
    "promote",
    "demote",
    "remove",
    "remove leader",
    "replace all",
    "replace node",
    "joint left open",
    "conflicting change",
    "burst",
    "huge entry",
    "idle",
    "retry",
};

}  // namespace

const char* FaultName(Fault fault) {
  return fault < Fault::kCount ? kNames[static_cast<size_t>(fault)] : "unknown";
}

}  // namespace keelson::raft::sim
