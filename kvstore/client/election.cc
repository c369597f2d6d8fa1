#include "kvstore/client/election.h"

#include <optional>
#include <utility>

#include "base/status.h"
#include "kvstore/client/internal/contest.h"
#include "kvstore/client/txn.h"

namespace keelson::kvstore {
namespace {

using client_internal::DeadlineAfter;
using client_internal::kLeaveTimeout;

absl::Status NotLeader() { return absl::FailedPreconditionError("election: not leader"); }

}  // namespace

Election::Election(Session& session, std::string name)
    : session_(session),
      name_(std::move(name)),
      key_(client_internal::ContestKey(name_, session)) {}

absl::Status Election::Campaign(std::string_view value, absl::Duration timeout) {
  Client& client = session_.client();
  const absl::Duration deadline = DeadlineAfter(client, timeout);
  KEELSON_ASSIGN_OR_RETURN(
      const etcdserverpb::TxnResponse entered,
      client_internal::TxnUntilKnown(client,
                                     TxnBuilder()
                                         .If(CreateRevisionIs(key_, 0))
                                         .Then(PutOf(key_, value, session_.lease()))
                                         .Else(RangeOf(key_))
                                         .Build(),
                                     deadline));
  if (entered.succeeded()) {
    revision_ = entered.header().revision();
  } else {
    const mvccpb::KeyValue& own = entered.responses(0).response_range().kvs(0);
    revision_ = own.create_revision();
    if (own.value() != value) KEELSON_RETURN_IF_ERROR(Proclaim(value));
  }
  absl::Status status = client_internal::AwaitTurn(session_, name_, revision_, deadline);
  if (status.ok()) {
    const auto own = client.Range(RangeOf(key_));
    status = own.status();
    if (own.ok() && (own->kvs().empty() || own->kvs(0).create_revision() != revision_)) {
      status = NotLeader();
    }
  }
  // Should that fail, the lease takes the key away.
  if (!status.ok()) (void)Resign();
  return status;
}

absl::Status Election::Proclaim(std::string_view value) {
  if (revision_ == 0) return NotLeader();
  KEELSON_ASSIGN_OR_RETURN(
      const etcdserverpb::TxnResponse response,
      client_internal::TxnUntilKnown(
          session_.client(),
          TxnBuilder().If(IsLeader()).Then(PutOf(key_, value, session_.lease())).Build(),
          DeadlineAfter(session_.client(), kLeaveTimeout)));
  if (response.succeeded()) return absl::OkStatus();
  revision_ = 0;
  return NotLeader();
}

absl::Status Election::Resign() {
  if (revision_ == 0) return absl::OkStatus();
  KEELSON_RETURN_IF_ERROR(client_internal::Leave(session_.client(), key_, revision_,
                                                 DeadlineAfter(session_.client(), kLeaveTimeout))
                              .status());
  revision_ = 0;
  return absl::OkStatus();
}

etcdserverpb::Compare Election::IsLeader() const { return CreateRevisionIs(key_, revision_); }

absl::StatusOr<mvccpb::KeyValue> FindLeader(Client& client, std::string_view name) {
  KEELSON_ASSIGN_OR_RETURN(const etcdserverpb::RangeResponse found,
                           client.Range(client_internal::FirstOf(name)));
  if (found.kvs().empty()) return absl::NotFoundError("election: no leader");
  return found.kvs(0);
}

absl::StatusOr<std::unique_ptr<RangeMirror>> Observe(Client& client, std::string_view name,
                                                     ElectionCallbacks callbacks) {
  // Of the thread of the callbacks alone.
  struct Told {
    int64_t revision = 0;  // of the value that was told last; 0: that there is no leader
    bool anything = false;
  };
  const auto told = std::make_shared<Told>();
  auto on_end = callbacks.on_end;
  return RangeMirror::Start(
      client, std::string(name) + "/",
      {.on_update =
           [told, callbacks = std::move(callbacks)](const RangeMirror::Update& update) {
             const mvccpb::KeyValue* leader = nullptr;
             for (const auto& [key, pair] : *update.pairs) {
               if (leader == nullptr || pair.create_revision() < leader->create_revision()) {
                 leader = &pair;
               }
             }
             const int64_t revision = leader == nullptr ? 0 : leader->mod_revision();
             if (told->anything && told->revision == revision) return;
             told->anything = true;
             told->revision = revision;
             if (leader != nullptr) {
               callbacks.on_leader(*leader);
             } else if (callbacks.on_no_leader) {
               callbacks.on_no_leader();
             }
           },
       .on_end = std::move(on_end)});
}

}  // namespace keelson::kvstore
