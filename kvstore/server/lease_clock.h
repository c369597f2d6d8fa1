// Decides when leases end. Leases themselves are replicated (Store); the time
// they have left is known only here, and counted only by the leader (kvstore.md
// section 7).
//
//   clock.Promote(now, store.Leases());         // this member leads now
//   clock.Renew(now, id);                       // a client keeps it alive
//   for (int64_t id : clock.TakeExpired(now)) ProposeRevoke(id);   // twice a
//   second
//
// Pure: time comes in as a monotonic duration and never runs back. A member
// that does not lead keeps the list of leases, but nothing expires on it.
//
// Threading: a value for one thread.
#ifndef KEELSON_KVSTORE_SERVER_LEASE_CLOCK_H_
#define KEELSON_KVSTORE_SERVER_LEASE_CLOCK_H_

#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "kvstore/store.h"

namespace keelson::kvstore {

class LeaseClock {
 public:
  struct Options {
    absl::Duration election_timeout = absl::Seconds(1);
    // A new leader spreads leases that would end together to at most this many
    // a second.
    size_t max_expiries_per_second = 750;
    // At most this many are handed out by one TakeExpired.
    size_t max_expired_per_scan = 500;
    // A lease that was handed out and is still there is handed out again after
    // this.
    absl::Duration revoke_retry = absl::Seconds(3);
  };

  // The largest TTL that may be asked for, in seconds.
  static constexpr int64_t kMaxTtlSeconds = 9'000'000'000;

  explicit LeaseClock(const Options& options) : options_(options) {}

  // The least TTL granted: 1.5 election timeouts, in whole seconds, rounded up.
  [[nodiscard]] int64_t MinTtlSeconds() const;

  // Replaces all that is known by `leases`. While leading, each starts with its
  // remaining time, or its full TTL where no checkpoint is known.
  void Reset(absl::Duration now, const std::vector<Store::LeaseInfo>& leases);

  // This member leads from now on: as Reset, each lease with one election
  // timeout more, since its owner may have been talking to the old leader, and
  // spread.
  void Promote(absl::Duration now, const std::vector<Store::LeaseInfo>& leases);
  // Another one leads: nothing expires here any more.
  void Demote();
  [[nodiscard]] bool leading() const { return leading_; }

  // What applying the log did. Unknown ids and repeated grants are harmless.
  void Granted(absl::Duration now, int64_t id, int64_t ttl_seconds);
  void Revoked(int64_t id);
  void Checkpointed(absl::Duration now, int64_t id, int64_t remaining_seconds);

  // Starts the full TTL anew. Returns the TTL in seconds; 0 when the lease is unknown or has
  // expired (its revocation is under way). A member that does not lead cannot tell: empty.
  std::optional<int64_t> Renew(absl::Duration now, int64_t id);

  struct TimeLeft {
    int64_t seconds = 0;  // whole ones; 0 when expired
    int64_t granted_seconds = 0;
  };
  // Empty for an unknown lease. A member that does not lead answers the full
  // TTL.
  [[nodiscard]] std::optional<TimeLeft> Left(absl::Duration now, int64_t id) const;

  // Leases that have ended and are not being revoked already, soonest first.
  std::vector<int64_t> TakeExpired(absl::Duration now);

  // Ids by time left, then by id. A member that does not lead: by id.
  [[nodiscard]] std::vector<int64_t> ByExpiry() const;
  [[nodiscard]] size_t size() const { return leases_.size(); }

 private:
  struct Lease {
    int64_t ttl_seconds = 0;
    absl::Duration expiry;         // while leading
    absl::Duration next_handover;  // place in due_: expiry, or later once handed out
  };

  void Schedule(int64_t id, Lease& lease, absl::Duration expiry);
  void Spread();

  const Options options_;
  bool leading_ = false;
  std::unordered_map<int64_t, Lease> leases_;
  std::set<std::pair<absl::Duration, int64_t>> due_;  // while leading: next_handover, id
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_LEASE_CLOCK_H_
