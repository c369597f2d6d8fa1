#include "tests/kubernetes/api_storage.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status.h"

namespace keelson::kubernetes {
namespace {

constexpr char kCompactKey[] = "compact_rev_key";
constexpr size_t kMaxLines = 20;

Object ObjectOf(const mvccpb::KeyValue& pair) {
  return {.value = pair.value(), .revision = pair.mod_revision()};
}

}  // namespace

void Violations::Add(const std::string& text) {
  ++count_;
  absl::MutexLock lock(&mu_);
  if (lines_.size() < kMaxLines) lines_.push_back(text);
}

std::vector<std::string> Violations::lines() const {
  absl::MutexLock lock(&mu_);
  return lines_;
}

// --- Storage ---

absl::StatusOr<std::optional<Object>> ApiStorage::Get(const std::string& key) {
  etcdserverpb::RangeRequest request = kvstore::RangeOf(key);
  request.set_limit(1);
  ++counters_.gets;
  KEELSON_ASSIGN_OR_RETURN(const etcdserverpb::RangeResponse answer, client_.Range(request));
  if (answer.kvs().empty()) return std::optional<Object>();
  if (answer.kvs(0).mod_revision() > answer.header().revision()) {
    violations_.Add(absl::StrCat("get of '", key, "': changed at ", answer.kvs(0).mod_revision(),
                                 ", but the store is at ", answer.header().revision()));
  }
  return std::optional<Object>(ObjectOf(answer.kvs(0)));
}

absl::StatusOr<std::pair<bool, Object>> ApiStorage::Swap(const std::string& key, int64_t expected,
                                                         const etcdserverpb::RequestOp& operation) {
  etcdserverpb::TxnRequest request;
  *request.add_compare() = kvstore::ModRevisionIs(key, expected);
  *request.add_success() = operation;
  *request.add_failure()->mutable_request_range() = kvstore::RangeOf(key);
  const auto answer = client_.Txn(request);
  if (!answer.ok()) {
    ++counters_.unanswered;
    return answer.status();
  }
  if (answer->responses_size() != 1) {
    violations_.Add(absl::StrCat("transaction on '", key, "' has no answer inside"));
  }
  if (answer->succeeded()) {
    if (answer->header().revision() <= expected) {
      violations_.Add(absl::StrCat("'", key, "' went from revision ", expected, " to ",
                                   answer->header().revision()));
    }
    return std::pair(true, Object{.value = "", .revision = answer->header().revision()});
  }
  ++counters_.conflicts;
  const etcdserverpb::RangeResponse& range = answer->responses(0).response_range();
  const Object is = range.kvs().empty() ? Object() : ObjectOf(range.kvs(0));
  if (is.revision == expected) {
    violations_.Add(absl::StrCat("'", key, "' was refused revision ", expected, ", which it has"));
  }
  return std::pair(false, is);
}

absl::StatusOr<std::pair<bool, Object>> ApiStorage::Put(const std::string& key,
                                                        const std::string& value, int64_t expected,
                                                        int64_t lease) {
  etcdserverpb::RequestOp operation;
  *operation.mutable_request_put() = kvstore::PutOf(key, value, lease);
  KEELSON_ASSIGN_OR_RETURN(auto result, Swap(key, expected, operation));
  if (result.first) {
    ++(expected == 0 ? counters_.creates : counters_.updates);
    result.second.value = value;
  }
  return result;
}

absl::StatusOr<std::pair<bool, Object>> ApiStorage::Delete(const std::string& key,
                                                           int64_t expected) {
  etcdserverpb::RequestOp operation;
  *operation.mutable_request_delete_range() = kvstore::DeleteOf(key);
  KEELSON_ASSIGN_OR_RETURN(auto result, Swap(key, expected, operation));
  if (result.first) ++counters_.deletes;
  return result;
}

absl::StatusOr<ApiStorage::Listed> ApiStorage::List(const std::string& prefix, int64_t page,
                                                    int64_t at_revision) {
  Listed listed{.objects = {}, .revision = at_revision};
  etcdserverpb::RangeRequest request = kvstore::RangeOfPrefix(prefix);
  request.set_limit(page);
  ++counters_.lists;
  int64_t total = -1;
  for (;;) {
    request.set_revision(listed.revision);
    ++counters_.pages;
    KEELSON_ASSIGN_OR_RETURN(const etcdserverpb::RangeResponse answer, client_.Range(request));
    if (listed.revision == 0) listed.revision = answer.header().revision();
    if (total < 0) total = answer.count() + static_cast<int64_t>(listed.objects.size());
    const auto before = static_cast<int64_t>(listed.objects.size());
    for (const mvccpb::KeyValue& pair : answer.kvs()) {
      if (pair.mod_revision() > listed.revision) {
        violations_.Add(absl::StrCat("a list at ", listed.revision, " has '", pair.key(),
                                     "' of revision ", pair.mod_revision()));
      }
      listed.objects[pair.key()] = ObjectOf(pair);
    }
    // What remains from the first key of this page on, this page included.
    if (answer.count() != total - before) {
      violations_.Add(absl::StrCat("a page of '", prefix, "' at ", listed.revision, " says ",
                                   answer.count(), " remain where ", total - before, " do"));
    }
    const bool more = answer.count() > answer.kvs_size();
    if (answer.more() != more) {
      violations_.Add(absl::StrCat("a page of '", prefix, "' is wrong about whether more come"));
    }
    if (!answer.more() || answer.kvs().empty()) break;
    request.set_key(answer.kvs().rbegin()->key() + std::string(1, '\0'));
  }
  if (static_cast<int64_t>(listed.objects.size()) != total) {
    violations_.Add(absl::StrCat("a list of '", prefix, "' has ", listed.objects.size(), " of ",
                                 total, " objects"));
  }
  return listed;
}

absl::StatusOr<int64_t> ApiStorage::CurrentRevision(const std::string& prefix) {
  etcdserverpb::RangeRequest request = kvstore::RangeOfPrefix(prefix);
  request.set_limit(1);
  ++counters_.gets;
  KEELSON_ASSIGN_OR_RETURN(const etcdserverpb::RangeResponse answer, client_.Range(request));
  return answer.header().revision();
}

absl::StatusOr<int64_t> ApiStorage::GrantLease(absl::Duration ttl) {
  etcdserverpb::LeaseGrantRequest request;
  request.set_ttl(absl::ToInt64Seconds(ttl));
  ++counters_.leases;
  KEELSON_ASSIGN_OR_RETURN(const etcdserverpb::LeaseGrantResponse answer,
                           client_.LeaseGrant(request));
  return answer.id();
}

absl::StatusOr<int64_t> ApiStorage::CompactOnce(int64_t& version, int64_t previous) {
  etcdserverpb::TxnRequest request;
  etcdserverpb::Compare* const compare = request.add_compare();
  compare->set_key(kCompactKey);
  compare->set_target(etcdserverpb::Compare::VERSION);
  compare->set_result(etcdserverpb::Compare::EQUAL);
  compare->set_version(version);
  *request.add_success()->mutable_request_put() =
      kvstore::PutOf(kCompactKey, absl::StrCat(previous));
  *request.add_failure()->mutable_request_range() = kvstore::RangeOf(kCompactKey);
  KEELSON_ASSIGN_OR_RETURN(const etcdserverpb::TxnResponse answer, client_.Txn(request));
  if (!answer.succeeded()) {
    const auto& kvs = answer.responses(0).response_range().kvs();
    version = kvs.empty() ? 0 : kvs[0].version();
    return answer.header().revision();
  }
  ++version;
  if (previous <= 0) return answer.header().revision();
  etcdserverpb::CompactionRequest compaction;
  compaction.set_revision(previous);
  const auto done = client_.Compact(compaction);
  if (!done.ok()) return done.status();
  ++counters_.compactions;
  // Below it nothing can be read any more, at it everything.
  etcdserverpb::RangeRequest below = kvstore::RangeOf(kCompactKey);
  below.set_revision(previous - 1);
  const auto refused = client_.Range(below);
  if (refused.status().code() != absl::StatusCode::kOutOfRange) {
    violations_.Add(absl::StrCat("a read at ", previous - 1, ", compacted to ", previous,
                                 ", is answered with ", refused.status().ToString()));
  }
  below.set_revision(previous);
  const auto allowed = client_.Range(below);
  if (allowed.status().code() == absl::StatusCode::kOutOfRange) {
    violations_.Add(absl::StrCat("a read at the compacted revision ", previous, " is refused"));
  }
  return answer.header().revision();
}

// --- Cache ---

absl::StatusOr<std::unique_ptr<WatchCache>> WatchCache::Start(ApiStorage& storage,
                                                              const std::string& prefix) {
  KEELSON_ASSIGN_OR_RETURN(ApiStorage::Listed listed, storage.List(prefix, 500));
  etcdserverpb::WatchCreateRequest request;
  request.set_key(prefix);
  request.set_range_end(kvstore::PrefixEnd(prefix));
  request.set_start_revision(listed.revision + 1);
  request.set_prev_kv(true);
  request.set_progress_notify(true);
  auto cache = std::unique_ptr<WatchCache>(new WatchCache(storage, prefix, std::move(listed)));
  WatchCache* const raw = cache.get();
  cache->watcher_ = storage.client().Watch(
      request, {.on_response = [raw](const etcdserverpb::WatchResponse& it) { raw->Take(it); },
                .on_end = [raw](const absl::Status&) { raw->ended_ = true; }});
  return cache;
}

void WatchCache::Take(const etcdserverpb::WatchResponse& response) {
  absl::MutexLock lock(&mu_);
  if (response.events().empty()) {
    ++storage_.counters().progress;
    revision_ = std::max(revision_, response.header().revision());
    return;
  }
  for (const mvccpb::Event& event : response.events()) TakeEvent(event);
}

void WatchCache::TakeEvent(const mvccpb::Event& event) {
  Violations& violations = storage_.violations();
  ++storage_.counters().events;
  const std::string& key = event.kv().key();
  const int64_t revision = event.kv().mod_revision();
  if (revision < revision_) {
    violations.Add(
        absl::StrCat("a watch of '", prefix_, "' tells ", revision, " after ", revision_));
  }
  revision_ = std::max(revision_, revision);
  const auto known = objects_.find(key);
  const bool creation =
      event.type() == mvccpb::Event::PUT && event.kv().create_revision() == revision;
  if (creation != (known == objects_.end())) {
    violations.Add(absl::StrCat("event of '", key, "' at ", revision, " is ", creation ? "a" : "no",
                                " creation, and the cache says otherwise"));
  }
  if (!creation) {
    const bool same = event.has_prev_kv() && known != objects_.end() &&
                      ObjectOf(event.prev_kv()) == known->second;
    if (!same) {
      violations.Add(absl::StrCat("event of '", key, "' at ", revision,
                                  event.has_prev_kv()
                                      ? " has another object before it than the cache"
                                      : " has no object before it"));
    }
  }
  if (event.type() == mvccpb::Event::DELETE) {
    objects_.erase(key);
    deleted_.emplace_back(key, absl::Now());
  } else {
    objects_[key] = ObjectOf(event.kv());
  }
}

bool WatchCache::AwaitRevision(int64_t target, absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  while (revision() < target) {
    if (absl::Now() > deadline) return false;
    watcher_->RequestProgress();
    absl::SleepFor(absl::Milliseconds(20));
  }
  ++storage_.counters().consistent_reads;
  return true;
}

Objects WatchCache::objects() const {
  absl::MutexLock lock(&mu_);
  return objects_;
}

int64_t WatchCache::revision() const {
  absl::MutexLock lock(&mu_);
  return revision_;
}

std::vector<std::pair<std::string, absl::Time>> WatchCache::TakeDeleted() {
  absl::MutexLock lock(&mu_);
  return std::exchange(deleted_, {});
}

}  // namespace keelson::kubernetes
