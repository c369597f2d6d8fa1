#include "kvstore/internal/generation.h"

#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kvstore/internal/view.h"

namespace keelson::kvstore::internal {
namespace {

// The end of the range that holds every key from its beginning on.
constexpr std::string_view kEveryKey("\0", 1);

absl::Status Damaged(std::string_view what) {
  return absl::DataLossError(
      absl::StrCat("the stored ", absl::string_view(what.data(), what.size()), " cannot be read"));
}

// Reads the row `key` with `decode`; an absent row leaves `value` as it is.
template <typename Value, typename Decode>
absl::Status LoadRow(const Engine& engine, std::string_view key, Decode decode, Value* value) {
  bool good = true;
  KEELSON_RETURN_IF_ERROR(
      engine.Get(Family::kMeta, key, [&](std::string_view bytes) { good = decode(bytes, value); }));
  return good ? absl::OkStatus() : Damaged(key);
}

// Calls `take(row, value)` for each row that begins with `rows`, until it returns false.
template <typename Take>
absl::Status LoadRows(const Engine& engine, std::string_view rows, std::string_view what,
                      Take take) {
  Engine::IterateOptions options;
  options.upper_bound = PrefixEnd(std::string(rows));
  const auto iterator = engine.NewIterator(Family::kMeta, options);
  for (iterator->Seek(rows); iterator->Valid(); iterator->Next()) {
    if (!take(iterator->key(), iterator->value())) return Damaged(what);
  }
  return iterator->status();
}

}  // namespace

void SideTables::Publish(const LeaseChanges& leases, const MemberChanges& members) {
  absl::MutexLock lock(&mu_);
  for (const auto& [id, value] : leases) {
    if (value.has_value()) {
      leases_[id] = *value;
    } else {
      leases_.erase(id);
    }
  }
  for (const auto& [id, value] : members) members_[id] = value;
}

void SideTables::Publish(const AlarmChanges& alarms) {
  absl::MutexLock lock(&mu_);
  for (const auto& [alarm, raised] : alarms) {
    if (raised) {
      alarms_.insert(alarm);
    } else {
      alarms_.erase(alarm);
    }
  }
}

std::set<Alarm> SideTables::Alarms() const {
  absl::MutexLock lock(&mu_);
  return alarms_;
}

std::optional<LeaseValue> SideTables::Lease(int64_t id) const {
  absl::MutexLock lock(&mu_);
  const auto it = leases_.find(id);
  if (it == leases_.end()) return std::nullopt;
  return it->second;
}

std::vector<Store::LeaseInfo> SideTables::Leases() const {
  absl::MutexLock lock(&mu_);
  std::vector<Store::LeaseInfo> out;
  out.reserve(leases_.size());
  for (const auto& [id, value] : leases_) {
    out.push_back({.id = id,
                   .granted_ttl_seconds = value.granted_ttl,
                   .remaining_ttl_seconds = value.remaining_ttl});
  }
  return out;
}

MemberMap SideTables::Members() const {
  absl::MutexLock lock(&mu_);
  return members_;
}

namespace {

// An import stores no count.
absl::StatusOr<int64_t> CountLiveKeys(const Engine& engine, const Generation& generation) {
  int64_t keys = 0;
  KEELSON_RETURN_IF_ERROR(
      View(engine, generation.latest)
          .Scan({"", kEveryKey}, generation.loaded.revision, Need::kMetadata, [&keys](const Pair&) {
            ++keys;
            return true;
          }));
  return keys;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Generation>> Generation::Load(std::unique_ptr<Engine> engine,
                                                             size_t cached_keys) {
  auto generation = std::make_shared<Generation>(cached_keys);
  KEELSON_RETURN_IF_ERROR(LoadRow(*engine, kStateRow, DecodeStateValue, &generation->loaded));
  {
    absl::MutexLock lock(&generation->sweep_mu);
    KEELSON_RETURN_IF_ERROR(LoadRow(*engine, kSweptRow, DecodeInteger, &generation->swept));
  }

  LeaseChanges leases;
  KEELSON_RETURN_IF_ERROR(
      LoadRows(*engine, kLeaseRows, "leases", [&](std::string_view row, std::string_view bytes) {
        int64_t id = 0;
        LeaseValue value;
        if (!DecodeLeaseRow(row, &id) || !DecodeLeaseValue(bytes, &value)) return false;
        leases[id] = value;
        return true;
      }));
  MemberChanges members;
  KEELSON_RETURN_IF_ERROR(
      LoadRows(*engine, kMemberRows, "members", [&](std::string_view row, std::string_view bytes) {
        Store::MemberAttributes member;
        if (!DecodeMemberRow(row, &member.id) || !DecodeMember(bytes, &member)) return false;
        members[member.id] = std::move(member);
        return true;
      }));
  AlarmChanges alarms;
  KEELSON_RETURN_IF_ERROR(
      LoadRows(*engine, kAlarmRows, "alarms", [&](std::string_view row, std::string_view) {
        Alarm alarm;
        if (!DecodeAlarm(row.substr(kAlarmRows.size()), &alarm)) return false;
        alarms[alarm] = true;
        return true;
      }));
  generation->tables.Publish(alarms);
  KEELSON_RETURN_IF_ERROR(LoadRows(*engine, v2::KeyStore::kRowPrefix, "version 2 keys",
                                   [&](std::string_view row, std::string_view bytes) {
                                     return generation->v2->RestoreRow(row, bytes);
                                   }));
  KEELSON_RETURN_IF_ERROR(LoadRows(*engine, auth::AuthStore::kRowPrefix, "users and roles",
                                   [&](std::string_view row, std::string_view bytes) {
                                     return generation->auth->RestoreRow(row, bytes);
                                   }));
  generation->tables.Publish(leases, members);
  int64_t& stored = generation->stored_live_keys;
  KEELSON_RETURN_IF_ERROR(LoadRow(*engine, kLiveKeysRow, DecodeInteger, &stored));
  generation->live_keys = stored;
  if (stored < 0) {
    KEELSON_ASSIGN_OR_RETURN(generation->live_keys, CountLiveKeys(*engine, *generation));
  }
  generation->revision = generation->loaded.revision;
  generation->compacted = generation->loaded.compacted;
  generation->engine = std::move(engine);
  return generation;
}

}  // namespace keelson::kvstore::internal
