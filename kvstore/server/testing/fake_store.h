// A small, slow, obviously right Store: keeps every change and replays them to
// answer.
#ifndef KEELSON_KVSTORE_SERVER_TESTING_FAKE_STORE_H_
#define KEELSON_KVSTORE_SERVER_TESTING_FAKE_STORE_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "kvstore/auth/auth_store.h"
#include "kvstore/store.h"
#include "kvstore/v2/key_store.h"

namespace keelson::kvstore {

// Thread-safe. Only what the tests of the server ask for is answered:
// single-key ranges without options, history, leases and members.
class FakeStore final : public Store {
 public:
  using Pair = mvccpb::KeyValue;

  // --- What a state machine would do ---

  // One write of a change: a value, or nothing for a deletion.
  using Write = std::pair<std::string, std::optional<std::string>>;
  // Applies `writes` at the next revision and returns the change, as a state
  // machine reports it. Deletions of keys that are not there are left out;
  // without any event nothing changes.
  Change Apply(const std::vector<Write>& writes);
  void Compact(int64_t revision);
  void SetLeases(std::vector<LeaseInfo> leases);
  void SetMembers(std::vector<MemberAttributes> members);
  void SetDiskBytes(int64_t bytes);
  // Replaces everything by the state of `other`, as a snapshot would.
  void RestoreFrom(const FakeStore& other);

  // --- Store ---

  [[nodiscard]] int64_t Revision() const override;
  [[nodiscard]] int64_t CompactedRevision() const override;
  absl::Status Range(const etcdserverpb::RangeRequest& request,
                     etcdserverpb::RangeResponse* response) const override;
  absl::Status RangeChunk(const etcdserverpb::RangeRequest& request, size_t max_bytes,
                          etcdserverpb::RangeResponse* response) const override;
  absl::Status ReadTxn(const etcdserverpb::TxnRequest& request,
                       etcdserverpb::TxnResponse* response) const override;
  absl::StatusOr<History> ReadHistory(const KeyRange& range, int64_t from, bool prev_kv,
                                      size_t max_changes, size_t max_bytes) const override;
  absl::StatusOr<Pair> GetAt(std::string_view key, int64_t revision) const override;
  [[nodiscard]] Sizes GetSizes() const override;
  absl::Status GiveBackSpace() const override;  // frees everything
  [[nodiscard]] std::vector<LeaseInfo> Leases() const override;
  [[nodiscard]] int64_t LeaseTtl(int64_t id) const override;
  [[nodiscard]] std::vector<std::string> LeaseKeys(int64_t id) const override;
  [[nodiscard]] std::vector<MemberAttributes> Members() const override;
  [[nodiscard]] std::vector<RaisedAlarm> Alarms() const override { return {}; }
  absl::StatusOr<std::unique_ptr<StoreImage>> TakeImage() const override {
    return absl::UnimplementedError("a fake store has no image");
  }
  [[nodiscard]] std::shared_ptr<auth::AuthStore> Auth() const override { return auth_; }
  [[nodiscard]] std::shared_ptr<v2::KeyStore> V2() const override { return v2_; }

  // Whether `key` lies in the range that a request would spell so.
  static bool InRange(const KeyRange& range, std::string_view key);

 private:
  struct State {
    std::vector<Change> changes;
    int64_t compacted = 0;
    std::vector<LeaseInfo> leases;
    std::vector<MemberAttributes> members;
    Sizes sizes;
  };

  int64_t RevisionLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::optional<Pair> GetLocked(std::string_view key, int64_t revision) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::shared_ptr<auth::AuthStore> auth_ = std::make_shared<auth::AuthStore>();
  const std::shared_ptr<v2::KeyStore> v2_ = std::make_shared<v2::KeyStore>();
  mutable absl::Mutex mu_;
  mutable State state_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_TESTING_FAKE_STORE_H_
