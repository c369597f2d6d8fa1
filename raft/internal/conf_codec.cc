// Conf changes as bytes, in raftpb's protobuf encoding, and as functions on ConfState.
//
//   ConfChangeV2  1 transition (varint), 2 changes (repeated message), 3 context (bytes)
//     change      1 type (varint), 2 node_id (varint)
//   ConfChange    1 id (varint), 2 type (varint), 3 node_id (varint), 4 context (bytes)
//
// Unknown fields are skipped; a repeated scalar field's last value holds.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "raft/core.h"
#include "raft/internal/conf_change.h"
#include "raft/internal/tracker.h"

namespace keelson::raft {
namespace {

constexpr uint32_t kVarint = 0;
constexpr uint32_t kFixed64 = 1;
constexpr uint32_t kBytes = 2;
constexpr uint32_t kFixed32 = 5;

void PutVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void PutVarintField(std::string& out, uint32_t field, uint64_t value) {
  PutVarint(out, field << 3 | kVarint);
  PutVarint(out, value);
}

void PutBytesField(std::string& out, uint32_t field, std::string_view bytes) {
  PutVarint(out, field << 3 | kBytes);
  PutVarint(out, bytes.size());
  out.append(bytes);
}

// Reads the fields of one message in order.
class FieldReader {
 public:
  explicit FieldReader(std::string_view bytes) : bytes_(bytes) {}

  // False at the end, or when the bytes are malformed; see ok().
  bool Next() {
    if (!ok_ || bytes_.empty()) return false;
    const std::optional<uint64_t> tag = TakeVarint();
    if (!tag.has_value() || *tag >> 3 == 0 || *tag >> 3 > 0x1fffffff) return ok_ = false;
    field_ = static_cast<uint32_t>(*tag >> 3);
    type_ = static_cast<uint32_t>(*tag & 7);
    switch (type_) {
      case kVarint: {
        const std::optional<uint64_t> value = TakeVarint();
        if (!value.has_value()) return ok_ = false;
        value_ = *value;
        return true;
      }
      case kBytes: {
        const std::optional<uint64_t> size = TakeVarint();
        return ok_ = size.has_value() && Take(*size);
      }
      case kFixed64:
        return ok_ = Take(8);
      case kFixed32:
        return ok_ = Take(4);
      default:
        return ok_ = false;
    }
  }

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool IsVarint(uint32_t field) const { return field_ == field && type_ == kVarint; }
  [[nodiscard]] bool IsBytes(uint32_t field) const { return field_ == field && type_ == kBytes; }
  [[nodiscard]] uint64_t value() const { return value_; }
  [[nodiscard]] std::string_view bytes() const { return taken_; }

 private:
  std::optional<uint64_t> TakeVarint() {
    uint64_t value = 0;
    for (size_t i = 0; i < 10 && i < bytes_.size(); ++i) {
      const auto byte = static_cast<uint8_t>(bytes_[i]);
      if (i == 9 && byte > 1) return std::nullopt;  // Over 64 bits.
      value |= uint64_t{byte & 0x7fu} << (7 * i);
      if (byte < 0x80) {
        bytes_.remove_prefix(i + 1);
        return value;
      }
    }
    return std::nullopt;
  }

  bool Take(uint64_t size) {
    if (size > bytes_.size()) return false;
    taken_ = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return true;
  }

  std::string_view bytes_;
  std::string_view taken_;
  uint64_t value_ = 0;
  uint32_t field_ = 0;
  uint32_t type_ = 0;
  bool ok_ = true;
};

absl::StatusOr<ConfChangeType> ToChangeType(uint64_t value) {
  if (value > static_cast<uint64_t>(ConfChangeType::kAddLearner)) {
    return absl::DataLossError(absl::StrCat("conf change of unknown type ", value));
  }
  return static_cast<ConfChangeType>(value);
}

absl::Status Malformed() { return absl::DataLossError("malformed conf change"); }

absl::StatusOr<ConfChangeSingle> DecodeSingle(std::string_view bytes) {
  ConfChangeSingle single;
  FieldReader reader(bytes);
  while (reader.Next()) {
    if (reader.IsVarint(1)) {
      KEELSON_ASSIGN_OR_RETURN(single.type, ToChangeType(reader.value()));
    } else if (reader.IsVarint(2)) {
      single.node = reader.value();
    }
  }
  if (!reader.ok()) return Malformed();
  return single;
}

absl::StatusOr<ConfChange> DecodeV1(std::string_view bytes) {
  ConfChange change;
  ConfChangeSingle single;
  FieldReader reader(bytes);
  while (reader.Next()) {
    if (reader.IsVarint(2)) {
      KEELSON_ASSIGN_OR_RETURN(single.type, ToChangeType(reader.value()));
    } else if (reader.IsVarint(3)) {
      single.node = reader.value();
    } else if (reader.IsBytes(4)) {
      change.context = std::string(reader.bytes());
    }
  }
  if (!reader.ok()) return Malformed();
  change.changes.push_back(single);
  return change;
}

absl::StatusOr<ConfChange> DecodeV2(std::string_view bytes) {
  ConfChange change;
  FieldReader reader(bytes);
  while (reader.Next()) {
    if (reader.IsVarint(1)) {
      if (reader.value() > static_cast<uint64_t>(ConfChangeTransition::kJointExplicit)) {
        return absl::DataLossError(
            absl::StrCat("conf change of unknown transition ", reader.value()));
      }
      change.transition = static_cast<ConfChangeTransition>(reader.value());
    } else if (reader.IsBytes(2)) {
      KEELSON_ASSIGN_OR_RETURN(ConfChangeSingle single, DecodeSingle(reader.bytes()));
      change.changes.push_back(single);
    } else if (reader.IsBytes(3)) {
      change.context = std::string(reader.bytes());
    }
  }
  if (!reader.ok()) return Malformed();
  return change;
}

}  // namespace

std::string EncodeConfChange(const ConfChange& change) {
  std::string out;
  // Leaving a joint configuration has no payload at all, so that no quota refuses it.
  if (change == ConfChange()) return out;
  PutVarintField(out, 1, static_cast<uint64_t>(change.transition));
  for (const ConfChangeSingle& single : change.changes) {
    std::string bytes;
    PutVarintField(bytes, 1, static_cast<uint64_t>(single.type));
    PutVarintField(bytes, 2, single.node);
    PutBytesField(out, 2, bytes);
  }
  if (!change.context.empty()) PutBytesField(out, 3, change.context);
  return out;
}

absl::StatusOr<ConfChange> DecodeConfChange(const Entry& entry) {
  switch (entry.type) {
    case EntryType::kConfChange:
      return DecodeV1(entry.data.view());
    case EntryType::kConfChangeV2:
      return DecodeV2(entry.data.view());
    default:
      return absl::DataLossError(absl::StrCat("entry ", entry.index, " is no conf change"));
  }
}

absl::StatusOr<ConfState> ApplyToConfState(const ConfState& state, const ConfChange& change) {
  internal::Tracker tracker(1, 0);
  KEELSON_ASSIGN_OR_RETURN(internal::Membership now, internal::Changer(tracker, 0).Restore(state));
  tracker.Switch(std::move(now.config), std::move(now.progress));
  KEELSON_ASSIGN_OR_RETURN(internal::Membership next, internal::Changer(tracker, 0).Apply(change));
  return std::move(next.config);
}

}  // namespace keelson::raft
