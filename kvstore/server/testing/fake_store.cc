#include "kvstore/server/testing/fake_store.h"

#include <algorithm>

#include "kvstore/errors.h"

namespace keelson::kvstore {

bool FakeStore::InRange(const KeyRange& range, std::string_view key) {
  if (range.range_end.empty()) return key == range.key;
  if (key < range.key) return false;
  return range.range_end == std::string_view("\0", 1) || key < range.range_end;
}

int64_t FakeStore::RevisionLocked() const {
  return state_.changes.empty() ? 1 : state_.changes.back().revision;
}

std::optional<FakeStore::Pair> FakeStore::GetLocked(std::string_view key, int64_t revision) const {
  std::optional<Pair> found;
  for (const Change& change : state_.changes) {
    if (change.revision > revision) break;
    for (const mvccpb::Event& event : change.events) {
      if (event.kv().key() != key) continue;
      if (event.type() == mvccpb::Event::PUT) {
        found = event.kv();
      } else {
        found.reset();
      }
    }
  }
  return found;
}

Store::Change FakeStore::Apply(const std::vector<Write>& writes) {
  absl::MutexLock lock(&mu_);
  Change change;
  change.revision = RevisionLocked() + 1;
  for (const auto& [key, value] : writes) {
    const std::optional<Pair> before = GetLocked(key, change.revision - 1);
    if (!value.has_value() && !before.has_value()) continue;
    mvccpb::Event& event = change.events.emplace_back();
    event.mutable_kv()->set_key(key);
    event.mutable_kv()->set_mod_revision(change.revision);
    if (!value.has_value()) {
      event.set_type(mvccpb::Event::DELETE);
      continue;
    }
    event.mutable_kv()->set_value(*value);
    event.mutable_kv()->set_create_revision(before ? before->create_revision() : change.revision);
    event.mutable_kv()->set_version(before ? before->version() + 1 : 1);
  }
  if (!change.events.empty()) state_.changes.push_back(change);
  return change;
}

void FakeStore::Compact(int64_t revision) {
  absl::MutexLock lock(&mu_);
  state_.compacted = revision;
}

void FakeStore::SetLeases(std::vector<LeaseInfo> leases) {
  absl::MutexLock lock(&mu_);
  state_.leases = std::move(leases);
}

void FakeStore::SetMembers(std::vector<MemberAttributes> members) {
  absl::MutexLock lock(&mu_);
  state_.members = std::move(members);
}

void FakeStore::SetDiskBytes(int64_t bytes) {
  absl::MutexLock lock(&mu_);
  state_.sizes.disk_bytes = bytes;
}

void FakeStore::RestoreFrom(const FakeStore& other) {
  State copy;
  {
    absl::MutexLock lock(&other.mu_);
    copy = other.state_;
  }
  absl::MutexLock lock(&mu_);
  state_ = std::move(copy);
}

int64_t FakeStore::Revision() const {
  absl::MutexLock lock(&mu_);
  return RevisionLocked();
}

int64_t FakeStore::CompactedRevision() const {
  absl::MutexLock lock(&mu_);
  return state_.compacted;
}

absl::Status FakeStore::Range(const etcdserverpb::RangeRequest& request,
                              etcdserverpb::RangeResponse* response) const {
  absl::MutexLock lock(&mu_);
  if (request.key().empty()) return errors::EmptyKey();
  response->mutable_header()->set_revision(RevisionLocked());
  const std::optional<Pair> found = GetLocked(request.key(), RevisionLocked());
  if (found.has_value()) *response->add_kvs() = *found;
  response->set_count(found.has_value() ? 1 : 0);
  return absl::OkStatus();
}

absl::Status FakeStore::RangeChunk(const etcdserverpb::RangeRequest& request, size_t /*max_bytes*/,
                                   etcdserverpb::RangeResponse* response) const {
  return Range(request, response);  // one key at most
}

absl::Status FakeStore::ReadTxn(const etcdserverpb::TxnRequest&,
                                etcdserverpb::TxnResponse* response) const {
  absl::MutexLock lock(&mu_);
  response->mutable_header()->set_revision(RevisionLocked());
  response->set_succeeded(true);
  return absl::OkStatus();
}

absl::StatusOr<Store::History> FakeStore::ReadHistory(const KeyRange& range, int64_t from,
                                                      bool prev_kv, size_t max_changes,
                                                      size_t max_bytes) const {
  absl::MutexLock lock(&mu_);
  if (from < state_.compacted) return errors::Compacted();
  History history;
  history.next_revision = RevisionLocked() + 1;
  size_t bytes = 0;
  for (const Change& change : state_.changes) {
    if (change.revision < from) continue;
    if (history.changes.size() == max_changes || bytes >= max_bytes) {
      history.next_revision = change.revision;
      break;
    }
    Change matching;
    matching.revision = change.revision;
    for (const mvccpb::Event& event : change.events) {
      if (!InRange(range, event.kv().key())) continue;
      matching.events.push_back(event);
      bytes += event.ByteSizeLong();
      if (!prev_kv) continue;
      const std::optional<Pair> before = GetLocked(event.kv().key(), change.revision - 1);
      if (before.has_value()) *matching.events.back().mutable_prev_kv() = *before;
    }
    if (!matching.events.empty()) history.changes.push_back(std::move(matching));
  }
  return history;
}

absl::StatusOr<FakeStore::Pair> FakeStore::GetAt(std::string_view key, int64_t revision) const {
  absl::MutexLock lock(&mu_);
  std::optional<Pair> found = GetLocked(key, revision);
  if (!found.has_value()) return absl::NotFoundError("no such pair");
  return *std::move(found);
}

Store::Sizes FakeStore::GetSizes() const {
  absl::MutexLock lock(&mu_);
  return state_.sizes;
}

absl::Status FakeStore::GiveBackSpace() const {
  absl::MutexLock lock(&mu_);
  state_.sizes.disk_bytes = 0;
  return absl::OkStatus();
}

std::vector<Store::LeaseInfo> FakeStore::Leases() const {
  absl::MutexLock lock(&mu_);
  return state_.leases;
}

int64_t FakeStore::LeaseTtl(int64_t id) const {
  absl::MutexLock lock(&mu_);
  for (const LeaseInfo& lease : state_.leases) {
    if (lease.id == id) return lease.granted_ttl_seconds;
  }
  return 0;
}

std::vector<std::string> FakeStore::LeaseKeys(int64_t) const { return {}; }

std::vector<Store::MemberAttributes> FakeStore::Members() const {
  absl::MutexLock lock(&mu_);
  return state_.members;
}

}  // namespace keelson::kvstore
