// Rows of the engine as bytes. The grammar, with examples: docs/format.md.
//
// Decoders accept any bytes and return false for those that no encoder makes; what they
// give out points into the input.
#ifndef KEELSON_KVSTORE_INTERNAL_CODEC_H_
#define KEELSON_KVSTORE_INTERNAL_CODEC_H_

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "raft/types.h"

namespace keelson::kvstore::internal {

// Where a change stands: the command's main revision, and the change's number inside it.
struct Revision {
  int64_t main = 0;
  uint32_t sub = 0;

  friend auto operator<=>(const Revision&, const Revision&) = default;
};

inline constexpr size_t kRevisionBytes = 12;

// ---- kData: prefix(user key) revision, newest first -> data value ----

// Appends the order-preserving, prefix-free form of `user_key`.
void AppendRowPrefix(std::string_view user_key, std::string* out);

// Sets `out` to the row of `user_key` at `revision`. Seeking there finds the newest version
// at or before it.
void EncodeDataRow(std::string_view user_key, Revision revision, std::string* out);
// The same from a prefix that is known.
void EncodeDataRowOfPrefix(std::string_view prefix, Revision revision, std::string* out);

// Splits a row.
bool DecodeDataRow(std::string_view row, std::string_view* prefix, Revision* revision);
// Reads the user key out of a prefix: a view into `prefix`, or into `scratch` when the key
// had to be unescaped.
bool DecodeRowPrefix(std::string_view prefix, std::string* scratch, std::string_view* user_key);
// The first row behind all versions of the key: changes a prefix in place.
void AdvancePastPrefix(std::string* prefix);

struct DataValue {
  bool deleted = false;  // the key ends here; nothing below is set
  int64_t create_revision = 0;
  int64_t version = 0;
  int64_t lease = 0;
  std::string_view value;
};

// The part of the row's value before the user's bytes.
class DataHeader {
 public:
  explicit DataHeader(const DataValue& value);
  [[nodiscard]] std::string_view view() const { return {bytes_, size_}; }

 private:
  char bytes_[31];
  size_t size_ = 0;
};
bool DecodeDataValue(std::string_view bytes, DataValue* value);

// ---- kLog: revision, oldest first -> what changed ----

void EncodeLogRow(Revision revision, std::string* out);
bool DecodeLogRow(std::string_view row, Revision* revision);

struct LogValue {
  bool deleted = false;
  Revision previous;  // of the live version that this change replaced; main 0: none
  std::string_view user_key;
};

// The part of the value before the user's key.
class LogHeader {
 public:
  LogHeader(bool deleted, Revision previous);
  [[nodiscard]] std::string_view view() const { return {bytes_, size_}; }

 private:
  char bytes_[21];
  size_t size_ = 0;
};
bool DecodeLogValue(std::string_view bytes, LogValue* value);

// ---- kMeta ----

inline constexpr std::string_view kStateRow = "state";
inline constexpr std::string_view kSweptRow = "swept";
inline constexpr std::string_view kLiveKeysRow = "count";

// Written by every batch: where the log and the key space stand.
struct StateValue {
  raft::SnapshotMetadata applied;
  int64_t revision = 1;
  int64_t compacted = -1;  // -1: nothing has been compacted

  friend bool operator==(const StateValue&, const StateValue&) = default;
};
std::string EncodeStateValue(const StateValue& state);
bool DecodeStateValue(std::string_view bytes, StateValue* state);

std::string EncodeInteger(int64_t value);  // not negative
bool DecodeInteger(std::string_view bytes, int64_t* value);

// Rows of leases and members, ascending by id.
std::string LeaseRow(int64_t id);
std::string MemberRow(uint64_t id);
bool DecodeLeaseRow(std::string_view row, int64_t* id);
bool DecodeMemberRow(std::string_view row, uint64_t* id);
inline constexpr std::string_view kLeaseRows = "l";
inline constexpr std::string_view kMemberRows = "m";

struct LeaseValue {
  int64_t granted_ttl = 0;    // seconds
  int64_t remaining_ttl = 0;  // seconds; 0: no checkpoint

  friend bool operator==(const LeaseValue&, const LeaseValue&) = default;
};
std::string EncodeLeaseValue(const LeaseValue& value);
bool DecodeLeaseValue(std::string_view bytes, LeaseValue* value);

// An alarm that a member has raised: an empty row for each.
struct Alarm {
  uint64_t member_id = 0;
  int32_t type = 0;  // etcdserverpb.AlarmType

  friend auto operator<=>(const Alarm&, const Alarm&) = default;
};
inline constexpr std::string_view kAlarmRows = "n";
std::string AlarmRow(const Alarm& alarm);
// From a row without kAlarmRows.
bool DecodeAlarm(std::string_view bytes, Alarm* alarm);

// One empty row for each key attached to a lease, ascending by key.
std::string AttachmentRows(int64_t lease);
void EncodeAttachmentRow(int64_t lease, std::string_view user_key, std::string* out);

// The first string behind all that begin with `prefix`, or "" if there is none.
std::string PrefixEnd(std::string prefix);

// ---- Varints, also used by the snapshot stream ----

void AppendVarint(uint64_t value, std::string* out);
// Takes a varint off the front of `bytes`.
bool TakeVarint(std::string_view* bytes, uint64_t* value);

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_CODEC_H_
