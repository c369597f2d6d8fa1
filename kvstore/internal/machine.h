// The StateMachine over any engine home.
#ifndef KEELSON_KVSTORE_INTERNAL_MACHINE_H_
#define KEELSON_KVSTORE_INTERNAL_MACHINE_H_

#include <functional>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "kvstore/engine.h"
#include "kvstore/internal/generation.h"
#include "kvstore/internal/store_reader.h"
#include "kvstore/internal/sweep.h"
#include "kvstore/state_machine.h"

namespace keelson::kvstore::internal {

struct MachineParts {
  std::unique_ptr<EngineHome> home;
  // Sweep on a thread beside Apply; else inside Apply, which is deterministic.
  bool background_sweep = false;
  size_t cached_keys = 256;  // whose newest version is remembered
  // Waits for disk space; false: give up. Empty: in real time, ended by Interrupt.
  std::function<bool(absl::Duration)> wait_for_space;
};

class Machine final : public StateMachine {
 public:
  // `listener` is borrowed and outlives the machine. Errors are those of the home.
  static absl::StatusOr<std::unique_ptr<Machine>> Open(const Options& options,
                                                       ApplyListener* listener, MachineParts parts);
  ~Machine() override;

  raft::SnapshotMetadata Applied() override { return applied_; }
  absl::Status Apply(std::span<const raft::Entry> entries,
                     const raft::SnapshotMetadata& after) override;
  absl::Status Flush() override { return BeginFlush()(); }
  std::function<absl::Status()> BeginFlush() override;
  absl::StatusOr<std::unique_ptr<raft::StateCapture>> Capture() override;
  absl::Status Restore(raft::SnapshotReader& reader,
                       const raft::SnapshotMetadata& metadata) override;
  void Crash() override;
  void Interrupt() override;
  Store& store() override { return reader_; }

 private:
  Machine(const Options& options, ApplyListener* listener, MachineParts parts);

  // Adds the members that the cluster began with where the database says nothing of them: it is
  // new, or of a version that read them from flags at each start. In memory: only the first Apply
  // proves that the log belongs to them.
  void SeedMembers(Generation& generation);
  // Makes `generation` the one that everything here works on.
  void Adopt(std::shared_ptr<Generation> generation);
  // Repeats `change` until it does not fail for want of space, or Interrupt.
  absl::Status WithSpace(Engine& engine, absl::FunctionRef<absl::Status()> change);
  [[nodiscard]] bool WaitForSpace();
  // One more, or one less, waits for space; the first and the last are told.
  void BeginStall(const absl::Status& why) ABSL_LOCKS_EXCLUDED(stall_mu_);
  void EndStall() ABSL_LOCKS_EXCLUDED(stall_mu_);
  // Removes what compactions left behind, now or in the background.
  absl::Status StartSweep();
  absl::Status SweepNow();

  const Options options_;
  ApplyListener* const listener_;
  const MachineParts parts_;
  raft::SnapshotMetadata applied_;
  MemberMap unwritten_members_;  // of SeedMembers
  CurrentGeneration current_;
  StoreReader reader_{current_};

  absl::Mutex mu_;
  bool interrupted_ ABSL_GUARDED_BY(mu_) = false;

  absl::Mutex stall_mu_;  // Held while on_stall runs: it hears things in their order.
  int stalled_ ABSL_GUARDED_BY(stall_mu_) = 0;

  std::unique_ptr<BackgroundSweeper> sweeper_;  // last: stops before what it works on goes
};

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_MACHINE_H_
