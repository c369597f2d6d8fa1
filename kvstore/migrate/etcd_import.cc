#include "kvstore/migrate/etcd_import.h"

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kvstore/api/authpb.pb.h"
#include "kvstore/api/kv.pb.h"
#include "kvstore/api/lease.pb.h"
#include "kvstore/api/maintenance.pb.h"
#include "kvstore/internal/codec.h"
#include "kvstore/internal/etcd_rows.h"

namespace keelson::kvstore {
namespace {

using bbolt::Reader;
using internal::Revision;

constexpr size_t kBatchBytes = size_t{256} << 10;
constexpr uint64_t kVersionsPerProgress = 4096;

absl::Status Unreadable(std::string_view bucket) {
  return absl::DataLossError(absl::StrCat("a row of the bucket '",
                                          absl::string_view(bucket.data(), bucket.size()),
                                          "' cannot be read"));
}

// Takes what the database holds, in the order: leases, users, roles, alarms, versions.
class Taker {
 public:
  virtual ~Taker() = default;
  virtual absl::Status Row(std::string row, std::string_view value) = 0;  // of the family kMeta
  virtual absl::Status Version(Revision at, bool deleted, const mvccpb::KeyValue& pair) = 0;
};

class Examiner final : public Taker {
 public:
  absl::Status Row(std::string, std::string_view) override { return absl::OkStatus(); }
  absl::Status Version(Revision, bool, const mvccpb::KeyValue&) override {
    return absl::OkStatus();
  }
};

// Writes rows in batches, and knows what each version replaces.
class Filler final : public Taker {
 public:
  explicit Filler(Engine& engine) : engine_(engine), batch_(engine.NewBatch()) {}

  absl::Status Row(std::string row, std::string_view value) override {
    batch_->Put(Family::kMeta, row, {value});
    return Wrote(row.size() + value.size());
  }

  absl::Status Version(Revision at, bool deleted, const mvccpb::KeyValue& pair) override {
    // Leases come first; what is attached to them is looked up.
    if (!std::exchange(begun_, true)) KEELSON_RETURN_IF_ERROR(Flush());
    Latest before;
    // A key that is new replaces nothing, and most keys of most stores are that.
    if (deleted || pair.version() > 1) {
      KEELSON_ASSIGN_OR_RETURN(before, Find(pair.key(), at));
    }
    internal::DataValue data;
    data.deleted = deleted;
    data.create_revision = pair.create_revision();
    data.version = pair.version();
    data.lease = pair.lease();
    internal::EncodeDataRow(pair.key(), at, &row_);
    batch_->Put(Family::kData, row_, {internal::DataHeader(data).view(), pair.value()});
    internal::EncodeLogRow(at, &row_);
    batch_->Put(Family::kLog, row_, {internal::LogHeader(deleted, before.at).view(), pair.key()});
    KEELSON_RETURN_IF_ERROR(Attach(pair, deleted, before.lease));
    latest_[pair.key()] = {.at = deleted ? Revision{} : at, .lease = deleted ? 0 : pair.lease()};
    return Wrote(2 * pair.key().size() + pair.value().size());
  }

  absl::Status Flush() {
    KEELSON_RETURN_IF_ERROR(engine_.Write(*batch_));
    batch_->Clear();
    latest_.clear();
    bytes_ = 0;
    return absl::OkStatus();
  }

 private:
  struct Latest {
    Revision at;  // 0: the key does not exist
    int64_t lease = 0;
  };

  absl::Status Wrote(size_t bytes) {
    bytes_ += bytes;
    return bytes_ < kBatchBytes ? absl::OkStatus() : Flush();
  }

  // The live version of `key` before `at`.
  absl::StatusOr<Latest> Find(const std::string& key, Revision at) {
    if (const auto known = latest_.find(key); known != latest_.end()) return known->second;
    Engine::IterateOptions options;
    options.same_prefix = true;
    const auto iterator = engine_.NewIterator(Family::kData, options);
    internal::EncodeDataRow(key, at, &row_);
    iterator->Seek(row_);
    KEELSON_RETURN_IF_ERROR(iterator->status());
    std::string prefix;
    internal::AppendRowPrefix(key, &prefix);
    std::string_view found;
    Latest latest;
    internal::DataValue value;
    if (!iterator->Valid() || !internal::DecodeDataRow(iterator->key(), &found, &latest.at) ||
        found != prefix) {
      return Latest{};
    }
    if (!internal::DecodeDataValue(iterator->value(), &value) || value.deleted) return Latest{};
    latest.lease = value.lease;
    return latest;
  }

  // Moves the key from the lease it had to the one it has; a lease that ended holds nothing.
  absl::Status Attach(const mvccpb::KeyValue& pair, bool deleted, int64_t before) {
    const int64_t now = deleted ? 0 : pair.lease();
    if (before == now) return absl::OkStatus();
    if (before != 0) {
      internal::EncodeAttachmentRow(before, pair.key(), &row_);
      batch_->Delete(Family::kMeta, row_);
    }
    if (now == 0) return absl::OkStatus();
    KEELSON_ASSIGN_OR_RETURN(const bool known, engine_.Get(Family::kMeta, internal::LeaseRow(now),
                                                           [](std::string_view) {}));
    if (!known) return absl::OkStatus();
    internal::EncodeAttachmentRow(now, pair.key(), &row_);
    batch_->Put(Family::kMeta, row_, {});
    return absl::OkStatus();
  }

  Engine& engine_;
  const std::unique_ptr<WriteBatch> batch_;
  std::map<std::string, Latest> latest_;  // of the keys in the batch
  std::string row_;
  size_t bytes_ = 0;
  bool begun_ = false;
};

// Calls `visit` for each row of a bucket that may be missing.
absl::Status VisitRows(const Reader& database, std::string_view bucket, Reader::Visit visit) {
  absl::Status status = database.VisitBucket(bucket, visit);
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

absl::Status TakeMeta(const Reader& database, ImportSummary& summary, int64_t* swept) {
  int64_t scheduled = -1;
  *swept = -1;
  KEELSON_RETURN_IF_ERROR(VisitRows(database, "meta", [&](const Reader::Entry& row) {
    if (row.key == "consistent_index") {
      const bool good = internal::ParseBigEndian64(row.value, &summary.consistent_index);
      return good ? absl::OkStatus() : Unreadable("meta");
    }
    const bool finished = row.key == "finishedCompactRev";
    if (!finished && row.key != "scheduledCompactRev") return absl::OkStatus();
    Revision revision;
    bool deleted = false;
    if (!internal::ParseEtcdRevision(row.value, &revision, &deleted)) return Unreadable("meta");
    (finished ? *swept : scheduled) = revision.main;
    return absl::OkStatus();
  }));
  summary.compacted = std::max(scheduled, *swept);
  return absl::OkStatus();
}

absl::Status TakeLeases(const Reader& database, Taker& taker, ImportSummary& summary) {
  return VisitRows(database, "lease", [&](const Reader::Entry& row) -> absl::Status {
    leasepb::Lease lease;
    const bool good = lease.ParseFromArray(row.value.data(), static_cast<int>(row.value.size())) &&
                      row.key == internal::BigEndian64(static_cast<uint64_t>(lease.id())) &&
                      lease.ttl() >= 0 && lease.remainingttl() >= 0;
    if (!good) return Unreadable("lease");
    ++summary.leases;
    return taker.Row(internal::LeaseRow(lease.id()),
                     internal::EncodeLeaseValue(
                         {.granted_ttl = lease.ttl(), .remaining_ttl = lease.remainingttl()}));
  });
}

template <typename Message>
absl::Status TakeNamed(const Reader& database, std::string_view bucket, std::string_view prefix,
                       Taker& taker, uint64_t& count) {
  return VisitRows(database, bucket, [&](const Reader::Entry& row) -> absl::Status {
    Message message;
    if (!message.ParseFromArray(row.value.data(), static_cast<int>(row.value.size())) ||
        message.name() != row.key || row.key.empty()) {
      return Unreadable(bucket);
    }
    ++count;
    return taker.Row(std::string(prefix).append(row.key), row.value);
  });
}

absl::Status TakeAuth(const Reader& database, Taker& taker, ImportSummary& summary) {
  bool enabled = false;
  uint64_t revision = 0;
  KEELSON_RETURN_IF_ERROR(VisitRows(database, "auth", [&](const Reader::Entry& row) {
    if (row.key == "authEnabled") enabled = row.value == "\x01";
    if (row.key == "authRevision" && !internal::ParseBigEndian64(row.value, &revision)) {
      return Unreadable("auth");
    }
    return absl::OkStatus();
  }));
  if (revision != 0) {
    std::string state(1, enabled ? '\x01' : '\x00');
    internal::AppendVarint(revision, &state);
    KEELSON_RETURN_IF_ERROR(taker.Row("as", state));
  }
  KEELSON_RETURN_IF_ERROR(
      TakeNamed<authpb::User>(database, "authUsers", "au", taker, summary.users));
  return TakeNamed<authpb::Role>(database, "authRoles", "ar", taker, summary.roles);
}

absl::Status TakeAlarms(const Reader& database, Taker& taker) {
  return VisitRows(database, "alarm", [&](const Reader::Entry& row) -> absl::Status {
    etcdserverpb::AlarmMember alarm;
    if (!alarm.ParseFromArray(row.key.data(), static_cast<int>(row.key.size()))) {
      return Unreadable("alarm");
    }
    if (alarm.alarm() != etcdserverpb::CORRUPT) return absl::OkStatus();
    return taker.Row(internal::AlarmRow({.member_id = alarm.memberid(), .type = alarm.alarm()}),
                     "");
  });
}

bool Plausible(Revision at, bool deleted, const mvccpb::KeyValue& pair) {
  if (at.main < 1 || pair.key().empty()) return false;
  return deleted || (pair.mod_revision() == at.main && pair.create_revision() >= 1 &&
                     pair.create_revision() <= at.main && pair.version() >= 1);
}

absl::Status TakeVersions(const Reader& database, Taker& taker, ImportSummary& summary,
                          ImportProgress progress) {
  mvccpb::KeyValue pair;
  return database.VisitBucket("key", [&](const Reader::Entry& row) -> absl::Status {
    Revision at;
    bool deleted = false;
    if (row.bucket || !internal::ParseEtcdRevision(row.key, &at, &deleted) ||
        !pair.ParseFromArray(row.value.data(), static_cast<int>(row.value.size()))) {
      return Unreadable("key");
    }
    summary.revision = at.main;
    // A row without a pair only raises the revision: etcdutl's --bump-revision leaves it.
    if (row.value.empty() && !deleted) return absl::OkStatus();
    if (!Plausible(at, deleted, pair)) return Unreadable("key");
    if (++summary.versions % kVersionsPerProgress == 0) progress(summary.versions);
    return taker.Version(at, deleted, pair);
  });
}

absl::StatusOr<ImportSummary> TakeAll(const Reader& database, const ImportOptions& options,
                                      Taker& taker, ImportProgress progress) {
  ImportSummary summary;
  int64_t swept = -1;
  KEELSON_RETURN_IF_ERROR(TakeMeta(database, summary, &swept));
  KEELSON_RETURN_IF_ERROR(TakeLeases(database, taker, summary));
  KEELSON_RETURN_IF_ERROR(TakeAuth(database, taker, summary));
  KEELSON_RETURN_IF_ERROR(TakeAlarms(database, taker));
  absl::Status versions = TakeVersions(database, taker, summary, progress);
  if (absl::IsNotFound(versions)) {
    return absl::DataLossError("no database of etcd: it has no bucket 'key'");
  }
  KEELSON_RETURN_IF_ERROR(versions);
  // Compaction may have removed the newest versions; and a new store is at 1.
  summary.revision = std::max({summary.revision, summary.compacted, int64_t{1}});
  if (options.bump_revision > std::numeric_limits<int64_t>::max() - 1 - summary.revision) {
    return absl::InvalidArgumentError("the revision would become too large");
  }
  summary.revision += options.bump_revision;
  if (options.mark_compacted) summary.compacted = summary.revision;
  if (swept >= 0) {
    KEELSON_RETURN_IF_ERROR(
        taker.Row(std::string(internal::kSweptRow), internal::EncodeInteger(swept)));
  }
  return summary;
}

}  // namespace

absl::StatusOr<uint64_t> ConsistentIndexOf(const Reader& database) {
  ImportSummary summary;
  int64_t swept = -1;
  KEELSON_RETURN_IF_ERROR(TakeMeta(database, summary, &swept));
  return summary.consistent_index;
}

absl::StatusOr<ImportSummary> ExamineEtcdDatabase(const Reader& database,
                                                  const ImportOptions& options,
                                                  ImportProgress progress) {
  Examiner examiner;
  return TakeAll(database, options, examiner, progress);
}

absl::StatusOr<ImportSummary> ImportEtcdDatabase(const Reader& database,
                                                 const ImportOptions& options, Engine& engine,
                                                 ImportProgress progress) {
  Filler filler(engine);
  KEELSON_ASSIGN_OR_RETURN(ImportSummary summary, TakeAll(database, options, filler, progress));
  KEELSON_RETURN_IF_ERROR(filler.Flush());
  return summary;
}

absl::Status FinishImport(const ImportSummary& summary, const raft::SnapshotMetadata& applied,
                          Engine& engine) {
  internal::StateValue state;
  state.applied = applied;
  state.revision = summary.revision;
  state.compacted = summary.compacted;
  const std::unique_ptr<WriteBatch> batch = engine.NewBatch();
  batch->Put(Family::kMeta, internal::kStateRow, {internal::EncodeStateValue(state)});
  KEELSON_RETURN_IF_ERROR(engine.Write(*batch));
  return engine.Flush();
}

}  // namespace keelson::kvstore
