#include "kvstore/server/contest.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kvstore/store.h"

namespace keelson::kvstore {
namespace {

using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;

constexpr int64_t kOwnLeaseSeconds = 60;

// The key "name/..." behind all that begin with "name/".
std::string EndOf(const std::string& name) { return name + "0"; }  // '0' comes after '/'

}  // namespace

absl::Status AsUnknown(const absl::Status& status) {
  return status.ok() ? status : absl::UnknownError(status.message());
}

Contest::Contest(Server* server, Options options, std::function<void(const absl::Status&)> end)
    : server_(server), options_(std::move(options)), end_(std::move(end)) {}

void Contest::Start() {
  if (options_.lease != 0) return Enter();
  grant_.set_ttl(kOwnLeaseSeconds);
  server_->LeaseGrant(
      grant_, &granted_,
      [self = shared_from_this()](const absl::Status& status) {
        if (!status.ok()) return self->End(status);
        self->options_.lease = self->granted_.id();
        self->Enter();
      },
      options_.who);
}

void Contest::Enter() {
  key_ = absl::StrCat(options_.name, "/", absl::Hex(static_cast<uint64_t>(options_.lease)));
  auto& compare = *txn_.add_compare();
  compare.set_key(key_);
  compare.set_target(etcdserverpb::Compare::CREATE);
  compare.set_create_revision(0);
  auto& put = *txn_.add_success()->mutable_request_put();
  put.set_key(key_);
  put.set_value(options_.value);
  put.set_lease(options_.lease);
  txn_.add_failure()->mutable_request_range()->set_key(key_);
  server_->Txn(
      txn_, &entered_,
      [self = shared_from_this()](const absl::Status& status) { self->OnEntered(status); },
      options_.who);
}

void Contest::OnEntered(const absl::Status& status) {
  if (!status.ok()) return End(status);
  header_ = entered_.header();
  if (entered_.succeeded()) {
    create_revision_ = header_.revision();
    return Wait();
  }
  const RangeResponse& found = entered_.responses(0).response_range();
  create_revision_ = found.kvs(0).create_revision();
  if (options_.updates_value && found.kvs(0).value() != options_.value) return UpdateValue();
  Wait();
}

void Contest::UpdateValue() {
  txn_.mutable_compare(0)->set_create_revision(create_revision_);
  txn_.clear_failure();
  entered_.Clear();
  server_->Txn(
      txn_, &entered_,
      [self = shared_from_this()](const absl::Status& status) {
        if (!status.ok()) return self->End(status);
        if (!self->entered_.succeeded()) {
          return self->End(absl::UnknownError("election: not leader"));
        }
        self->Wait();  // The header stays that of the first transaction, as with etcd.
      },
      options_.who);
}

void Contest::Wait() {
  // Before looking, so that no change in between is missed.
  const uint64_t waiter =
      server_->key_waiters().Add(options_.name + "/", [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->server_->RunLater([self] { self->Look(); });
      });
  bool over = false;
  {
    absl::MutexLock lock(&mu_);
    over = !end_;
    if (!over) waiter_ = waiter;
  }
  if (over) return server_->key_waiters().Remove(waiter);
  Look();
}

// This member has applied the key, so what was made before it is here too.
void Contest::Look() {
  RangeRequest earlier;
  earlier.set_key(options_.name + "/");
  earlier.set_range_end(EndOf(options_.name));
  earlier.set_max_create_revision(create_revision_ - 1);
  earlier.set_keys_only(true);
  earlier.set_limit(1);
  RangeResponse response;
  absl::Status status = server_->store().Range(earlier, &response);
  if (!status.ok()) return End(status);
  if (response.kvs_size() > 0) return;
  const bool waited = response.header().revision() > header_.revision();
  if (!options_.needs_key || !waited) return End(absl::OkStatus());
  RangeRequest own;
  own.set_key(key_);
  response.Clear();
  status = server_->store().Range(own, &response);
  if (!status.ok()) return End(status);
  if (response.kvs_size() == 0) return End(absl::UnknownError("mutex: session is expired"));
  header_.set_revision(response.header().revision());
  End(absl::OkStatus());
}

void Contest::End(const absl::Status& status) {
  std::function<void(const absl::Status&)> end;
  uint64_t waiter = 0;
  {
    absl::MutexLock lock(&mu_);
    end = std::exchange(end_, nullptr);
    waiter = std::exchange(waiter_, 0);
  }
  if (waiter != 0) server_->key_waiters().Remove(waiter);
  if (end) end(AsUnknown(status));
}

void Contest::Cancel() {
  {
    absl::MutexLock lock(&mu_);
    if (!end_) return;
  }
  End(absl::CancelledError("the client left"));
  Leave();
}

void Contest::Leave() {
  if (key_.empty()) return;
  struct Removal {
    etcdserverpb::DeleteRangeRequest request;
    etcdserverpb::DeleteRangeResponse response;
  };
  const auto removal = std::make_shared<Removal>();
  removal->request.set_key(key_);
  // Should that fail, the lease takes the key away.
  server_->DeleteRange(
      removal->request, &removal->response, [removal](const absl::Status&) {}, options_.who);
}

}  // namespace keelson::kvstore
