#include "kvstore/server/lease_clock.h"

#include <algorithm>

namespace keelson::kvstore {
namespace {

absl::Duration TimeOf(const Store::LeaseInfo& lease) {
  return absl::Seconds(lease.remaining_ttl_seconds > 0 ? lease.remaining_ttl_seconds
                                                       : lease.granted_ttl_seconds);
}

}  // namespace

int64_t LeaseClock::MinTtlSeconds() const {
  const absl::Duration least = options_.election_timeout * 3 / 2;
  return absl::ToInt64Seconds(absl::Ceil(least, absl::Seconds(1)));
}

void LeaseClock::Schedule(int64_t id, Lease& lease, absl::Duration expiry) {
  due_.erase({lease.next_handover, id});
  lease.expiry = expiry;
  lease.next_handover = expiry;
  due_.insert({expiry, id});
}

void LeaseClock::Reset(absl::Duration now, const std::vector<Store::LeaseInfo>& leases) {
  leases_.clear();
  due_.clear();
  for (const Store::LeaseInfo& info : leases) {
    Lease& lease = leases_[info.id];
    lease.ttl_seconds = info.granted_ttl_seconds;
    if (leading_) Schedule(info.id, lease, now + TimeOf(info));
  }
}

void LeaseClock::Promote(absl::Duration now, const std::vector<Store::LeaseInfo>& leases) {
  leading_ = true;
  Reset(now + options_.election_timeout, leases);
  Spread();
}

void LeaseClock::Demote() {
  leading_ = false;
  due_.clear();
}

// Walks the leases by expiry in windows of one second; what does not fit into a
// window moves to the start of the next one.
void LeaseClock::Spread() {
  std::vector<std::pair<absl::Duration, int64_t>> order(due_.begin(), due_.end());
  if (order.size() <= options_.max_expiries_per_second) return;
  absl::Duration window = order.front().first;
  size_t in_window = 0;
  for (const auto& [expiry, id] : order) {
    if (expiry >= window + absl::Seconds(1)) {
      window = expiry;
      in_window = 0;
    } else if (in_window == options_.max_expiries_per_second) {
      window += absl::Seconds(1);
      in_window = 0;
    }
    ++in_window;
    if (expiry < window) Schedule(id, leases_[id], window);
  }
}

void LeaseClock::Granted(absl::Duration now, int64_t id, int64_t ttl_seconds) {
  Lease& lease = leases_[id];
  lease.ttl_seconds = ttl_seconds;
  if (leading_) Schedule(id, lease, now + absl::Seconds(ttl_seconds));
}

void LeaseClock::Revoked(int64_t id) {
  const auto found = leases_.find(id);
  if (found == leases_.end()) return;
  due_.erase({found->second.next_handover, id});
  leases_.erase(found);
}

void LeaseClock::Checkpointed(absl::Duration now, int64_t id, int64_t remaining_seconds) {
  const auto found = leases_.find(id);
  // The leader made the checkpoint from its own clock, which stays the better
  // one.
  if (found == leases_.end() || !leading_ || remaining_seconds <= 0) return;
  const absl::Duration expiry = now + absl::Seconds(remaining_seconds);
  if (expiry < found->second.expiry) Schedule(id, found->second, expiry);
}

std::optional<int64_t> LeaseClock::Renew(absl::Duration now, int64_t id) {
  if (!leading_) return std::nullopt;
  const auto found = leases_.find(id);
  if (found == leases_.end() || found->second.expiry <= now) return 0;
  Schedule(id, found->second, now + absl::Seconds(found->second.ttl_seconds));
  return found->second.ttl_seconds;
}

std::optional<LeaseClock::TimeLeft> LeaseClock::Left(absl::Duration now, int64_t id) const {
  const auto found = leases_.find(id);
  if (found == leases_.end()) return std::nullopt;
  const Lease& lease = found->second;
  if (!leading_) return TimeLeft{lease.ttl_seconds, lease.ttl_seconds};
  const int64_t left = absl::ToInt64Seconds(lease.expiry - now);  // toward zero
  return TimeLeft{std::max<int64_t>(left, 0), lease.ttl_seconds};
}

std::vector<int64_t> LeaseClock::TakeExpired(absl::Duration now) {
  std::vector<int64_t> expired;
  for (auto next = due_.begin();
       next != due_.end() && next->first <= now && expired.size() < options_.max_expired_per_scan;
       next = due_.erase(next)) {
    expired.push_back(next->second);
  }
  for (const int64_t id : expired) {
    Lease& lease = leases_[id];
    lease.next_handover = now + options_.revoke_retry;
    due_.insert({lease.next_handover, id});
  }
  return expired;
}

std::vector<int64_t> LeaseClock::ByExpiry() const {
  std::vector<std::pair<absl::Duration, int64_t>> order;
  order.reserve(leases_.size());
  for (const auto& [id, lease] : leases_) {
    order.emplace_back(leading_ ? lease.expiry : absl::ZeroDuration(), id);
  }
  std::sort(order.begin(), order.end());
  std::vector<int64_t> ids;
  ids.reserve(order.size());
  for (const auto& [expiry, id] : order) ids.push_back(id);
  return ids;
}

}  // namespace keelson::kvstore
