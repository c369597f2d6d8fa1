// Calls of methods by their names, without a stub made for them.
#ifndef KEELSON_KVSTORE_CLIENT_INTERNAL_GENERIC_CALL_H_
#define KEELSON_KVSTORE_CLIENT_INTERNAL_GENERIC_CALL_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"

namespace keelson::kvstore::client_internal {

// `method` is "/package.Service/Method"; messages are protobuf's bytes. Blocks until the answer is
// there.
grpc::Status UnaryCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                       std::string_view request, grpc::ClientContext* context,
                       std::string* response);

// The same for a method that answers with a stream: `take` gets each message's bytes, and ends the
// call with CANCELLED by returning false.
grpc::Status StreamingCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                           std::string_view request, grpc::ClientContext* context,
                           absl::FunctionRef<bool(std::string_view message)> take);

}  // namespace keelson::kvstore::client_internal

#endif  // KEELSON_KVSTORE_CLIENT_INTERNAL_GENERIC_CALL_H_
