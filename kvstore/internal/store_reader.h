// The Store: reads of the current generation, on any thread.
#ifndef KEELSON_KVSTORE_INTERNAL_STORE_READER_H_
#define KEELSON_KVSTORE_INTERNAL_STORE_READER_H_

#include "absl/functional/function_ref.h"
#include "kvstore/internal/generation.h"
#include "kvstore/internal/view.h"
#include "kvstore/store.h"

namespace keelson::kvstore::internal {

class StoreReader final : public Store {
 public:
  // `current` is borrowed and holds a generation.
  explicit StoreReader(const CurrentGeneration& current) : current_(current) {}

  int64_t Revision() const override;
  int64_t CompactedRevision() const override;
  absl::Status Range(const etcdserverpb::RangeRequest& request,
                     etcdserverpb::RangeResponse* response) const override;
  absl::Status EncodeRange(const etcdserverpb::RangeRequest& request,
                           etcdserverpb::RangeResponse* rest, std::string* pairs) const override;
  absl::Status RangeChunk(const etcdserverpb::RangeRequest& request, size_t max_bytes,
                          etcdserverpb::RangeResponse* response) const override;
  absl::Status ReadTxn(const etcdserverpb::TxnRequest& request,
                       etcdserverpb::TxnResponse* response) const override;
  absl::StatusOr<History> ReadHistory(const KeyRange& range, int64_t from, bool prev_kv,
                                      size_t max_changes, size_t max_bytes) const override;
  absl::StatusOr<mvccpb::KeyValue> GetAt(std::string_view key, int64_t revision) const override;
  Sizes GetSizes() const override;
  absl::Status GiveBackSpace() const override;
  std::vector<LeaseInfo> Leases() const override;
  int64_t LeaseTtl(int64_t id) const override;
  std::vector<std::string> LeaseKeys(int64_t id) const override;
  std::vector<MemberAttributes> Members() const override;
  std::vector<RaisedAlarm> Alarms() const override;
  absl::StatusOr<std::unique_ptr<StoreImage>> TakeImage() const override;
  std::shared_ptr<auth::AuthStore> Auth() const override;
  std::shared_ptr<v2::KeyStore> V2() const override;

 private:
  // Runs `read` with a view and the revision that `request` asks for, and fills the header.
  absl::Status ReadAsAsked(
      const etcdserverpb::RangeRequest& request, etcdserverpb::RangeResponse* response,
      absl::FunctionRef<absl::Status(Generation&, View&, int64_t at)> read) const;

  const CurrentGeneration& current_;
};

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_STORE_READER_H_
