#include "raft/core.h"

#include <utility>

#include "base/status.h"
#include "raft/internal/raft.h"

namespace keelson::raft {

absl::StatusOr<std::unique_ptr<Core>> Core::Create(const Options& options, const LogStorage& log,
                                                   Random random, Observer* observer) {
  KEELSON_ASSIGN_OR_RETURN(std::unique_ptr<internal::Raft> raft,
                           internal::Raft::Create(options, log, random, observer));
  return std::unique_ptr<Core>(new Core(std::move(raft)));
}

Core::Core(std::unique_ptr<internal::Raft> raft) : raft_(std::move(raft)) {}
Core::~Core() = default;

void Core::Tick() { raft_->Tick(); }
absl::Status Core::Step(Message message) { return raft_->StepFromOutside(std::move(message)); }
absl::Status Core::Propose(std::span<const Payload> payloads) { return raft_->Propose(payloads); }
absl::Status Core::ProposeConfChange(const ConfChange& change) {
  return raft_->ProposeConfChange(change);
}
std::optional<ConfState> Core::ApplyConfChange(Index index, const ConfChange& change) {
  return raft_->ApplyConfChange(index, change);
}
absl::Status Core::ReadIndex(std::string context) { return raft_->RequestRead(std::move(context)); }
void Core::Campaign() { raft_->Campaign(); }
void Core::TransferLeadership(NodeId to) { raft_->TransferLeadership(to); }
void Core::ForgetLeader() { raft_->ForgetLeader(); }
void Core::StepDown() { raft_->StepDown(); }
void Core::ReportUnreachable(NodeId peer) { raft_->ReportUnreachable(peer); }
void Core::ReportSnapshot(NodeId peer, bool ok) { raft_->ReportSnapshot(peer, ok); }
bool Core::HasReady() const { return raft_->HasReady(); }
Ready Core::TakeReady() { return raft_->TakeReady(); }
SoftState Core::soft_state() const { return raft_->soft_state(); }
void Core::SkipTicks(uint64_t ticks) { raft_->SkipTicks(ticks); }
bool Core::asleep() const { return raft_->asleep(); }
void Core::Wake() { raft_->Wake(); }
HardState Core::hard_state() const { return raft_->hard_state(); }
Status Core::GetStatus() const { return raft_->GetStatus(); }
void Core::SetRandomizedElectionTimeout(int ticks) { raft_->SetRandomizedElectionTimeout(ticks); }

}  // namespace keelson::raft
