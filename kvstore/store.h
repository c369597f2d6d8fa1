// The multi-version key space: what etcd calls its MVCC store.
//
// Every change of the key space has a revision: (main, sub), main counting up by one for
// each changing command, sub counting the changes inside it from 0. A new store is at
// revision 1. Old revisions can be read until a compaction passes them.
//
// A Store is written only by the StateMachine (state_machine.h), on one thread, in
// batches that become visible as a whole. Everything in this header reads, is
// thread-safe, and never waits for a writer.
//
// Semantics: reference kvstore.md sections 3 to 6. Statuses carry etcd's gRPC code and text.
#ifndef KEELSON_KVSTORE_STORE_H_
#define KEELSON_KVSTORE_STORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/api/rpc.pb.h"
#include "kvstore/store_image.h"

namespace keelson::kvstore::auth {
class AuthStore;
}
namespace keelson::kvstore::v2 {
class KeyStore;
}

namespace keelson::kvstore {

// A range of keys as requests spell it: `range_end` empty is the one key, "\0" is
// everything from `key` on, anything else is [key, range_end).
struct KeyRange {
  std::string key;
  std::string range_end;

  // True when `candidate` lies in the range.
  [[nodiscard]] bool Contains(std::string_view candidate) const;
  // True when no key can lie in it.
  [[nodiscard]] bool Empty() const;
};

// Whether the event made the key. Such an event carries no pair from before, as with etcd, not even
// where its transaction deleted the key first.
inline bool IsCreation(const mvccpb::Event& event) {
  return event.type() == mvccpb::Event::PUT &&
         event.kv().create_revision() == event.kv().mod_revision();
}

class Store {
 public:
  virtual ~Store() = default;

  // The revision of the newest visible change, and the revision compacted up to (-1: none, as in
  // etcd).
  [[nodiscard]] virtual int64_t Revision() const = 0;
  [[nodiscard]] virtual int64_t CompactedRevision() const = 0;

  // Answers from one snapshot; response->header.revision is that snapshot's revision.
  // INVALID_ARGUMENT (empty key, bad sort), OUT_OF_RANGE (compacted, future revision).
  virtual absl::Status Range(const etcdserverpb::RangeRequest& request,
                             etcdserverpb::RangeResponse* response) const = 0;

  // The same answer on its way to a client: `pairs` are its `kvs` as they stand in the message, field
  // after field, and `rest` is the message without them. Spares the objects of many pairs.
  virtual absl::Status EncodeRange(const etcdserverpb::RangeRequest& request,
                                   etcdserverpb::RangeResponse* rest, std::string* pairs) const;

  // The first pairs of the same answer, as many as have `max_bytes` (one at least), in the order of
  // keys. `more` says that the range holds others behind them, also where the limit ends it. Nothing
  // is counted. UNIMPLEMENTED, with etcd's text, for a request that sorts or filters.
  virtual absl::Status RangeChunk(const etcdserverpb::RangeRequest& request, size_t max_bytes,
                                  etcdserverpb::RangeResponse* response) const = 0;

  // A transaction of comparisons and ranges only (IsReadOnly), from one snapshot.
  virtual absl::Status ReadTxn(const etcdserverpb::TxnRequest& request,
                               etcdserverpb::TxnResponse* response) const = 0;

  // Changes of one main revision.
  struct Change {
    int64_t revision = 0;
    std::vector<mvccpb::Event> events;  // by ascending sub revision
  };
  struct History {
    std::vector<Change> changes;  // by ascending revision; those without a match are left out
    int64_t next_revision = 0;    // where to go on: everything below has been looked at
  };
  // Changes in `range` with main revision in [from, Revision()], at most `max_changes` of
  // them and about `max_bytes`, never splitting a revision. With `prev_kv`, events carry the
  // pair before them where it still exists.
  // OUT_OF_RANGE with etcd's "compacted" text when from < CompactedRevision().
  virtual absl::StatusOr<History> ReadHistory(const KeyRange& range, int64_t from, bool prev_kv,
                                              size_t max_changes, size_t max_bytes) const = 0;

  // The live pair of `key` as of main revision `revision`; NOT_FOUND when there was none.
  virtual absl::StatusOr<mvccpb::KeyValue> GetAt(std::string_view key, int64_t revision) const = 0;

  struct Sizes {
    int64_t disk_bytes = 0;    // files of the database
    int64_t in_use_bytes = 0;  // estimate of live data
    int64_t rows = 0;          // versions of keys that are kept, estimate
    int64_t keys = 0;          // live keys, exactly
  };
  [[nodiscard]] virtual Sizes GetSizes() const = 0;

  // Engine::GiveBackSpace. Changes nothing that anybody reads.
  virtual absl::Status GiveBackSpace() const = 0;

  struct LeaseInfo {
    int64_t id = 0;
    int64_t granted_ttl_seconds = 0;
    int64_t remaining_ttl_seconds = 0;  // from the last checkpoint; 0: none, use the granted one
  };
  // All leases by ascending id; the keys attached to one by ascending key.
  [[nodiscard]] virtual std::vector<LeaseInfo> Leases() const = 0;
  // Granted TTL in seconds, or 0 for an unknown lease.
  [[nodiscard]] virtual int64_t LeaseTtl(int64_t id) const = 0;
  [[nodiscard]] virtual std::vector<std::string> LeaseKeys(int64_t id) const = 0;

  struct MemberAttributes {
    uint64_t id = 0;
    std::string name = {};                      // empty until the member has started once
    std::vector<std::string> client_urls = {};  // likewise
    std::vector<std::string> peer_urls = {};
    bool is_learner = false;
    bool removed = false;  // for good

    friend bool operator==(const MemberAttributes&, const MemberAttributes&) = default;
  };
  // The membership that was decided, by ascending id; who has been removed stays in it as such.
  // Raft's own follows it (raft::StateMachine::Applied).
  [[nodiscard]] virtual std::vector<MemberAttributes> Members() const = 0;

  struct RaisedAlarm {
    uint64_t member_id = 0;
    int32_t type = 0;  // etcdserverpb.AlarmType
  };
  // By ascending member, then type.
  [[nodiscard]] virtual std::vector<RaisedAlarm> Alarms() const = 0;

  // The state as of now, for hashes and for snapshots that etcd reads. Takes no copy.
  virtual absl::StatusOr<std::unique_ptr<StoreImage>> TakeImage() const = 0;

  // Users, roles and rights (auth/auth_store.h); never null. A restored snapshot brings others.
  [[nodiscard]] virtual std::shared_ptr<auth::AuthStore> Auth() const = 0;

  // The keys of the version 2 API (v2/key_store.h); never null. A restored snapshot brings another.
  [[nodiscard]] virtual std::shared_ptr<v2::KeyStore> V2() const = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_STORE_H_
