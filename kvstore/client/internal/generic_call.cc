#include "kvstore/client/internal/generic_call.h"

#include <grpcpp/generic/generic_stub.h>

#include <vector>

namespace keelson::kvstore::client_internal {
namespace {

grpc::ByteBuffer ToBuffer(std::string_view message) {
  const grpc::Slice slice(message.data(), message.size());
  return grpc::ByteBuffer(&slice, 1);
}

bool ToBytes(const grpc::ByteBuffer& buffer, std::string* bytes) {
  bytes->clear();
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) return false;
  for (const grpc::Slice& slice : slices) {
    bytes->append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return true;
}

grpc::Status Unreadable(const std::string& method) {
  return {grpc::StatusCode::INTERNAL, "the answer to " + method + " cannot be read"};
}

// Waits for the one operation that is under way. False when it failed.
bool Wait(grpc::CompletionQueue& queue) {
  void* tag = nullptr;
  bool ok = false;
  return queue.Next(&tag, &ok) && ok;
}

}  // namespace

grpc::Status UnaryCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                       std::string_view request, grpc::ClientContext* context,
                       std::string* response) {
  grpc::CompletionQueue queue;
  grpc::GenericStub stub(channel);
  const auto call = stub.PrepareUnaryCall(context, method, ToBuffer(request), &queue);
  call->StartCall();
  grpc::ByteBuffer answer;
  grpc::Status status;
  call->Finish(&answer, &status, nullptr);
  Wait(queue);
  if (!status.ok()) return status;
  return ToBytes(answer, response) ? grpc::Status::OK : Unreadable(method);
}

grpc::Status StreamingCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                           std::string_view request, grpc::ClientContext* context,
                           absl::FunctionRef<bool(std::string_view message)> take) {
  grpc::CompletionQueue queue;
  grpc::GenericStub stub(channel);
  const auto call = stub.PrepareCall(context, method, &queue);
  call->StartCall(nullptr);
  bool going = Wait(queue);
  if (going) {
    call->WriteLast(ToBuffer(request), grpc::WriteOptions(), nullptr);
    going = Wait(queue);
  }
  bool wanted = true;
  grpc::ByteBuffer answer;
  std::string bytes;
  while (going && wanted) {
    call->Read(&answer, nullptr);
    going = Wait(queue);
    if (!going) break;
    if (!ToBytes(answer, &bytes)) return Unreadable(method);
    wanted = take(bytes);
  }
  if (!wanted) context->TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  Wait(queue);
  return status;
}

}  // namespace keelson::kvstore::client_internal
