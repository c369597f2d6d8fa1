#include "base/rpc/internal/client_stream.h"

#include "absl/strings/cord.h"

namespace keelson::rpc {
namespace {

constexpr char kNeverSent[] = "keelson.rpc/never-sent";

}  // namespace

bool WasNeverSent(const absl::Status& status) { return status.GetPayload(kNeverSent).has_value(); }

}  // namespace keelson::rpc

namespace keelson::rpc::internal {

absl::Status NeverSent(absl::Status status) {
  status.SetPayload(kNeverSent, absl::Cord());
  return status;
}

void ClientStream::PostLocked() {
  if (!std::exchange(posted_, true)) mailbox_->Post(shared_from_this());
}

void ClientStream::Begin() {
  absl::MutexLock lock(&mu_);
  PostLocked();
}

bool ClientStream::Send(std::string message) {
  absl::MutexLock lock(&mu_);
  if (ended_ || half_closed_) return true;
  unsent_bytes_ += AddMessage(std::move(message), &outgoing_.pieces);
  PostLocked();
  wants_room_ = unsent_bytes_ >= kCrowded;
  return !wants_room_;
}

void ClientStream::HalfClose() {
  absl::MutexLock lock(&mu_);
  if (ended_ || std::exchange(half_closed_, true)) return;
  outgoing_.half_closed = true;
  PostLocked();
}

void ClientStream::Cancel() {
  absl::MutexLock lock(&mu_);
  if (ended_) return;
  outgoing_.cancelled = true;
  PostLocked();
}

void ClientStream::Pause() {
  absl::MutexLock lock(&mu_);
  paused_ = true;
}

void ClientStream::Resume() {
  absl::MutexLock lock(&mu_);
  if (!std::exchange(paused_, false) || ended_) return;
  PostLocked();
}

ClientStream::Outgoing ClientStream::TakeOutgoing() {
  absl::MutexLock lock(&mu_);
  posted_ = false;
  return std::exchange(outgoing_, {});
}

bool ClientStream::Sent(size_t sent) {
  absl::MutexLock lock(&mu_);
  unsent_bytes_ -= sent;
  return unsent_bytes_ <= kRoomy && std::exchange(wants_room_, false);
}

bool ClientStream::paused() const {
  absl::MutexLock lock(&mu_);
  return paused_;
}

void ClientStream::End(const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    if (std::exchange(ended_, true)) return;
    outgoing_ = {};
  }
  connection = nullptr;
  const std::shared_ptr<ResponseHandler> last = std::move(handler);
  handler = nullptr;
  last->OnDone(status);
}

}  // namespace keelson::rpc::internal
