#include "raft/types.h"

#include <array>

namespace keelson::raft {
namespace {

// Length of `value` as a protobuf varint.
size_t VarintBytes(uint64_t value) {
  size_t bytes = 1;
  for (; value >= 0x80; value >>= 7) ++bytes;
  return bytes;
}

constexpr std::array<std::string_view, 24> kNames = {"MsgHup",
                                                     "MsgBeat",
                                                     "MsgProp",
                                                     "MsgApp",
                                                     "MsgAppResp",
                                                     "MsgVote",
                                                     "MsgVoteResp",
                                                     "MsgSnap",
                                                     "MsgHeartbeat",
                                                     "MsgHeartbeatResp",
                                                     "MsgUnreachable",
                                                     "MsgSnapStatus",
                                                     "MsgCheckQuorum",
                                                     "MsgTransferLeader",
                                                     "MsgTimeoutNow",
                                                     "MsgReadIndex",
                                                     "MsgReadIndexResp",
                                                     "MsgPreVote",
                                                     "MsgPreVoteResp",
                                                     "MsgStorageAppend",
                                                     "MsgStorageAppendResp",
                                                     "MsgStorageApply",
                                                     "MsgStorageApplyResp",
                                                     "MsgForgetLeader"};

}  // namespace

std::string_view MessageTypeName(MessageType type) {
  const auto number = static_cast<size_t>(type);
  return number < kNames.size() ? kNames[number] : "MsgUnknown";
}

size_t EncodedBytes(const Entry& entry) {
  // Three varint fields with one byte of tag each; the type is a single byte.
  size_t bytes = 4 + VarintBytes(entry.term) + VarintBytes(entry.index);
  if (!entry.data.empty()) bytes += 1 + VarintBytes(entry.data.size()) + entry.data.size();
  return bytes;
}

}  // namespace keelson::raft
