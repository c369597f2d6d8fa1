// What a network and a disk count by themselves, as faults of a run.
#ifndef KEELSON_RAFT_SIM_COUNTED_FAULTS_H_
#define KEELSON_RAFT_SIM_COUNTED_FAULTS_H_

#include "base/testing/sim_file_system.h"
#include "raft/sim/fault_counts.h"
#include "raft/sim/sim_network.h"

namespace keelson::raft::sim {

inline void AddNetworkFaults(const SimNetwork::Counters& network, FaultCounts& faults) {
  faults.Add(Fault::kDrop, network.dropped);
  faults.Add(Fault::kBurstLoss, network.burst_lost);
  faults.Add(Fault::kDuplicate, network.duplicated);
  faults.Add(Fault::kOvertaking, network.overtakings);
  faults.Add(Fault::kReplay, network.replayed);
  faults.Add(Fault::kCorruption, network.corrupted);
  faults.Add(Fault::kReset, network.resets);
  faults.Add(Fault::kBandwidth, network.queued);
  faults.Add(Fault::kSnapshotFailure, network.snapshots_failed);
}

inline void AddDiskFaults(const SimFileSystem::Counters& disk, FaultCounts& faults) {
  const auto errors = [&disk](SimOperation operation) {
    return disk.injected_errors[static_cast<size_t>(operation)];
  };
  faults.Add(Fault::kReadError, errors(SimOperation::kRead));
  faults.Add(Fault::kWriteError, errors(SimOperation::kWrite));
  faults.Add(Fault::kSyncError, errors(SimOperation::kSync));
  faults.Add(Fault::kDirectorySyncError, errors(SimOperation::kSyncDirectory));
  faults.Add(Fault::kNoSpace, disk.no_space);
  faults.Add(Fault::kSlowDisk, disk.slow_operations);
  faults.Add(Fault::kLostWrite, disk.writes_lost);
  faults.Add(Fault::kTornWrite, disk.writes_torn);
  faults.Add(Fault::kLostName, disk.names_lost);
  faults.Add(Fault::kBitRot, disk.bits_flipped);
}

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_COUNTED_FAULTS_H_
