#include "kvstore/cmd/mirror.h"

#include <deque>
#include <functional>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"

namespace keelson::kvctl {
namespace {

constexpr int64_t kPageKeys = 1000;
constexpr size_t kBatchBytesMax = size_t{1} << 20;  // servers take 1.5 MiB in one request
// Answers of the watch that may wait for the destination; then the watch waits too.
constexpr size_t kWaitingMax = 64;

// Walks all keys with a prefix at one revision, in pages.
class Pages {
 public:
  Pages(kvstore::Client& client, const std::string& prefix, bool keys_only)
      : client_(client), request_(kvstore::RangeOfPrefix(prefix)) {
    request_.set_limit(kPageKeys);
    request_.set_keys_only(keys_only);
    request_.set_sort_order(etcdserverpb::RangeRequest::ASCEND);
  }
  void ReadAt(int64_t revision) { request_.set_revision(revision); }

  // The next page; empty behind the last.
  absl::StatusOr<etcdserverpb::RangeResponse> Next() {
    if (done_) return etcdserverpb::RangeResponse();
    KEELSON_ASSIGN_OR_RETURN(etcdserverpb::RangeResponse page, client_.Range(request_));
    if (request_.revision() == 0) request_.set_revision(page.header().revision());
    done_ = !page.more() || page.kvs().empty();
    if (!page.kvs().empty()) {
      request_.set_key(page.kvs().rbegin()->key() + std::string(1, '\0'));
    }
    return page;
  }
  [[nodiscard]] int64_t revision() const { return request_.revision(); }

 private:
  kvstore::Client& client_;
  etcdserverpb::RangeRequest request_;
  bool done_ = false;
};

// The same, key by key.
class Keys {
 public:
  Keys(kvstore::Client& client, const std::string& prefix, int64_t revision)
      : pages_(client, prefix, true) {
    pages_.ReadAt(revision);
  }
  // Nothing behind the last.
  absl::StatusOr<std::optional<std::string>> Next() {
    if (at_ == page_.kvs_size()) {
      KEELSON_ASSIGN_OR_RETURN(page_, pages_.Next());
      at_ = 0;
      if (page_.kvs().empty()) return std::nullopt;
    }
    return page_.kvs(at_++).key();
  }

 private:
  Pages pages_;
  etcdserverpb::RangeResponse page_;
  int at_ = 0;
};

// Answers of a watch, for the thread that copies.
class WatchQueue {
 public:
  kvstore::WatchCallbacks Callbacks() {
    return {.on_response =
                [this](const etcdserverpb::WatchResponse& response) {
                  const auto room = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
                    return closed_ || waiting_.size() < kWaitingMax;
                  };
                  absl::MutexLock lock(&mu_);
                  mu_.Await(absl::Condition(&room));
                  waiting_.push_back(response);
                },
            .on_end =
                [this](const absl::Status& status) {
                  absl::MutexLock lock(&mu_);
                  ended_ = true;
                  status_ = status;
                }};
  }
  // The reason once all is taken and the watch has ended.
  absl::StatusOr<etcdserverpb::WatchResponse> Take() {
    const auto ready = [this]()
                           ABSL_NO_THREAD_SAFETY_ANALYSIS { return ended_ || !waiting_.empty(); };
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&ready));
    if (waiting_.empty()) return status_;
    etcdserverpb::WatchResponse response = std::move(waiting_.front());
    waiting_.pop_front();
    return response;
  }
  // Lets a callback that waits go, so that the watch can be ended.
  void Close() {
    absl::MutexLock lock(&mu_);
    closed_ = true;
  }

 private:
  absl::Mutex mu_;
  std::deque<etcdserverpb::WatchResponse> waiting_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

Mirror::Mirror(kvstore::Client& source, kvstore::Client& destination, MirrorOptions options)
    : source_(source), destination_(destination), options_(std::move(options)) {}

std::string Mirror::Renamed(const std::string& key) const {
  return absl::StrCat(options_.dest_prefix, key.substr(options_.prefix.size()));
}

absl::Status Mirror::Send(etcdserverpb::TxnRequest& batch) {
  if (batch.success().empty()) return absl::OkStatus();
  // Puts and deletes of known keys do no harm twice: a broken connection is no reason to end.
  absl::Status status = destination_.Txn(batch).status();
  if (absl::IsUnavailable(status)) status = destination_.Txn(batch).status();
  KEELSON_RETURN_IF_ERROR(status);
  copied_.fetch_add(batch.success_size(), std::memory_order_relaxed);
  batch.clear_success();
  batch_bytes_ = 0;
  return absl::OkStatus();
}

absl::Status Mirror::Add(const mvccpb::Event& event, etcdserverpb::TxnRequest& batch) {
  const std::string key = Renamed(event.kv().key());
  const size_t bytes = key.size() + event.kv().value().size();
  if (batch_bytes_ + bytes > kBatchBytesMax) KEELSON_RETURN_IF_ERROR(Send(batch));
  batch_bytes_ += bytes;
  etcdserverpb::RequestOp& op = *batch.add_success();
  if (event.type() == mvccpb::Event::DELETE) {
    *op.mutable_request_delete_range() = kvstore::DeleteOf(key);
  } else {
    *op.mutable_request_put() = kvstore::PutOf(key, event.kv().value());
  }
  return batch.success_size() < options_.max_txn_ops ? absl::OkStatus() : Send(batch);
}

absl::StatusOr<int64_t> Mirror::CopyAll(bool exact) {
  Pages pages(source_, options_.prefix, false);
  etcdserverpb::TxnRequest batch;
  while (true) {
    KEELSON_ASSIGN_OR_RETURN(const etcdserverpb::RangeResponse page, pages.Next());
    if (page.kvs().empty()) break;
    for (const mvccpb::KeyValue& kv : page.kvs()) {
      mvccpb::Event event;
      *event.mutable_kv() = kv;
      KEELSON_RETURN_IF_ERROR(Add(event, batch));
    }
    KEELSON_RETURN_IF_ERROR(Send(batch));  // A page's values, at most, in one request.
  }
  if (exact) KEELSON_RETURN_IF_ERROR(RemoveStrays(pages.revision()));
  return pages.revision();
}

// Both sides list their keys in the same order, since only the prefix differs.
absl::Status Mirror::RemoveStrays(int64_t revision) {
  Keys wanted(source_, options_.prefix, revision);
  Keys found(destination_, options_.dest_prefix, 0);
  etcdserverpb::TxnRequest batch;
  KEELSON_ASSIGN_OR_RETURN(std::optional<std::string> want, wanted.Next());
  KEELSON_ASSIGN_OR_RETURN(std::optional<std::string> have, found.Next());
  while (have.has_value()) {
    if (want.has_value() && Renamed(*want) < *have) {
      KEELSON_ASSIGN_OR_RETURN(want, wanted.Next());
      continue;
    }
    if (!want.has_value() || Renamed(*want) != *have) {
      *batch.add_success()->mutable_request_delete_range() = kvstore::DeleteOf(*have);
      if (batch.success_size() >= options_.max_txn_ops) KEELSON_RETURN_IF_ERROR(Send(batch));
    }
    KEELSON_ASSIGN_OR_RETURN(have, found.Next());
  }
  return Send(batch);
}

absl::Status Mirror::Follow(int64_t from) {
  etcdserverpb::WatchCreateRequest request;
  const etcdserverpb::RangeRequest range = kvstore::RangeOfPrefix(options_.prefix);
  request.set_key(range.key());
  request.set_range_end(range.range_end());
  request.set_start_revision(from);
  WatchQueue queue;
  const auto watcher = source_.Watch(request, queue.Callbacks());
  absl::Status status;
  etcdserverpb::TxnRequest batch;
  while (status.ok()) {
    const auto response = queue.Take();
    status = response.status();
    if (!status.ok()) break;
    int64_t revision = 0;
    for (const mvccpb::Event& event : response->events()) {
      // One transaction there, one here; a key comes at most once in it.
      if (status.ok() && event.kv().mod_revision() != revision) status = Send(batch);
      if (status.ok()) status = Add(event, batch);
      revision = event.kv().mod_revision();
    }
    if (status.ok()) status = Send(batch);
  }
  queue.Close();
  return status;
}

}  // namespace keelson::kvctl
