#include "kvstore/client/lock.h"

#include <utility>

#include "base/status.h"
#include "kvstore/client/internal/contest.h"
#include "kvstore/client/txn.h"

namespace keelson::kvstore {

using client_internal::DeadlineAfter;

DistributedLock::DistributedLock(Session& session, std::string name)
    : session_(session),
      name_(std::move(name)),
      key_(client_internal::ContestKey(name_, session)) {}

absl::Status DistributedLock::Enter(absl::Duration deadline) {
  KEELSON_ASSIGN_OR_RETURN(
      const etcdserverpb::TxnResponse entered,
      client_internal::TxnUntilKnown(session_.client(),
                                     TxnBuilder()
                                         .If(CreateRevisionIs(key_, 0))
                                         .Then(PutOf(key_, "", session_.lease()))
                                         .Then(client_internal::FirstOf(name_))
                                         .Else(RangeOf(key_))
                                         .Else(client_internal::FirstOf(name_))
                                         .Build(),
                                     deadline));
  revision_ = entered.succeeded() ? entered.header().revision()
                                  : entered.responses(0).response_range().kvs(0).create_revision();
  first_ = entered.responses(1).response_range().kvs(0).key() == key_;
  return absl::OkStatus();
}

absl::Status DistributedLock::Lock(absl::Duration timeout) {
  const absl::Duration deadline = DeadlineAfter(session_.client(), timeout);
  KEELSON_RETURN_IF_ERROR(Enter(deadline));
  if (first_) return absl::OkStatus();
  const absl::Status waited = client_internal::AwaitTurn(session_, name_, revision_, deadline);
  if (!waited.ok()) return GiveUp(waited);
  // The lease may have ended while we waited, and our key with it.
  const auto own = session_.client().Range(RangeOf(key_));
  if (!own.ok()) return GiveUp(own.status());
  if (own->kvs().empty() || own->kvs(0).create_revision() != revision_) {
    return GiveUp(absl::FailedPreconditionError("mutex: session is expired"));
  }
  return absl::OkStatus();
}

absl::Status DistributedLock::TryLock() {
  KEELSON_RETURN_IF_ERROR(Enter(DeadlineAfter(session_.client(), client_internal::kLeaveTimeout)));
  if (first_) return absl::OkStatus();
  return GiveUp(absl::AbortedError("mutex: Locked by another session"));
}

absl::Status DistributedLock::GiveUp(const absl::Status& why) {
  // Should that fail, the lease takes the key away.
  (void)Unlock();
  return why;
}

absl::Status DistributedLock::Unlock() {
  if (revision_ == 0) return absl::OkStatus();
  KEELSON_RETURN_IF_ERROR(
      client_internal::Leave(session_.client(), key_, revision_,
                             DeadlineAfter(session_.client(), client_internal::kLeaveTimeout))
          .status());
  revision_ = 0;
  return absl::OkStatus();
}

etcdserverpb::Compare DistributedLock::IsOwner() const { return CreateRevisionIs(key_, revision_); }

}  // namespace keelson::kvstore
