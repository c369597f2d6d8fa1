#include "base/rpc/internal/stream.h"

namespace keelson::rpc::internal {

std::string_view Stream::Metadata(std::string_view name) const {
  for (const auto& [key, value] : metadata) {
    if (key == name) return value;
  }
  return "";
}

void Stream::PostLocked() {
  if (!std::exchange(posted_, true)) mailbox_->Post(shared_from_this());
}

void Stream::AddLocked(std::string message) {
  unsent_bytes_ += AddMessage(std::move(message), &outgoing_.pieces);
}

void Stream::Accept(rpc::Metadata fields) {
  absl::MutexLock lock(&mu_);
  if (closed_ || ended_.has_value()) return;
  outgoing_.header = std::move(fields);
  PostLocked();
}

bool Stream::Send(std::string message) {
  absl::MutexLock lock(&mu_);
  if (closed_ || ended_.has_value()) return true;
  AddLocked(std::move(message));
  PostLocked();
  wants_room_ = unsent_bytes_ >= kCrowded;
  return !wants_room_;
}

void Stream::Finish(const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  if (closed_ || ended_.has_value()) return;
  ended_ = status.code();
  outgoing_.end = status;
  PostLocked();
}

void Stream::Answer(std::string message) {
  absl::MutexLock lock(&mu_);
  if (closed_ || ended_.has_value()) return;
  AddLocked(std::move(message));
  ended_ = absl::StatusCode::kOk;
  outgoing_.end = absl::OkStatus();
  PostLocked();
}

void Stream::Pause() {
  absl::MutexLock lock(&mu_);
  paused_ = true;
}

void Stream::Resume() {
  absl::MutexLock lock(&mu_);
  if (!std::exchange(paused_, false) || closed_) return;
  PostLocked();
}

Stream::Outgoing Stream::TakeOutgoing() {
  absl::MutexLock lock(&mu_);
  posted_ = false;
  return std::exchange(outgoing_, {});
}

bool Stream::Sent(size_t sent) {
  absl::MutexLock lock(&mu_);
  unsent_bytes_ -= sent;
  return unsent_bytes_ <= kRoomy && std::exchange(wants_room_, false);
}

bool Stream::paused() const {
  absl::MutexLock lock(&mu_);
  return paused_;
}

absl::Status Stream::Close() {
  absl::MutexLock lock(&mu_);
  closed_ = true;
  if (ended_.has_value()) return absl::Status(*ended_, "");
  return absl::CancelledError("the client has gone");
}

}  // namespace keelson::rpc::internal
