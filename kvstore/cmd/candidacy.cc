#include "kvstore/cmd/candidacy.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::kvctl {

Candidacy::Candidacy(kvstore::Client& client, std::string name)
    : client_(client), prefix_(std::move(name) + "/") {}

// The lease goes at once, and with it the place: nobody shall wait for its end.
Candidacy::~Candidacy() {
  keep_alive_.reset();
  if (lease_ != 0) (void)client_.LeaseRevoke(lease_);
}

absl::Status Candidacy::Begin(int64_t ttl_seconds) {
  etcdserverpb::LeaseGrantRequest request;
  request.set_ttl(ttl_seconds);
  KEELSON_ASSIGN_OR_RETURN(const etcdserverpb::LeaseGrantResponse granted,
                           client_.LeaseGrant(request));
  lease_ = granted.id();
  key_ = absl::StrCat(prefix_, absl::Hex(static_cast<uint64_t>(lease_)));
  keep_alive_ =
      client_.KeepLeaseAlive(lease_, absl::Seconds(granted.ttl()),
                             {.on_renewed = nullptr, .on_lost = [this](const absl::Status&) {
                                absl::MutexLock lock(&mu_);
                                lost_ = true;
                              }});
  return absl::OkStatus();
}

absl::Status Candidacy::Stopped() const {
  if (interrupted_) return absl::CancelledError("context canceled");
  return lost_ ? absl::AbortedError("session expired") : absl::OkStatus();
}

absl::Status Candidacy::Enter(const std::string& value) {
  etcdserverpb::TxnRequest request;
  etcdserverpb::Compare& absent = *request.add_compare();
  absent.set_target(etcdserverpb::Compare::CREATE);
  absent.set_key(key_);
  absent.set_create_revision(0);
  *request.add_success()->mutable_request_put() = kvstore::PutOf(key_, value, lease_);
  KEELSON_ASSIGN_OR_RETURN(const etcdserverpb::TxnResponse answer, client_.Txn(request));
  if (!answer.succeeded()) return absl::AbortedError("the key of the lease exists already");
  return AwaitTurn(answer.header().revision());
}

absl::Status Candidacy::AwaitTurn(int64_t created) {
  while (true) {
    etcdserverpb::RangeRequest request = kvstore::RangeOfPrefix(prefix_);
    request.set_sort_order(etcdserverpb::RangeRequest::DESCEND);
    request.set_sort_target(etcdserverpb::RangeRequest::CREATE);
    request.set_max_create_revision(created - 1);
    request.set_limit(1);
    KEELSON_ASSIGN_OR_RETURN(const etcdserverpb::RangeResponse answer, client_.Range(request));
    revision_ = answer.header().revision();
    {
      absl::MutexLock lock(&mu_);
      KEELSON_RETURN_IF_ERROR(Stopped());
    }
    if (answer.kvs().empty()) return absl::OkStatus();
    KEELSON_RETURN_IF_ERROR(AwaitEndOf(answer.kvs(0).key(), answer.header().revision() + 1));
  }
}

absl::Status Candidacy::AwaitEndOf(const std::string& key, int64_t from) {
  bool ended = false;
  etcdserverpb::WatchCreateRequest request;
  request.set_key(key);
  request.set_start_revision(from);
  const auto end = [&] {
    absl::MutexLock lock(&mu_);
    ended = true;
  };
  const auto watcher =
      client_.Watch(request, {.on_response =
                                  [&](const etcdserverpb::WatchResponse& response) {
                                    for (const mvccpb::Event& event : response.events()) {
                                      if (event.type() == mvccpb::Event::DELETE) end();
                                    }
                                  },
                              // Whatever the reason, the caller looks again.
                              .on_end = [&](const absl::Status&) { end(); }});
  const auto over = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return ended || interrupted_ || lost_; };
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&over));
  return Stopped();
}

bool Candidacy::Hold() {
  const auto over = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return interrupted_ || lost_; };
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&over));
  return !lost_;
}

absl::Status Candidacy::Leave() { return client_.DeleteRange(kvstore::DeleteOf(key_)).status(); }

void Candidacy::Interrupt() {
  absl::MutexLock lock(&mu_);
  interrupted_ = true;
}

}  // namespace keelson::kvctl
