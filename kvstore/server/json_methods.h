// The methods that the JSON gateway has, and what their messages are in JSON. Pure; for
// json_gateway.cc.
//
// Source: reference kvstore.md section 14; protobuf's JSON mapping.
#ifndef KEELSON_KVSTORE_SERVER_JSON_METHODS_H_
#define KEELSON_KVSTORE_SERVER_JSON_METHODS_H_

#include <google/protobuf/message.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keelson::kvstore {

struct JsonMethod {
  enum class Kind : uint8_t {
    kUnary,
    kStream,   // ends when all requests of the body are answered
    kEndless,  // goes on after the body, until the client leaves
  };

  const char* path;                          // behind /v3
  std::string method;                        // of gRPC: "/etcdserverpb.KV/Range"
  const google::protobuf::Message& request;  // empty ones
  const google::protobuf::Message& response;
  Kind kind = Kind::kUnary;
};

const std::vector<JsonMethod>& JsonMethods();

// A request, as protobuf's bytes. Fields that nobody knows are left out. INVALID_ARGUMENT: `json` is no
// JSON, or not of this message.
absl::StatusOr<std::string> RequestBytes(const JsonMethod& method, const std::string& json);

// An answer that came as protobuf's bytes. If they are none: that error, as JSON.
std::string AnswerJson(const JsonMethod& method, const std::string& bytes);

// With "error" too, as gateways before etcd 3.6 have it.
std::string JsonOfError(const absl::Status& status);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_JSON_METHODS_H_
