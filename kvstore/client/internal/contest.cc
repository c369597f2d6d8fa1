#include "kvstore/client/internal/contest.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kvstore/client/txn.h"

namespace keelson::kvstore::client_internal {
namespace {

constexpr absl::Duration kRetryPause = absl::Milliseconds(50);
// How often a loss of the session is looked for while the key of another is waited for.
constexpr absl::Duration kLook = absl::Milliseconds(500);

// Waits for `pause` on the client's clock.
void SleepFor(Client& client, absl::Duration pause) {
  absl::Mutex mu;
  bool never = false;
  absl::MutexLock lock(&mu);
  (void)client.Await(&mu, absl::Condition(&never), pause);
}

absl::Status SessionIsLost() { return absl::FailedPreconditionError("mutex: session is expired"); }

// Waits until `key`, which stood at `revision`, has been deleted or the watch has ended.
absl::Status AwaitDelete(const Session& session, const std::string& key, int64_t revision,
                         absl::Duration deadline) {
  Client& client = session.client();
  struct Seen {
    absl::Mutex mu;
    bool over = false;
  };
  const auto seen = std::make_shared<Seen>();
  const auto end = [seen] {
    absl::MutexLock lock(&seen->mu);
    seen->over = true;
  };
  etcdserverpb::WatchCreateRequest request;
  request.set_key(key);
  request.set_start_revision(revision + 1);
  const auto watch =
      client.Watch(request, {.on_response =
                                 [end](const etcdserverpb::WatchResponse& response) {
                                   for (const mvccpb::Event& event : response.events()) {
                                     if (event.type() == mvccpb::Event::DELETE) end();
                                   }
                                 },
                             // Compacted, or not allowed: the range that comes next tells.
                             .on_end = [end](const absl::Status&) { end(); }});
  absl::MutexLock lock(&seen->mu);
  while (!seen->over) {
    const absl::Duration now = client.Monotonic();
    if (now >= deadline) return absl::DeadlineExceededError("somebody else holds it");
    if (!session.status().ok()) return SessionIsLost();
    (void)client.Await(&seen->mu, absl::Condition(&seen->over), std::min(kLook, deadline - now));
  }
  return absl::OkStatus();
}

}  // namespace

std::string ContestKey(std::string_view name, const Session& session) {
  return absl::StrCat(std::string(name), "/", absl::Hex(static_cast<uint64_t>(session.lease())));
}

etcdserverpb::RangeRequest FirstOf(std::string_view name) {
  etcdserverpb::RangeRequest request = RangeOfPrefix(std::string(name) + "/");
  request.set_sort_target(etcdserverpb::RangeRequest::CREATE);
  request.set_sort_order(etcdserverpb::RangeRequest::ASCEND);
  request.set_limit(1);
  return request;
}

absl::StatusOr<etcdserverpb::TxnResponse> TxnUntilKnown(Client& client,
                                                        const etcdserverpb::TxnRequest& request,
                                                        absl::Duration deadline) {
  while (true) {
    absl::StatusOr<etcdserverpb::TxnResponse> response = client.Txn(request);
    const bool again = PerhapsDone(response.status()) || absl::IsUnavailable(response.status());
    if (response.ok() || !again || client.Monotonic() + kRetryPause >= deadline) return response;
    SleepFor(client, kRetryPause);
  }
}

absl::Status AwaitTurn(const Session& session, std::string_view name, int64_t create_revision,
                       absl::Duration deadline) {
  // Only the last of those before us is watched: else one release would wake everybody.
  etcdserverpb::RangeRequest before = RangeOfPrefix(std::string(name) + "/");
  before.set_sort_target(etcdserverpb::RangeRequest::CREATE);
  before.set_sort_order(etcdserverpb::RangeRequest::DESCEND);
  before.set_limit(1);
  before.set_max_create_revision(create_revision - 1);
  while (true) {
    const auto found = session.client().Range(before);
    if (found.ok() && found->kvs().empty()) return absl::OkStatus();
    if (!found.ok() && !absl::IsUnavailable(found.status()) &&
        !absl::IsDeadlineExceeded(found.status())) {
      return found.status();
    }
    if (!session.status().ok()) return SessionIsLost();
    if (session.client().Monotonic() >= deadline) {
      return absl::DeadlineExceededError("somebody else holds it");
    }
    if (!found.ok()) {
      SleepFor(session.client(), kRetryPause);
      continue;
    }
    KEELSON_RETURN_IF_ERROR(
        AwaitDelete(session, found->kvs(0).key(), found->header().revision(), deadline));
  }
}

absl::StatusOr<bool> Leave(Client& client, const std::string& key, int64_t create_revision,
                           absl::Duration deadline) {
  KEELSON_ASSIGN_OR_RETURN(
      const etcdserverpb::TxnResponse response,
      TxnUntilKnown(
          client,
          TxnBuilder().If(CreateRevisionIs(key, create_revision)).Then(DeleteOf(key)).Build(),
          deadline));
  return response.succeeded();
}

absl::Duration DeadlineAfter(Client& client, absl::Duration timeout) {
  return client.Monotonic() + timeout;
}

}  // namespace keelson::kvstore::client_internal
