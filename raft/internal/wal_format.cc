#include "raft/internal/wal_format.h"

#include <array>
#include <cstring>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/crc32c.h"
#include "base/little_endian.h"
#include "base/status.h"

namespace keelson::raft::wal {
namespace {

constexpr std::string_view kMagic = "KEELWAL\n";
constexpr size_t kVersionOffset = 13;  // of the version byte in a header

uint32_t HeaderCrc(const char* header, const Binding& binding) {
  std::array<char, 24> prefix;
  StoreLe64(prefix.data(), binding.incarnation);
  StoreLe64(prefix.data() + 8, binding.sequence);
  StoreLe64(prefix.data() + 16, binding.offset);
  const uint32_t crc = Crc32c({prefix.data(), prefix.size()});
  return ExtendCrc32c(crc, {header + 4, kHeaderBytes - 4});
}

absl::Status WrongLength(std::string_view what, size_t got) {
  return absl::DataLossError(absl::StrCat(absl::string_view(what.data(), what.size()),
                                          " record has an impossible length of ", got, " bytes"));
}

}  // namespace

std::string_view RecordTypeName(uint8_t type) {
  switch (static_cast<RecordType>(type)) {
    case RecordType::kSegmentHead:
      return "segment-head";
    case RecordType::kEntry:
      return "entry";
    case RecordType::kHardState:
      return "hard-state";
    case RecordType::kStart:
      return "start";
    case RecordType::kReset:
      return "reset";
    case RecordType::kGroupHead:
      return "group-head";
    case RecordType::kGroupsRemoved:
      return "groups-removed";
  }
  return "reserved";
}

uint32_t EncodeHeader(const RecordHeader& header, const Binding& binding, char* out) {
  StoreLe32(out + 4, header.payload_crc);
  StoreLe32(out + 8, header.payload_bytes);
  out[12] = static_cast<char>(header.type);
  out[kVersionOffset] = static_cast<char>(header.version);
  out[14] = 0;
  out[15] = 0;
  StoreLe64(out + 16, header.group);
  StoreLe32(out + 24, header.previous_crc);
  StoreLe32(out + 28, header.synced_units);
  const uint32_t crc = HeaderCrc(out, binding);
  StoreLe32(out, crc);
  return crc;
}

std::optional<RecordHeader> DecodeHeader(std::string_view bytes, const Binding& binding) {
  if (bytes.size() < kHeaderBytes) return std::nullopt;
  const char* in = bytes.data();
  const RecordHeader header = {
      .crc = LoadLe32(in),
      .payload_crc = LoadLe32(in + 4),
      .payload_bytes = LoadLe32(in + 8),
      .type = static_cast<uint8_t>(in[12]),
      .version = static_cast<uint8_t>(in[kVersionOffset]),
      .group = LoadLe64(in + 16),
      .previous_crc = LoadLe32(in + 24),
      .synced_units = LoadLe32(in + 28),
  };
  // The cheap tests first: recovery asks this of every aligned place behind the end.
  if (header.version != kVersion || in[14] != 0 || in[15] != 0) return std::nullopt;
  if (header.payload_bytes > kMaxPayloadBytes) return std::nullopt;
  if (header.synced_units * uint64_t{kAlignment} > binding.offset) return std::nullopt;
  if (header.crc != HeaderCrc(in, binding)) return std::nullopt;
  return header;
}

bool HasSegmentMagic(std::string_view file) {
  return file.size() >= kHeaderBytes + kMagic.size() &&
         file.substr(kHeaderBytes, kMagic.size()) == kMagic;
}

void EncodeSegmentHead(const SegmentHead& head, char* out) {
  std::memcpy(out, kMagic.data(), kMagic.size());
  StoreLe64(out + 8, head.cluster_id);
  StoreLe64(out + 16, head.node_id);
  StoreLe64(out + 24, head.incarnation);
  StoreLe64(out + 32, head.sequence);
  StoreLe64(out + 40, head.next_index);
  StoreLe64(out + 48, head.segment_bytes);
}

absl::StatusOr<SegmentHead> DecodeSegmentHead(std::string_view payload) {
  if (payload.size() != kSegmentHeadBytes) return WrongLength("segment-head", payload.size());
  if (payload.substr(0, kMagic.size()) != kMagic) {
    return absl::DataLossError("segment-head record without the magic bytes");
  }
  const char* in = payload.data();
  const SegmentHead head = {
      .cluster_id = LoadLe64(in + 8),
      .node_id = LoadLe64(in + 16),
      .incarnation = LoadLe64(in + 24),
      .sequence = LoadLe64(in + 32),
      .next_index = LoadLe64(in + 40),
      .segment_bytes = LoadLe64(in + 48),
  };
  if (head.sequence == 0 || head.next_index == 0) {
    return absl::DataLossError("segment-head record with sequence or index 0");
  }
  return head;
}

void EncodeEntryMeta(const Entry& entry, char* out) {
  StoreLe64(out, entry.index);
  StoreLe64(out + 8, entry.term);
  StoreLe64(out + 16, static_cast<uint64_t>(entry.type));
}

absl::StatusOr<Entry> DecodeEntry(std::string_view payload) {
  if (payload.size() < kEntryMetaBytes) return WrongLength("entry", payload.size());
  const char* in = payload.data();
  const uint64_t type = LoadLe64(in + 16);
  if (type > static_cast<uint64_t>(EntryType::kConfChangeV2)) {
    return absl::DataLossError(absl::StrCat("entry record of unknown entry type ", type));
  }
  return Entry{.term = LoadLe64(in + 8),
               .index = LoadLe64(in),
               .type = static_cast<EntryType>(type),
               .data = Payload(std::string(payload.substr(kEntryMetaBytes)))};
}

size_t HardStateBytes(const HardState& state) {
  return state.incarnation == 0 && !state.recovering ? kHardStateBytes : kLaterHardStateBytes;
}

void EncodeHardState(const HardState& state, char* out) {
  StoreLe64(out, state.term);
  StoreLe64(out + 8, state.vote);
  StoreLe64(out + 16, state.commit);
  if (HardStateBytes(state) == kHardStateBytes) return;
  StoreLe64(out + 24, state.incarnation);
  StoreLe64(out + 32, state.recovering ? 1 : 0);
}

absl::StatusOr<HardState> DecodeHardState(std::string_view payload) {
  if (payload.size() != kHardStateBytes && payload.size() != kLaterHardStateBytes) {
    return WrongLength("hard-state", payload.size());
  }
  const char* in = payload.data();
  HardState state = {.term = LoadLe64(in), .vote = LoadLe64(in + 8), .commit = LoadLe64(in + 16)};
  if (payload.size() == kHardStateBytes) return state;
  state.incarnation = LoadLe64(in + 24);
  const uint64_t flags = LoadLe64(in + 32);
  if (flags > 1) return absl::DataLossError("hard-state record with reserved bits set");
  state.recovering = flags == 1;
  return state;
}

namespace {

// Index, term, auto_leave and four counts, then the members.
constexpr size_t kMetadataFixedBytes = 8 + 8 + 8 + 4 * 4;

}  // namespace

std::string EncodeSnapshotMetadata(const SnapshotMetadata& metadata) {
  const ConfState& conf = metadata.conf_state;
  const std::array<const std::vector<NodeId>*, 4> lists = {
      &conf.voters, &conf.learners, &conf.voters_outgoing, &conf.learners_next};
  size_t members = 0;
  for (const auto* list : lists) members += list->size();

  std::string out(kMetadataFixedBytes + 8 * members, '\0');
  StoreLe64(out.data(), metadata.index);
  StoreLe64(out.data() + 8, metadata.term);
  StoreLe64(out.data() + 16, conf.auto_leave ? 1 : 0);
  size_t position = kMetadataFixedBytes;
  for (size_t i = 0; i < lists.size(); ++i) {
    StoreLe32(out.data() + 24 + 4 * i, static_cast<uint32_t>(lists[i]->size()));
    for (const NodeId id : *lists[i]) {
      StoreLe64(out.data() + position, id);
      position += 8;
    }
  }
  return out;
}

absl::StatusOr<SnapshotMetadata> DecodeSnapshotMetadata(std::string_view payload) {
  if (payload.size() < kMetadataFixedBytes) return WrongLength("snapshot", payload.size());
  const char* in = payload.data();
  SnapshotMetadata metadata = {.index = LoadLe64(in), .term = LoadLe64(in + 8), .conf_state = {}};
  const uint64_t auto_leave = LoadLe64(in + 16);
  if (auto_leave > 1) return absl::DataLossError("snapshot record with reserved bits set");
  metadata.conf_state.auto_leave = auto_leave == 1;

  ConfState& conf = metadata.conf_state;
  const std::array<std::vector<NodeId>*, 4> lists = {&conf.voters, &conf.learners,
                                                     &conf.voters_outgoing, &conf.learners_next};
  uint64_t members = 0;
  for (size_t i = 0; i < lists.size(); ++i) members += LoadLe32(in + 24 + 4 * i);
  if (payload.size() != kMetadataFixedBytes + 8 * members) {
    return WrongLength("snapshot", payload.size());
  }
  const char* next = in + kMetadataFixedBytes;
  for (size_t i = 0; i < lists.size(); ++i) {
    for (uint32_t n = LoadLe32(in + 24 + 4 * i); n > 0; --n, next += 8) {
      lists[i]->push_back(LoadLe64(next));
    }
  }
  return metadata;
}

std::string EncodeGroupHead(const GroupHead& head) {
  std::string out(8 + kLaterHardStateBytes, '\0');
  StoreLe64(out.data(), head.next_index);
  StoreLe64(out.data() + 8, head.hard_state.term);
  StoreLe64(out.data() + 16, head.hard_state.vote);
  StoreLe64(out.data() + 24, head.hard_state.commit);
  StoreLe64(out.data() + 32, head.hard_state.incarnation);
  StoreLe64(out.data() + 40, head.hard_state.recovering ? 1 : 0);
  return out + EncodeSnapshotMetadata(head.start);
}

absl::StatusOr<GroupHead> DecodeGroupHead(std::string_view payload) {
  if (payload.size() < 8 + kLaterHardStateBytes) return WrongLength("group-head", payload.size());
  GroupHead head;
  head.next_index = LoadLe64(payload.data());
  KEELSON_ASSIGN_OR_RETURN(head.hard_state,
                           DecodeHardState(payload.substr(8, kLaterHardStateBytes)));
  KEELSON_ASSIGN_OR_RETURN(head.start,
                           DecodeSnapshotMetadata(payload.substr(8 + kLaterHardStateBytes)));
  if (head.next_index <= head.start.index || head.next_index == kManyGroups) {
    return absl::DataLossError(absl::StrCat("group-head record with next index ", head.next_index,
                                            " and start ", head.start.index));
  }
  return head;
}

std::string EncodeGroupRanges(const GroupRanges& ranges) {
  std::string out(16 * ranges.size(), '\0');
  char* next = out.data();
  for (const auto& [first, last] : ranges) {
    StoreLe64(next, first);
    StoreLe64(next + 8, last);
    next += 16;
  }
  return out;
}

absl::StatusOr<GroupRanges> DecodeGroupRanges(std::string_view payload) {
  if (payload.empty() || payload.size() % 16 != 0) {
    return WrongLength("groups-removed", payload.size());
  }
  GroupRanges ranges;
  for (size_t at = 0; at < payload.size(); at += 16) {
    const GroupId first = LoadLe64(payload.data() + at);
    const GroupId last = LoadLe64(payload.data() + at + 8);
    if (first == 0 || first > last || (!ranges.empty() && first <= ranges.back().second)) {
      return absl::DataLossError("groups-removed record with ranges out of order");
    }
    ranges.emplace_back(first, last);
  }
  return ranges;
}

std::string SegmentName(uint64_t sequence) { return absl::StrFormat("%016x.wal", sequence); }

std::optional<uint64_t> ParseSegmentName(std::string_view name) {
  constexpr std::string_view kSuffix = ".wal";
  constexpr size_t kDigits = 16;
  if (name.size() != kDigits + kSuffix.size() || !name.ends_with(kSuffix)) return std::nullopt;
  uint64_t sequence = 0;
  for (const char c : name.substr(0, kDigits)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return std::nullopt;
    sequence = sequence * 16 + static_cast<uint64_t>(digit);
  }
  return sequence;
}

}  // namespace keelson::raft::wal
