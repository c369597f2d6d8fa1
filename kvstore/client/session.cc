#include "kvstore/client/session.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace keelson::kvstore {

absl::StatusOr<std::unique_ptr<Session>> Session::Create(Client& client, SessionOptions options) {
  etcdserverpb::LeaseGrantRequest request;
  request.set_ttl(
      std::max<int64_t>(absl::ToInt64Seconds(absl::Ceil(options.ttl, absl::Seconds(1))), 1));
  KEELSON_ASSIGN_OR_RETURN(const etcdserverpb::LeaseGrantResponse grant,
                           client.LeaseGrant(request));
  std::unique_ptr<Session> session(new Session(client, grant.id()));
  session->on_lost_ = std::move(options.on_lost);
  session->keep_alive_ = client.KeepLeaseAlive(
      grant.id(), absl::Seconds(grant.ttl()),
      {.on_renewed = nullptr,
       .on_lost = [raw = session.get()](const absl::Status& why) { raw->OnLost(why); }});
  return session;
}

Session::~Session() {
  // The TTL does the same, later.
  (void)Close();
}

absl::Status Session::status() const {
  absl::MutexLock lock(&mu_);
  return status_;
}

void Session::OnLost(const absl::Status& why) {
  {
    absl::MutexLock lock(&mu_);
    status_ = why;
  }
  if (on_lost_) on_lost_(why);
}

absl::Status Session::Close() {
  if (keep_alive_ == nullptr) return absl::OkStatus();
  keep_alive_.reset();
  {
    absl::MutexLock lock(&mu_);
    if (status_.ok()) status_ = absl::CancelledError("the session was closed");
  }
  const absl::Status status = client_.LeaseRevoke(lease_).status();
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

}  // namespace keelson::kvstore
