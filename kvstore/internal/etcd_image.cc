#include "kvstore/internal/etcd_image.h"

#include <array>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/crc32c.h"
#include "base/status.h"
#include "kvstore/api/kv.pb.h"
#include "kvstore/api/lease.pb.h"
#include "kvstore/api/maintenance.pb.h"
#include "kvstore/errors.h"
#include "kvstore/internal/etcd_rows.h"

namespace keelson::kvstore::internal {
namespace {

using Visit = StoreImage::Visit;

constexpr std::string_view kKeyBucket = "key";
constexpr uint32_t kLastSub = std::numeric_limits<uint32_t>::max();
// etcd makes all of them, so none is left out. Members are not data of the key space: whoever
// restores a snapshot names new ones.
constexpr std::array<std::string_view, 10> kBuckets = {
    "alarm",    "auth",  "authRoles", "authUsers",       "cluster",
    kKeyBucket, "lease", "members",   "members_removed", "meta"};

absl::Status Unreadable(std::string_view what) {
  return absl::DataLossError(
      absl::StrCat("a row of ", absl::string_view(what.data(), what.size()), " cannot be read"));
}

// One walk over the versions of an image, which finds their pairs in the data family.
class VersionReader {
 public:
  VersionReader(const Engine& engine, const EngineSnapshot& snapshot) {
    Engine::IterateOptions options;
    options.same_prefix = true;
    options.snapshot = &snapshot;
    data_ = engine.NewIterator(Family::kData, options);
  }

  // Goes to the newest version of `key` at or before `at`; false if there is none.
  absl::StatusOr<bool> Seek(std::string_view key, Revision at) {
    prefix_.clear();
    AppendRowPrefix(key, &prefix_);
    EncodeDataRowOfPrefix(prefix_, at, &row_);
    data_->Seek(row_);
    KEELSON_RETURN_IF_ERROR(data_->status());
    if (!data_->Valid()) return false;
    std::string_view prefix;
    if (!DecodeDataRow(data_->key(), &prefix, &found_)) return Unreadable("the key space");
    if (prefix != prefix_) return false;
    if (!DecodeDataValue(data_->value(), &value_)) return Unreadable("the key space");
    return true;
  }

  [[nodiscard]] Revision found() const { return found_; }
  [[nodiscard]] bool deleted() const { return value_.deleted; }

  // What etcd stores for the version: the pair, or of a deletion only its key.
  const std::string& EtcdValue(std::string_view key) {
    pair_.Clear();
    pair_.set_key(key.data(), key.size());
    if (!value_.deleted) {
      pair_.set_create_revision(value_.create_revision);
      pair_.set_mod_revision(found_.main);
      pair_.set_version(value_.version);
      pair_.set_value(value_.value.data(), value_.value.size());
      pair_.set_lease(value_.lease);
    }
    bytes_.clear();
    pair_.AppendToString(&bytes_);
    return bytes_;
  }

 private:
  std::unique_ptr<EngineIterator> data_;
  std::string prefix_;
  std::string row_;
  Revision found_;
  DataValue value_;
  mvccpb::KeyValue pair_;
  std::string bytes_;
};

class EtcdImage final : public StoreImage {
 public:
  EtcdImage(std::shared_ptr<Generation> generation, std::unique_ptr<EngineSnapshot> snapshot)
      : generation_(std::move(generation)), snapshot_(std::move(snapshot)) {}

  absl::Status Load() {
    return VisitMeta(kStateRow, [&](std::string_view, std::string_view value) {
      return DecodeStateValue(value, &state_) ? absl::OkStatus() : Unreadable("the state");
    });
  }

  [[nodiscard]] int64_t revision() const override { return state_.revision; }
  [[nodiscard]] int64_t compacted() const override { return state_.compacted; }

  absl::Status VisitBuckets(
      absl::FunctionRef<absl::Status(std::string_view)> visit) const override {
    for (const std::string_view name : kBuckets) KEELSON_RETURN_IF_ERROR(visit(name));
    return absl::OkStatus();
  }
  absl::Status VisitBucket(std::string_view name, Visit visit) const override;
  [[nodiscard]] absl::StatusOr<uint32_t> HashKeys(int64_t revision) const override;

 private:
  // Calls `visit` with each row of kMeta that begins with `rows`, without those bytes.
  absl::Status VisitMeta(std::string_view rows, Visit visit) const;
  // The versions up to `last`; of those at or before the compacted revision only the ones that
  // were live at `live_at`.
  absl::Status VisitVersions(int64_t last, int64_t live_at, Visit visit) const;
  [[nodiscard]] absl::StatusOr<bool> AnyLive(int64_t at) const;
  absl::Status VisitMetaBucket(Visit visit) const;
  absl::Status VisitAuth(Visit visit) const;
  absl::Status VisitLeases(Visit visit) const;
  absl::Status VisitAlarms(Visit visit) const;

  const std::shared_ptr<Generation> generation_;
  const std::unique_ptr<EngineSnapshot> snapshot_;
  StateValue state_;
};

absl::Status EtcdImage::VisitMeta(std::string_view rows, Visit visit) const {
  Engine::IterateOptions options;
  options.upper_bound = PrefixEnd(std::string(rows));
  options.snapshot = snapshot_.get();
  const auto iterator = generation_->engine->NewIterator(Family::kMeta, options);
  for (iterator->Seek(rows); iterator->Valid(); iterator->Next()) {
    KEELSON_RETURN_IF_ERROR(visit(iterator->key().substr(rows.size()), iterator->value()));
  }
  return iterator->status();
}

absl::Status EtcdImage::VisitVersions(int64_t last, int64_t live_at, Visit visit) const {
  Engine::IterateOptions options;
  EncodeLogRow({.main = last + 1, .sub = 0}, &options.upper_bound);
  options.snapshot = snapshot_.get();
  const auto log = generation_->engine->NewIterator(Family::kLog, options);
  VersionReader versions(*generation_->engine, *snapshot_);
  for (log->Seek(""); log->Valid(); log->Next()) {
    Revision revision;
    LogValue change;
    if (!DecodeLogRow(log->key(), &revision) || !DecodeLogValue(log->value(), &change)) {
      return Unreadable("the change log");
    }
    const bool old = revision.main <= state_.compacted;
    if (old && change.deleted) continue;
    const Revision at = old ? Revision{.main = live_at, .sub = kLastSub} : revision;
    KEELSON_ASSIGN_OR_RETURN(const bool found, versions.Seek(change.user_key, at));
    if (!found || versions.found() != revision) {
      if (old) continue;
      return absl::DataLossError("the change log names a version that does not exist");
    }
    KEELSON_RETURN_IF_ERROR(
        visit(EtcdRevision(revision, versions.deleted()), versions.EtcdValue(change.user_key)));
  }
  return log->status();
}

// Whether there was any key at main revision `at`.
absl::StatusOr<bool> EtcdImage::AnyLive(int64_t at) const {
  Engine::IterateOptions options;
  options.snapshot = snapshot_.get();
  const auto data = generation_->engine->NewIterator(Family::kData, options);
  std::string prefix;
  std::string row;
  for (data->Seek(""); data->Valid(); data->Seek(prefix)) {
    std::string_view found;
    Revision revision;
    DataValue value;
    if (!DecodeDataRow(data->key(), &found, &revision)) return Unreadable("the key space");
    prefix = found;
    EncodeDataRowOfPrefix(prefix, {.main = at, .sub = kLastSub}, &row);
    data->Seek(row);
    if (data->Valid() && DecodeDataRow(data->key(), &found, &revision) && found == prefix) {
      if (!DecodeDataValue(data->value(), &value)) return Unreadable("the key space");
      if (!value.deleted) return true;
    }
    AdvancePastPrefix(&prefix);
  }
  KEELSON_RETURN_IF_ERROR(data->status());
  return false;
}

absl::StatusOr<uint32_t> EtcdImage::HashKeys(int64_t revision) const {
  if (revision > 0 && revision < state_.compacted) return errors::Compacted();
  if (revision > state_.revision) return errors::FutureRevision();
  const int64_t at = revision <= 0 ? state_.revision : revision;
  // Of what compaction left, etcd takes in what is live at `at`; but where nothing is, all of it.
  int64_t live_at = at;
  if (state_.compacted > 0) {
    KEELSON_ASSIGN_OR_RETURN(const bool any, AnyLive(at));
    if (!any) live_at = state_.compacted;
  }
  uint32_t hash = ExtendCrc32c(0, kKeyBucket);
  KEELSON_RETURN_IF_ERROR(
      VisitVersions(at, live_at, [&](std::string_view key, std::string_view value) {
        hash = ExtendCrc32c(ExtendCrc32c(hash, key), value);
        return absl::OkStatus();
      }));
  return hash;
}

absl::Status EtcdImage::VisitBucket(std::string_view name, Visit visit) const {
  if (name == kKeyBucket) return VisitVersions(state_.revision, state_.compacted, visit);
  if (name == "meta") return VisitMetaBucket(visit);
  if (name == "auth") return VisitAuth(visit);
  if (name == "authUsers") return VisitMeta("au", visit);
  if (name == "authRoles") return VisitMeta("ar", visit);
  if (name == "lease") return VisitLeases(visit);
  if (name == "alarm") return VisitAlarms(visit);
  return absl::OkStatus();
}

absl::Status EtcdImage::VisitMetaBucket(Visit visit) const {
  KEELSON_RETURN_IF_ERROR(visit("consistent_index", BigEndian64(state_.applied.index)));
  if (state_.compacted < 0) return absl::OkStatus();
  const std::string compacted = EtcdRevision({.main = state_.compacted, .sub = 0}, false);
  KEELSON_RETURN_IF_ERROR(visit("finishedCompactRev", compacted));
  return visit("scheduledCompactRev", compacted);
}

absl::Status EtcdImage::VisitAuth(Visit visit) const {
  return VisitMeta("as", [&](std::string_view, std::string_view value) -> absl::Status {
    if (value.empty()) return Unreadable("the state of authentication");
    KEELSON_RETURN_IF_ERROR(visit("authEnabled", value.substr(0, 1)));
    value.remove_prefix(1);
    uint64_t revision = 0;
    if (!TakeVarint(&value, &revision)) return Unreadable("the state of authentication");
    return visit("authRevision", BigEndian64(revision));
  });
}

absl::Status EtcdImage::VisitLeases(Visit visit) const {
  // Etcd orders ids as unsigned numbers: the negative ones come last.
  for (const bool negative : {false, true}) {
    KEELSON_RETURN_IF_ERROR(
        VisitMeta(kLeaseRows, [&](std::string_view id_bytes, std::string_view bytes) {
          int64_t id = 0;
          LeaseValue value;
          if (!DecodeLeaseRow(absl::StrCat(absl::string_view(kLeaseRows.data(), kLeaseRows.size()),
                                           absl::string_view(id_bytes.data(), id_bytes.size())),
                              &id) ||
              !DecodeLeaseValue(bytes, &value)) {
            return Unreadable("the leases");
          }
          if ((id < 0) != negative) return absl::OkStatus();
          leasepb::Lease lease;
          lease.set_id(id);
          lease.set_ttl(value.granted_ttl);
          lease.set_remainingttl(value.remaining_ttl);
          return visit(BigEndian64(static_cast<uint64_t>(id)), lease.SerializeAsString());
        }));
  }
  return absl::OkStatus();
}

absl::Status EtcdImage::VisitAlarms(Visit visit) const {
  // By the bytes of the message, whose order is not that of the numbers.
  std::map<std::string, bool> rows;
  KEELSON_RETURN_IF_ERROR(VisitMeta(kAlarmRows, [&](std::string_view bytes, std::string_view) {
    Alarm alarm;
    if (!DecodeAlarm(bytes, &alarm)) return Unreadable("the alarms");
    etcdserverpb::AlarmMember member;
    member.set_memberid(alarm.member_id);
    member.set_alarm(static_cast<etcdserverpb::AlarmType>(alarm.type));
    rows[member.SerializeAsString()] = true;
    return absl::OkStatus();
  }));
  for (const auto& [row, present] : rows) KEELSON_RETURN_IF_ERROR(visit(row, ""));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<StoreImage>> TakeEtcdImage(std::shared_ptr<Generation> generation) {
  std::unique_ptr<EngineSnapshot> snapshot = generation->engine->GetSnapshot();
  auto image = std::make_unique<EtcdImage>(std::move(generation), std::move(snapshot));
  KEELSON_RETURN_IF_ERROR(image->Load());
  return image;
}

}  // namespace keelson::kvstore::internal
