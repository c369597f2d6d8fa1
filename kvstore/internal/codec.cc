#include "kvstore/internal/codec.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

namespace keelson::kvstore::internal {
namespace {

// A user key's zero byte becomes 00 ff and the end is 00 01, so that no prefix begins
// another and bytewise order is kept.
constexpr char kEscape = '\x00';
constexpr char kEscapedZero = '\xff';
constexpr char kTerminator = '\x01';
constexpr char kPastTerminator = '\x02';

constexpr char kPutTag = 0;
constexpr char kDeleteTag = 1;

constexpr char kStateFormat = 1;

void StoreBigEndian64(uint64_t value, char* out) {
  for (int i = 7; i >= 0; --i, value >>= 8) out[i] = static_cast<char>(value & 0xff);
}

void StoreBigEndian32(uint32_t value, char* out) {
  for (int i = 3; i >= 0; --i, value >>= 8) out[i] = static_cast<char>(value & 0xff);
}

uint64_t LoadBigEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

void AppendBigEndian64(uint64_t value, std::string* out) {
  char bytes[8];
  StoreBigEndian64(value, bytes);
  out->append(bytes, sizeof bytes);
}

size_t StoreVarint(uint64_t value, char* out) {
  size_t n = 0;
  while (value >= 0x80) {
    out[n++] = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out[n++] = static_cast<char>(value);
  return n;
}

bool TakePositive(std::string_view* bytes, int64_t* value) {
  uint64_t raw = 0;
  if (!TakeVarint(bytes, &raw) || raw > std::numeric_limits<int64_t>::max()) return false;
  *value = static_cast<int64_t>(raw);
  return true;
}

bool TakeTag(std::string_view* bytes, bool* deleted) {
  if (bytes->empty() || (bytes->front() != kPutTag && bytes->front() != kDeleteTag)) return false;
  *deleted = bytes->front() == kDeleteTag;
  bytes->remove_prefix(1);
  return true;
}

// Flipping the sign bit makes bytewise order that of signed numbers.
uint64_t OrderedLeaseId(int64_t id) { return static_cast<uint64_t>(id) ^ (uint64_t{1} << 63); }

// Flags at the end of a state's value.
constexpr uint8_t kAutoLeave = 1;
constexpr uint8_t kCompactedAtZero = 2;

std::string IdRow(std::string_view rows, uint64_t ordered_id) {
  std::string out(rows);
  AppendBigEndian64(ordered_id, &out);
  return out;
}

bool DecodeIdRow(std::string_view rows, std::string_view row, uint64_t* ordered_id) {
  if (row.size() != rows.size() + 8 || row.substr(0, rows.size()) != rows) return false;
  *ordered_id = LoadBigEndian(row.substr(rows.size()));
  return true;
}

void AppendIds(const std::vector<raft::NodeId>& ids, std::string* out) {
  AppendVarint(ids.size(), out);
  for (const raft::NodeId id : ids) AppendVarint(id, out);
}

bool TakeIds(std::string_view* bytes, std::vector<raft::NodeId>* ids) {
  uint64_t count = 0;
  // Each id takes a byte at least, so a count beyond the rest is not worth an allocation.
  if (!TakeVarint(bytes, &count) || count > bytes->size()) return false;
  ids->resize(count);
  for (raft::NodeId& id : *ids) {
    if (!TakeVarint(bytes, &id)) return false;
  }
  return true;
}

}  // namespace

void AppendRowPrefix(std::string_view user_key, std::string* out) {
  while (!user_key.empty()) {
    const size_t zero = user_key.find(kEscape);
    if (zero == std::string_view::npos) {
      out->append(user_key);
      break;
    }
    out->append(user_key.substr(0, zero + 1));
    out->push_back(kEscapedZero);
    user_key.remove_prefix(zero + 1);
  }
  out->push_back(kEscape);
  out->push_back(kTerminator);
}

void EncodeDataRowOfPrefix(std::string_view prefix, Revision revision, std::string* out) {
  out->assign(prefix);
  char bytes[kRevisionBytes];
  StoreBigEndian64(~static_cast<uint64_t>(revision.main), bytes);
  StoreBigEndian32(~revision.sub, bytes + 8);
  out->append(bytes, sizeof bytes);
}

void EncodeDataRow(std::string_view user_key, Revision revision, std::string* out) {
  out->clear();
  AppendRowPrefix(user_key, out);
  char bytes[kRevisionBytes];
  StoreBigEndian64(~static_cast<uint64_t>(revision.main), bytes);
  StoreBigEndian32(~revision.sub, bytes + 8);
  out->append(bytes, sizeof bytes);
}

bool DecodeDataRow(std::string_view row, std::string_view* prefix, Revision* revision) {
  if (row.size() < kRevisionBytes + 2) return false;
  *prefix = row.substr(0, row.size() - kRevisionBytes);
  if ((*prefix)[prefix->size() - 2] != kEscape || prefix->back() != kTerminator) return false;
  const uint64_t main = ~LoadBigEndian(row.substr(prefix->size(), 8));
  if (main > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return false;
  revision->main = static_cast<int64_t>(main);
  revision->sub = ~static_cast<uint32_t>(LoadBigEndian(row.substr(prefix->size() + 8, 4)));
  return true;
}

bool DecodeRowPrefix(std::string_view prefix, std::string* scratch, std::string_view* user_key) {
  if (prefix.size() < 2) return false;
  std::string_view rest = prefix;
  size_t zero = rest.find(kEscape);
  if (zero == rest.size() - 2 && rest.back() == kTerminator) {
    *user_key = prefix.substr(0, zero);
    return true;
  }
  scratch->clear();
  for (; zero != std::string_view::npos && zero + 1 < rest.size(); zero = rest.find(kEscape)) {
    const char next = rest[zero + 1];
    if (next == kTerminator && zero + 2 == rest.size()) {
      scratch->append(rest.substr(0, zero));
      *user_key = *scratch;
      return true;
    }
    if (next != kEscapedZero) return false;
    scratch->append(rest.substr(0, zero + 1));
    rest.remove_prefix(zero + 2);
  }
  return false;
}

void AdvancePastPrefix(std::string* prefix) { prefix->back() = kPastTerminator; }

DataHeader::DataHeader(const DataValue& value) {
  bytes_[size_++] = value.deleted ? kDeleteTag : kPutTag;
  if (value.deleted) return;
  size_ += StoreVarint(static_cast<uint64_t>(value.create_revision), bytes_ + size_);
  size_ += StoreVarint(static_cast<uint64_t>(value.version), bytes_ + size_);
  size_ += StoreVarint(static_cast<uint64_t>(value.lease), bytes_ + size_);
}

bool DecodeDataValue(std::string_view bytes, DataValue* value) {
  *value = {};
  if (!TakeTag(&bytes, &value->deleted)) return false;
  if (value->deleted) return bytes.empty();
  uint64_t lease = 0;  // any 64 bits: clients choose negative ids too
  if (!TakePositive(&bytes, &value->create_revision) || !TakePositive(&bytes, &value->version) ||
      !TakeVarint(&bytes, &lease)) {
    return false;
  }
  value->lease = static_cast<int64_t>(lease);
  value->value = bytes;
  return true;
}

void EncodeLogRow(Revision revision, std::string* out) {
  char bytes[kRevisionBytes];
  StoreBigEndian64(static_cast<uint64_t>(revision.main), bytes);
  StoreBigEndian32(revision.sub, bytes + 8);
  out->assign(bytes, sizeof bytes);
}

bool DecodeLogRow(std::string_view row, Revision* revision) {
  if (row.size() != kRevisionBytes) return false;
  const uint64_t main = LoadBigEndian(row.substr(0, 8));
  if (main > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return false;
  revision->main = static_cast<int64_t>(main);
  revision->sub = static_cast<uint32_t>(LoadBigEndian(row.substr(8)));
  return true;
}

LogHeader::LogHeader(bool deleted, Revision previous) {
  bytes_[size_++] = deleted ? kDeleteTag : kPutTag;
  size_ += StoreVarint(static_cast<uint64_t>(previous.main), bytes_ + size_);
  size_ += StoreVarint(previous.sub, bytes_ + size_);
}

bool DecodeLogValue(std::string_view bytes, LogValue* value) {
  uint64_t sub = 0;
  if (!TakeTag(&bytes, &value->deleted) || !TakePositive(&bytes, &value->previous.main) ||
      !TakeVarint(&bytes, &sub) || sub > std::numeric_limits<uint32_t>::max()) {
    return false;
  }
  value->previous.sub = static_cast<uint32_t>(sub);
  value->user_key = bytes;
  return !bytes.empty();
}

std::string EncodeStateValue(const StateValue& state) {
  std::string out(1, kStateFormat);
  AppendVarint(state.applied.index, &out);
  AppendVarint(state.applied.term, &out);
  AppendVarint(static_cast<uint64_t>(state.revision), &out);
  AppendVarint(static_cast<uint64_t>(std::max<int64_t>(state.compacted, 0)), &out);
  const raft::ConfState& conf = state.applied.conf_state;
  AppendIds(conf.voters, &out);
  AppendIds(conf.learners, &out);
  AppendIds(conf.voters_outgoing, &out);
  AppendIds(conf.learners_next, &out);
  out.push_back(static_cast<char>((conf.auto_leave ? kAutoLeave : 0) |
                                  (state.compacted == 0 ? kCompactedAtZero : 0)));
  return out;
}

bool DecodeStateValue(std::string_view bytes, StateValue* state) {
  if (bytes.empty() || bytes.front() != kStateFormat) return false;
  bytes.remove_prefix(1);
  raft::ConfState& conf = state->applied.conf_state;
  if (!TakeVarint(&bytes, &state->applied.index) || !TakeVarint(&bytes, &state->applied.term) ||
      !TakePositive(&bytes, &state->revision) || !TakePositive(&bytes, &state->compacted) ||
      !TakeIds(&bytes, &conf.voters) || !TakeIds(&bytes, &conf.learners) ||
      !TakeIds(&bytes, &conf.voters_outgoing) || !TakeIds(&bytes, &conf.learners_next)) {
    return false;
  }
  if (bytes.size() != 1) return false;
  const auto flags = static_cast<uint8_t>(bytes.front());
  if (flags > (kAutoLeave | kCompactedAtZero)) return false;
  conf.auto_leave = (flags & kAutoLeave) != 0;
  const bool at_zero = (flags & kCompactedAtZero) != 0;
  if (at_zero && state->compacted != 0) return false;
  if (!at_zero && state->compacted == 0) state->compacted = -1;
  return state->revision >= 1 && state->compacted <= state->revision;
}

std::string EncodeInteger(int64_t value) {
  std::string out;
  AppendVarint(static_cast<uint64_t>(value), &out);
  return out;
}

bool DecodeInteger(std::string_view bytes, int64_t* value) {
  return TakePositive(&bytes, value) && bytes.empty();
}

std::string LeaseRow(int64_t id) { return IdRow(kLeaseRows, OrderedLeaseId(id)); }
std::string MemberRow(uint64_t id) { return IdRow(kMemberRows, id); }

bool DecodeLeaseRow(std::string_view row, int64_t* id) {
  uint64_t ordered = 0;
  if (!DecodeIdRow(kLeaseRows, row, &ordered)) return false;
  *id = static_cast<int64_t>(ordered ^ (uint64_t{1} << 63));
  return true;
}

bool DecodeMemberRow(std::string_view row, uint64_t* id) {
  return DecodeIdRow(kMemberRows, row, id);
}

std::string EncodeLeaseValue(const LeaseValue& value) {
  std::string out;
  AppendVarint(static_cast<uint64_t>(value.granted_ttl), &out);
  AppendVarint(static_cast<uint64_t>(value.remaining_ttl), &out);
  return out;
}

bool DecodeLeaseValue(std::string_view bytes, LeaseValue* value) {
  return TakePositive(&bytes, &value->granted_ttl) && TakePositive(&bytes, &value->remaining_ttl) &&
         bytes.empty();
}

std::string AlarmRow(const Alarm& alarm) {
  std::string out = IdRow(kAlarmRows, alarm.member_id);
  AppendVarint(static_cast<uint64_t>(alarm.type), &out);
  return out;
}

bool DecodeAlarm(std::string_view bytes, Alarm* alarm) {
  if (bytes.size() < 8) return false;
  alarm->member_id = LoadBigEndian(bytes.substr(0, 8));
  bytes.remove_prefix(8);
  uint64_t type = 0;
  if (!TakeVarint(&bytes, &type) || !bytes.empty()) return false;
  if (type > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) return false;
  alarm->type = static_cast<int32_t>(type);
  return true;
}

std::string AttachmentRows(int64_t lease) { return IdRow("k", OrderedLeaseId(lease)); }

void EncodeAttachmentRow(int64_t lease, std::string_view user_key, std::string* out) {
  *out = AttachmentRows(lease);
  out->append(user_key);
}

std::string PrefixEnd(std::string prefix) {
  while (!prefix.empty() && prefix.back() == '\xff') prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

void AppendVarint(uint64_t value, std::string* out) {
  char bytes[10];
  out->append(bytes, StoreVarint(value, bytes));
}

bool TakeVarint(std::string_view* bytes, uint64_t* value) {
  *value = 0;
  for (size_t n = 0; n < 10 && n < bytes->size(); ++n) {
    const auto byte = static_cast<uint8_t>((*bytes)[n]);
    if (n == 9 && byte > 1) return false;  // beyond 64 bits
    if (n > 0 && byte == 0) return false;  // not the shortest form
    *value |= static_cast<uint64_t>(byte & 0x7f) << (7 * n);
    if (byte < 0x80) {
      bytes->remove_prefix(n + 1);
      return true;
    }
  }
  return false;
}

}  // namespace keelson::kvstore::internal
