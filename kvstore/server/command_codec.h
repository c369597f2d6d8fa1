// Requests as the bytes that are proposed: a Command (command.proto), written without
// building one.
#ifndef KEELSON_KVSTORE_SERVER_COMMAND_CODEC_H_
#define KEELSON_KVSTORE_SERVER_COMMAND_CODEC_H_

#include <cstdint>
#include <string>

#include "kvstore/api/command.pb.h"

namespace keelson::kvstore {

// The bytes of a Command with this id and operation.
std::string EncodeCommand(uint64_t id, const etcdserverpb::PutRequest& request);
std::string EncodeCommand(uint64_t id, const etcdserverpb::DeleteRangeRequest& request);
std::string EncodeCommand(uint64_t id, const etcdserverpb::TxnRequest& request);
std::string EncodeCommand(uint64_t id, const etcdserverpb::CompactionRequest& request);
std::string EncodeCommand(uint64_t id, const etcdserverpb::LeaseGrantRequest& request);
std::string EncodeCommand(uint64_t id, const etcdserverpb::LeaseRevokeRequest& request);
std::string EncodeCommand(uint64_t id, const MemberAttributes& attributes);
std::string EncodeCommand(uint64_t id, const MemberChange& change);
std::string EncodeCommand(uint64_t id, const V2Request& request);
std::string EncodeCommand(uint64_t id, const etcdserverpb::AlarmRequest& request);
std::string EncodeCommand(uint64_t id, const AuthCommand& command);

// The part of a Command that says for whom it is proposed, to be appended; empty for nobody.
std::string EncodeOrigin(const Origin& who);
// The member itself.
Origin Itself();

// What a request may add to the database, as etcd estimates it (kvstore.md 3.17).
uint64_t EstimatedBytes(const etcdserverpb::PutRequest& request);
uint64_t EstimatedBytes(const etcdserverpb::TxnRequest& request);
inline constexpr uint64_t kLeaseGrantBytes = 64;

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_COMMAND_CODEC_H_
