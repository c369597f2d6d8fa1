// Messages of raft/types.h as bytes of raft.proto, and back.
//
// Encoding writes the protobuf form by hand: the payloads of entries become pieces of their
// own that share the entry's buffer, so that between a proposal and the socket nothing is
// copied. Decoding is protobuf's, followed by checks: bytes from the network are hostile.
//
// Threading: free functions.
#ifndef KEELSON_RAFT_TRANSPORT_CODEC_H_
#define KEELSON_RAFT_TRANSPORT_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "raft/types.h"

namespace google::protobuf::io {
class ZeroCopyInputStream;
}

namespace keelson::raft {
namespace transport::v1 {
class Message;
}

// Either bytes of its own or a payload that is shared; the other one is empty.
struct WirePiece {
  std::string bytes;
  Payload payload;

  [[nodiscard]] std::string_view view() const {
    return payload.empty() ? std::string_view(bytes) : payload.view();
  }
};

struct WireBatch {
  std::vector<WirePiece> pieces;  // joined: a transport.v1.Batch
  size_t bytes = 0;               // sum of the pieces
};

// `probe`: 0 for none. Message::responses never travel and are left out.
WireBatch EncodeBatch(std::span<const Message> messages, uint64_t probe);

// About what EncodeBatch needs for `message`; never less than its payloads.
size_t EncodedBytes(const Message& message);

// What a decoder accepts. More is INVALID_ARGUMENT.
struct DecodeLimits {
  size_t max_messages = 16384;   // in a batch
  size_t max_entries = 1 << 20;  // in a message
  size_t max_members = 1024;     // in each list of a ConfState
  size_t max_context_bytes = 1 << 20;
};

struct DecodedBatch {
  std::vector<Message> messages;
  uint64_t probe = 0;
};

// Reads a whole Batch. INVALID_ARGUMENT when it is no Batch, or when a message
//  - has a type that is unknown or that only a node itself may produce (Hup, Storage*, ...),
//  - has no sender, or ids that are reserved for the core's own threads,
//  - is an App whose entries are not consecutive after `index`, or whose terms go back or
//    pass the message's,
//  - is a Snap without a snapshot, or with one at index 0, or has lists that are unsorted.
absl::StatusOr<DecodedBatch> DecodeBatch(google::protobuf::io::ZeroCopyInputStream& in,
                                         const DecodeLimits& limits);

// One message, for those that travel alone. Takes the payloads out of `proto`.
absl::StatusOr<Message> DecodeMessage(transport::v1::Message&& proto, const DecodeLimits& limits);
// The same bytes as in a batch, for those that travel alone.
void EncodeMessage(const Message& message, transport::v1::Message* proto);

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_TRANSPORT_CODEC_H_
