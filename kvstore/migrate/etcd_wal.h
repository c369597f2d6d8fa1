// Reads etcd's write-ahead log: what its database does not have yet.
//
// Format: kvstore.md section 20.1. Segments of framed records, chained by CRC-32C.
#ifndef KEELSON_KVSTORE_MIGRATE_ETCD_WAL_H_
#define KEELSON_KVSTORE_MIGRATE_ETCD_WAL_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/migrate/etcd_log.pb.h"

namespace keelson::kvstore {

// Reads segments one after the other. Keeps the entries behind a given one.
class EtcdWalReader {
 public:
  explicit EtcdWalReader(uint64_t after) : after_(after) {}

  // The next segment's bytes. `last`: it is the newest, which a crash may have left torn.
  // DATA_LOSS naming `name` and the offset when a record is damaged.
  absl::Status Read(const std::string& name, std::string_view segment, bool last);

  // The entries behind `after` that were committed, by ascending index without a gap. DATA_LOSS
  // when some are missing.
  absl::StatusOr<std::vector<EtcdEntry>> Committed() const;

  // How many entries follow those: nobody knows whether they were committed.
  [[nodiscard]] uint64_t Uncertain() const;

 private:
  absl::Status Take(const EtcdLogRecord& record);
  absl::Status TakeEntry(const std::string& data);

  const uint64_t after_;
  uint64_t commit_ = 0;
  uint32_t crc_ = 0;
  std::vector<EtcdEntry> entries_;
};

// All of a folder that holds a log; empty for one that holds none. Also sets `uncertain`.
absl::StatusOr<std::vector<EtcdEntry>> ReadEtcdWal(const std::string& folder, uint64_t after,
                                                   uint64_t* uncertain);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_MIGRATE_ETCD_WAL_H_
