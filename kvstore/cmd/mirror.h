// Keeps the keys of one cluster in another.
#ifndef KEELSON_KVSTORE_CMD_MIRROR_H_
#define KEELSON_KVSTORE_CMD_MIRROR_H_

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/client/client.h"

namespace keelson::kvctl {

struct MirrorOptions {
  std::string prefix;       // of the keys at the source
  std::string dest_prefix;  // instead of it, at the destination
  int64_t max_txn_ops = 128;
};

// Not thread-safe, but for copied().
class Mirror {
 public:
  // Both are borrowed.
  Mirror(kvstore::Client& source, kvstore::Client& destination, MirrorOptions options);

  // Copies every key as of now. With `exact`, also removes at the destination what the source does
  // not
  // have. Returns the revision that was copied.
  absl::StatusOr<int64_t> CopyAll(bool exact);

  // Follows the source from revision `from` on, each of its transactions in one, or in several when
  // it is larger than max_txn_ops or a request may be. Returns only with an error: OUT_OF_RANGE
  // when history was
  // compacted away, so that everything must be copied anew, exactly.
  absl::Status Follow(int64_t from);

  // Changes made at the destination so far. Thread-safe.
  [[nodiscard]] int64_t copied() const { return copied_.load(std::memory_order_relaxed); }

 private:
  [[nodiscard]] std::string Renamed(const std::string& key) const;
  absl::Status Send(etcdserverpb::TxnRequest& batch);
  absl::Status Add(const mvccpb::Event& event, etcdserverpb::TxnRequest& batch);
  absl::Status RemoveStrays(int64_t revision);

  kvstore::Client& source_;
  kvstore::Client& destination_;
  const MirrorOptions options_;
  size_t batch_bytes_ = 0;
  std::atomic<int64_t> copied_{0};
};

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_MIRROR_H_
