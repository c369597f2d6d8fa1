#include "kvstore/server/command_codec.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>

#include "base/check.h"

namespace keelson::kvstore {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

template <typename Message>
std::string Encode(uint64_t id, int field, const Message& operation) {
  const size_t bytes = operation.ByteSizeLong();
  uint8_t head[32];  // two tags of at most 2 bytes, two varints of at most 10
  uint8_t* end = head;
  end = WireFormatLite::WriteUInt64ToArray(Command::kRequestIdFieldNumber, id, end);
  end = WireFormatLite::WriteTagToArray(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED, end);
  end = CodedOutputStream::WriteVarint64ToArray(bytes, end);
  std::string out;
  out.reserve(static_cast<size_t>(end - head) + bytes);
  out.append(head, end);
  KEELSON_CHECK(operation.AppendToString(&out)) << "a command cannot be encoded";
  return out;
}

uint64_t PutBytes(const google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>& operations) {
  uint64_t bytes = 0;
  for (const etcdserverpb::RequestOp& operation : operations) {
    if (operation.has_request_put()) bytes += EstimatedBytes(operation.request_put());
    if (operation.has_request_txn()) bytes += EstimatedBytes(operation.request_txn());
  }
  return bytes;
}

}  // namespace

std::string EncodeCommand(uint64_t id, const etcdserverpb::PutRequest& request) {
  return Encode(id, Command::kPutFieldNumber, request);
}
std::string EncodeCommand(uint64_t id, const etcdserverpb::DeleteRangeRequest& request) {
  return Encode(id, Command::kDeleteRangeFieldNumber, request);
}
std::string EncodeCommand(uint64_t id, const etcdserverpb::TxnRequest& request) {
  return Encode(id, Command::kTxnFieldNumber, request);
}
std::string EncodeCommand(uint64_t id, const etcdserverpb::CompactionRequest& request) {
  return Encode(id, Command::kCompactionFieldNumber, request);
}
std::string EncodeCommand(uint64_t id, const etcdserverpb::LeaseGrantRequest& request) {
  return Encode(id, Command::kLeaseGrantFieldNumber, request);
}
std::string EncodeCommand(uint64_t id, const etcdserverpb::LeaseRevokeRequest& request) {
  return Encode(id, Command::kLeaseRevokeFieldNumber, request);
}
std::string EncodeCommand(uint64_t id, const etcdserverpb::AlarmRequest& request) {
  return Encode(id, Command::kAlarmFieldNumber, request);
}
std::string EncodeCommand(uint64_t id, const V2Request& request) {
  return Encode(id, Command::kV2FieldNumber, request);
}
std::string EncodeCommand(uint64_t id, const MemberAttributes& attributes) {
  return Encode(id, Command::kMemberAttributesFieldNumber, attributes);
}

std::string EncodeCommand(uint64_t id, const MemberChange& change) {
  return Encode(id, Command::kMemberChangeFieldNumber, change);
}

std::string EncodeCommand(uint64_t id, const AuthCommand& command) {
  return Encode(id, Command::kAuthFieldNumber, command);
}

std::string EncodeOrigin(const Origin& who) {
  if (who.user().empty() && who.auth_revision() == 0 && !who.internal()) return "";
  Command command;
  *command.mutable_origin() = who;
  return command.SerializeAsString();
}

Origin Itself() {
  Origin who;
  who.set_internal(true);
  return who;
}

uint64_t EstimatedBytes(const etcdserverpb::PutRequest& request) {
  return 256 + request.key().size() + request.value().size();
}
uint64_t EstimatedBytes(const etcdserverpb::TxnRequest& request) {
  return std::max(PutBytes(request.success()), PutBytes(request.failure()));
}

}  // namespace keelson::kvstore
