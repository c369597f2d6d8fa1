#include "kvstore/migrate/snapshot_file.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/crc32c.h"
#include "base/status.h"
#include "kvstore/bbolt/reader.h"
#include "kvstore/internal/etcd_rows.h"
#include "kvstore/migrate/digest.h"

namespace keelson::kvstore {
namespace {

constexpr uint64_t kRowsPerProgress = 4096;
constexpr size_t kHashedAtOnce = size_t{8} << 20;

}  // namespace

absl::StatusOr<DatabaseSummary> Summarize(std::string_view file,
                                          absl::FunctionRef<void(uint64_t)> progress) {
  KEELSON_ASSIGN_OR_RETURN(const bbolt::Reader reader, bbolt::Reader::Open(file));
  DatabaseSummary summary;
  summary.bytes = reader.bytes();
  bool has_keys = false;
  KEELSON_RETURN_IF_ERROR(reader.VisitBuckets([&](const bbolt::Reader::Entry& bucket) {
    if (!bucket.bucket) {
      return absl::Status(absl::DataLossError("a row stands beside the buckets"));
    }
    summary.hash = ExtendCrc32c(summary.hash, bucket.key);
    const bool keys = bucket.key == "key";
    has_keys = has_keys || keys;
    return reader.VisitNested(bucket, [&](const bbolt::Reader::Entry& row) {
      summary.hash = ExtendCrc32c(ExtendCrc32c(summary.hash, row.key), row.value);
      if (++summary.rows % kRowsPerProgress == 0) progress(summary.rows);
      if (!keys) return absl::OkStatus();
      internal::Revision revision;
      bool deleted = false;
      if (!internal::ParseEtcdRevision(row.key, &revision, &deleted)) {
        return absl::Status(absl::DataLossError("a key of the bucket 'key' is no revision"));
      }
      summary.revision = revision.main;
      return absl::OkStatus();
    });
  }));
  if (!has_keys) return absl::DataLossError("no database of etcd: it has no bucket 'key'");
  return summary;
}

absl::Status VerifyDigest(std::string_view file, absl::FunctionRef<void(uint64_t)> progress) {
  if (!EndsInDigest(file.size())) {
    return absl::DataLossError(
        absl::StrCat("sha256 checksum not found [bytes: ", file.size(), "]"));
  }
  const std::string_view database = file.substr(0, file.size() - kSha256Bytes);
  Sha256 digest;
  for (size_t at = 0; at < database.size(); at += kHashedAtOnce) {
    digest.Add(database.substr(at, kHashedAtOnce));
    progress(std::min(at + kHashedAtOnce, database.size()));
  }
  const std::string got = digest.Take();
  const std::string_view want = file.substr(database.size());
  if (got == want) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      "expected sha256 ", absl::BytesToHexString(absl::string_view(want.data(), want.size())),
      ", got ", absl::BytesToHexString(got)));
}

}  // namespace keelson::kvstore
