// The kinds of faults and disturbances that the simulator makes, and how often each happened.
#ifndef KEELSON_RAFT_SIM_FAULT_COUNTS_H_
#define KEELSON_RAFT_SIM_FAULT_COUNTS_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace keelson::raft::sim {

enum class Fault : uint8_t {
  // Network.
  kDrop,
  kBurstLoss,
  kDuplicate,
  kOvertaking,  // a message arrives before an earlier one of its link
  kReplay,      // of a message that was sent before, perhaps by an earlier incarnation
  kCorruption,  // of a frame: its checksum tells, and the connection breaks
  kReset,       // a connection breaks and an end of what is in flight is lost
  kBandwidth,   // a message waits for the ones before it
  kClog,        // a link holds back what it carries
  kSwizzle,     // links clog one by one and open again in another order
  kSnapshotFailure,
  kSplit,          // two sides
  kOneWaySplit,    // of which one does not hear the other
  kIsolateOne,     // a node alone
  kIsolateLeader,  // the leader alone
  kDeafOrMute,     // a node that hears nothing, or is not heard
  kBridge,         // all but one node see only that one
  kRing,           // each node sees its two neighbours
  kPrivateLeader,  // a new leader reaches one node only
  // At a chosen moment of the protocol; what it is counts as well.
  kAmbush,
  // Processes.
  kProcessCrash,
  kPowerLoss,
  kPowerCutInOperation,  // in the middle of a call of the disk
  kKillInOperation,      // there only the process ends
  kCrashInRecovery,
  kCrashLoop,
  kClusterPowerLoss,
  kPause,
  kLongPause,  // of many election timeouts
  kHalt,       // a thread stands still in the middle of its task
  kSlowCpu,
  kChangedOptions,  // a restart with other limits, as in a rolling update
  kWipe,            // a restart with an empty disk
  // Disks.
  kReadError,
  kWriteError,  // with a part written
  kSyncError,
  kDirectorySyncError,
  kNoSpace,
  kFullDisk,
  kSlowDisk,
  kDiskStall,
  kLostWrite,
  kTornWrite,
  kLostName,
  kBitRot,
  kStaleSector,
  kMisdirectedWrite,
  kZeroedSector,
  kLostFile,
  // Clocks.
  kClockRate,
  kWallClockJump,
  kClockSuspended,
  // Leadership and membership.
  kCampaign,
  kTransfer,
  kAddVoter,
  kAddLearner,
  kPromote,
  kDemote,
  kRemove,
  kRemoveLeader,
  kReplaceAll,
  kRemoveAll,      // by mistake: no voter would be left
  kReplaceNode,    // a node leaves and comes back under a new id
  kJointLeftOpen,  // a joint membership that waits for someone to leave it
  kConflictingChange,
  // Groups of a host.
  kGroupAdded,
  kGroupRemoved,
  // Load.
  kBurst,
  kHugeEntry,
  kIdle,
  kRetry,
  kCount,
};
inline constexpr size_t kFaults = static_cast<size_t>(Fault::kCount);

// "burst loss" and so on.
const char* FaultName(Fault fault);

class FaultCounts {
 public:
  void Add(Fault fault, uint64_t times = 1) { counts_[static_cast<size_t>(fault)] += times; }
  [[nodiscard]] uint64_t operator[](Fault fault) const {
    return counts_[static_cast<size_t>(fault)];
  }
  void Merge(const FaultCounts& other) {
    for (size_t i = 0; i < kFaults; ++i) counts_[i] += other.counts_[i];
  }

 private:
  std::array<uint64_t, kFaults> counts_{};
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_FAULT_COUNTS_H_
