// Where data of etcd comes from: a snapshot, or the data directory of a stopped member with what
// its
// log holds beyond the database.
#ifndef KEELSON_KVSTORE_MIGRATE_ETCD_SOURCE_H_
#define KEELSON_KVSTORE_MIGRATE_ETCD_SOURCE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/config/options.h"
#include "kvstore/migrate/etcd_import.h"

namespace keelson::kvstore {

// One thread at a time.
class EtcdSource {
 public:
  struct Where {
    std::string path;                // a file, or a data directory
    std::string wal_dir;             // of the member; empty: in its data directory
    bool skip_digest_check = false;  // a file that was copied has no digest
  };

  // Checks the digest of a file and reads the log of a folder. INVALID_ARGUMENT when there is
  // neither
  // digest nor skip_digest_check; FAILED_PRECONDITION when a server has the database open;
  // UNIMPLEMENTED as ToCommand (etcd_replay.h); DATA_LOSS for damage.
  static absl::StatusOr<std::unique_ptr<EtcdSource>> Open(const Where& where);
  virtual ~EtcdSource() = default;

  // What Restore would do, without doing it.
  virtual absl::StatusOr<ImportSummary> Examine(const ImportOptions& import,
                                                ImportProgress progress) const = 0;

  // Makes the data directory of a new member (member_folder.h) with this data. All members of a
  // cluster are made from one source with the same options.
  virtual absl::StatusOr<ImportSummary> Restore(const Options& member, const ImportOptions& import,
                                                ImportProgress progress) const = 0;

  // Entries of the log that Restore applies to what the database holds, and those that it leaves
  // out since nobody knows whether they were committed.
  [[nodiscard]] virtual uint64_t replayed_entries() const = 0;
  [[nodiscard]] virtual uint64_t uncertain_entries() const = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_MIGRATE_ETCD_SOURCE_H_
