#include "kvstore/internal/machine.h"

#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "kvstore/internal/batch_applier.h"
#include "kvstore/internal/snapshot_stream.h"

namespace keelson::kvstore::internal {
namespace {

constexpr absl::Duration kSpaceCheckInterval = absl::Milliseconds(250);

class Captured final : public raft::StateCapture {
 public:
  Captured(std::shared_ptr<Generation> generation, raft::SnapshotMetadata metadata)
      : generation_(std::move(generation)),
        snapshot_(generation_->engine->GetSnapshot()),
        metadata_(std::move(metadata)) {}

  const raft::SnapshotMetadata& metadata() const override { return metadata_; }
  absl::Status WriteTo(raft::SnapshotWriter& writer) override {
    return WriteSnapshot(*generation_->engine, *snapshot_, writer);
  }

 private:
  const std::shared_ptr<Generation> generation_;
  const std::unique_ptr<EngineSnapshot> snapshot_;
  const raft::SnapshotMetadata metadata_;
};

bool NoSpace(const absl::Status& status) {
  return status.code() == absl::StatusCode::kResourceExhausted;
}

}  // namespace

Machine::Machine(const Options& options, ApplyListener* listener, MachineParts parts)
    : options_(options), listener_(listener), parts_(std::move(parts)) {
  if (parts_.background_sweep) sweeper_ = std::make_unique<BackgroundSweeper>();
}

Machine::~Machine() = default;

absl::StatusOr<std::unique_ptr<Machine>> Machine::Open(const Options& options,
                                                       ApplyListener* listener,
                                                       MachineParts parts) {
  KEELSON_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, parts.home->Open());
  KEELSON_ASSIGN_OR_RETURN(std::shared_ptr<Generation> generation,
                           Generation::Load(std::move(engine), parts.cached_keys));
  std::unique_ptr<Machine> machine(new Machine(options, listener, std::move(parts)));
  machine->SeedMembers(*generation);
  machine->Adopt(std::move(generation));
  KEELSON_RETURN_IF_ERROR(machine->StartSweep());  // One that a crash cut short.
  return machine;
}

void Machine::SeedMembers(Generation& generation) {
  const MemberMap known = generation.tables.Members();
  unwritten_members_.clear();
  for (const Store::MemberAttributes& founder : options_.initial_members) {
    const auto found = known.find(founder.id);
    const bool told = found != known.end() && !found->second.peer_urls.empty();
    if (told || (found != known.end() && found->second.removed)) continue;
    Store::MemberAttributes& seed = unwritten_members_[founder.id];
    if (found != known.end()) seed = found->second;
    seed.id = founder.id;
    seed.peer_urls = founder.peer_urls;
    if (seed.name.empty()) seed.name = founder.name;
  }
  generation.tables.Publish({}, unwritten_members_);
}

void Machine::Adopt(std::shared_ptr<Generation> generation) {
  applied_ = generation->loaded.applied;
  if (applied_.index == 0) applied_.conf_state = options_.initial_conf_state;
  current_.Set(std::move(generation));
}

absl::Status Machine::Apply(std::span<const raft::Entry> entries,
                            const raft::SnapshotMetadata& after) {
  const std::shared_ptr<Generation> generation = current_.Get();
  BatchApplier batch(*generation, *listener_);
  for (const raft::Entry& entry : entries) {
    if (entry.type != raft::EntryType::kNormal || entry.data.empty()) continue;
    KEELSON_RETURN_IF_ERROR(batch.Add(entry.index, entry.term, entry.data.view()));
  }
  batch.KeepMembers(unwritten_members_);
  WriteBatch& writes = batch.Seal(after);
  KEELSON_RETURN_IF_ERROR(
      WithSpace(*generation->engine, [&] { return generation->engine->Write(writes); }));
  unwritten_members_.clear();
  batch.Publish();
  const bool membership = batch.outcome().membership || applied_.conf_state != after.conf_state;
  applied_ = after;

  BatchApplier::Outcome& outcome = batch.outcome();
  if (outcome.compacted) KEELSON_RETURN_IF_ERROR(StartSweep());
  if (outcome.physically) KEELSON_RETURN_IF_ERROR(SweepNow());
  if (!outcome.changes.empty()) listener_->OnChanges(std::move(outcome.changes));
  if (!outcome.leases.empty()) listener_->OnLeases(std::move(outcome.leases));
  if (!outcome.auth.empty()) listener_->OnAuth(std::move(outcome.auth));
  if (membership) listener_->OnMembership(applied_.conf_state);
  if (!outcome.results.empty()) listener_->OnResults(std::move(outcome.results));
  return absl::OkStatus();
}

absl::Status Machine::StartSweep() {
  if (sweeper_ == nullptr) return SweepNow();
  sweeper_->Start(current_.Get());
  return absl::OkStatus();
}

absl::Status Machine::SweepNow() {
  const std::shared_ptr<Generation> generation = current_.Get();
  Sweep sweep(generation);
  for (;;) {
    bool done = false;
    KEELSON_RETURN_IF_ERROR(WithSpace(*generation->engine, [&] {
      constexpr size_t kRows = 10'000;
      const absl::StatusOr<bool> step = sweep.Step(kRows);
      if (step.ok()) done = *step;
      return step.status();
    }));
    if (done) return absl::OkStatus();
  }
}

std::function<absl::Status()> Machine::BeginFlush() {
  // A restored snapshot makes another generation; then this is for nothing, and does no harm.
  return [this, generation = current_.Get()] {
    return WithSpace(*generation->engine, [&] { return generation->engine->Flush(); });
  };
}

absl::StatusOr<std::unique_ptr<raft::StateCapture>> Machine::Capture() {
  return std::make_unique<Captured>(current_.Get(), applied_);
}

absl::Status Machine::Restore(raft::SnapshotReader& reader,
                              const raft::SnapshotMetadata& metadata) {
  KEELSON_ASSIGN_OR_RETURN(std::unique_ptr<Engine> next, parts_.home->Create());
  Engine& engine = *next;
  const std::unique_ptr<WriteBatch> batch = engine.NewBatch();
  const auto write = [&] {
    absl::Status status = WithSpace(engine, [&] { return engine.Write(*batch); });
    batch->Clear();
    return status;
  };
  KEELSON_RETURN_IF_ERROR(ReadSnapshot(reader, *batch, write));

  KEELSON_ASSIGN_OR_RETURN(std::shared_ptr<Generation> generation,
                           Generation::Load(std::move(next), parts_.cached_keys));
  // The rows were captured by a member that had the same state; the position is the caller's.
  generation->loaded.applied = metadata;
  batch->Put(Family::kMeta, kStateRow, {EncodeStateValue(generation->loaded)});
  KEELSON_RETURN_IF_ERROR(write());
  KEELSON_RETURN_IF_ERROR(WithSpace(engine, [&] { return engine.Flush(); }));

  SeedMembers(*generation);
  const std::shared_ptr<Generation> old = current_.Get();
  KEELSON_RETURN_IF_ERROR(parts_.home->Replace(*old->engine, engine));
  Adopt(std::move(generation));
  old->v2->EndAllWatches();
  KEELSON_RETURN_IF_ERROR(StartSweep());
  listener_->OnRestored();
  listener_->OnMembership(applied_.conf_state);
  return absl::OkStatus();
}

void Machine::Crash() {
  KEELSON_CHECK(sweeper_ == nullptr) << "only the in-memory engine can crash on demand";
  absl::StatusOr<std::unique_ptr<Engine>> engine = parts_.home->Open();
  KEELSON_CHECK_OK(engine.status());
  absl::StatusOr<std::shared_ptr<Generation>> generation =
      Generation::Load(*std::move(engine), parts_.cached_keys);
  KEELSON_CHECK_OK(generation.status());
  SeedMembers(**generation);
  Adopt(*std::move(generation));
}

void Machine::Interrupt() {
  absl::MutexLock lock(&mu_);
  interrupted_ = true;
}

bool Machine::WaitForSpace() {
  if (parts_.wait_for_space) return parts_.wait_for_space(kSpaceCheckInterval);
  absl::MutexLock lock(&mu_);
  return !mu_.AwaitWithTimeout(absl::Condition(&interrupted_), kSpaceCheckInterval);
}

absl::Status Machine::WithSpace(Engine& engine, absl::FunctionRef<absl::Status()> change) {
  absl::Status status = change();
  if (!NoSpace(status)) return status;

  BeginStall(status);
  do {
    if (!WaitForSpace()) {
      return absl::UnavailableError("stopped while waiting for disk space");
    }
    status = engine.Resume();
    if (status.ok()) status = change();
  } while (NoSpace(status));
  EndStall();
  return status;
}

void Machine::BeginStall(const absl::Status& why) {
  absl::MutexLock lock(&stall_mu_);
  if (stalled_++ == 0 && options_.on_stall) options_.on_stall(why);
}

void Machine::EndStall() {
  absl::MutexLock lock(&stall_mu_);
  if (--stalled_ == 0 && options_.on_stall) options_.on_stall(absl::OkStatus());
}

}  // namespace keelson::kvstore::internal
