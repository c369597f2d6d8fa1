#include "base/rpc/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/rpc/reflection.pb.h"

namespace keelson::rpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;
using Services = std::shared_ptr<const std::vector<std::string>>;

void NotFound(const std::string& what, ServerReflectionResponse* response) {
  response->mutable_error_response()->set_error_code(static_cast<int>(absl::StatusCode::kNotFound));
  response->mutable_error_response()->set_error_message(absl::StrCat("not known here: ", what));
}

// Adds `file` behind the files that it imports.
void AddFile(const FileDescriptor* file, std::set<const FileDescriptor*>* added,
             ServerReflectionResponse* response) {
  if (!added->insert(file).second) return;
  for (int i = 0; i < file->dependency_count(); ++i) {
    AddFile(file->dependency(i), added, response);
  }
  FileDescriptorProto proto;
  file->CopyTo(&proto);
  response->mutable_file_descriptor_response()->add_file_descriptor_proto(
      proto.SerializeAsString());
}

void AnswerFile(const FileDescriptor* file, const std::string& what,
                ServerReflectionResponse* response) {
  if (file == nullptr) return NotFound(what, response);
  std::set<const FileDescriptor*> added;
  AddFile(file, &added, response);
}

void AnswerExtensions(const std::string& type, ServerReflectionResponse* response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const Descriptor* const message = pool.FindMessageTypeByName(type);
  if (message == nullptr) return NotFound(type, response);
  std::vector<const FieldDescriptor*> extensions;
  pool.FindAllExtensions(message, &extensions);
  auto* const numbers = response->mutable_all_extension_numbers_response();
  numbers->set_base_type_name(type);
  for (const FieldDescriptor* extension : extensions) {
    numbers->add_extension_number(extension->number());
  }
}

void Answer(const std::vector<std::string>& services, const ServerReflectionRequest& request,
            ServerReflectionResponse* response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  response->set_valid_host(request.host());
  *response->mutable_original_request() = request;
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kFileByFilename:
      return AnswerFile(pool.FindFileByName(request.file_by_filename()), request.file_by_filename(),
                        response);
    case ServerReflectionRequest::kFileContainingSymbol:
      return AnswerFile(pool.FindFileContainingSymbol(request.file_containing_symbol()),
                        request.file_containing_symbol(), response);
    case ServerReflectionRequest::kFileContainingExtension: {
      const auto& wanted = request.file_containing_extension();
      const Descriptor* const type = pool.FindMessageTypeByName(wanted.containing_type());
      const FieldDescriptor* const extension =
          type == nullptr ? nullptr : pool.FindExtensionByNumber(type, wanted.extension_number());
      return AnswerFile(
          extension == nullptr ? nullptr : extension->file(),
          absl::StrCat("extension ", wanted.extension_number(), " of ", wanted.containing_type()),
          response);
    }
    case ServerReflectionRequest::kAllExtensionNumbersOfType:
      return AnswerExtensions(request.all_extension_numbers_of_type(), response);
    case ServerReflectionRequest::kListServices:
      for (const std::string& service : services) {
        response->mutable_list_services_response()->add_service()->set_name(service);
      }
      return;
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      break;
  }
  response->mutable_error_response()->set_error_code(
      static_cast<int>(absl::StatusCode::kInvalidArgument));
  response->mutable_error_response()->set_error_message("the request asks for nothing");
}

class ReflectionHandler final : public CallHandler {
 public:
  ReflectionHandler(std::shared_ptr<Call> call, Services services)
      : call_(std::move(call)), services_(std::move(services)) {}

  void OnMessage(std::string_view message) override {
    ServerReflectionRequest request;
    if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      return call_->Finish(absl::InternalError("the request cannot be decoded"));
    }
    ServerReflectionResponse response;
    Answer(*services_, request, &response);
    // Answers are much larger than requests: who does not read is not listened to.
    if (!call_->Send(response.SerializeAsString())) call_->Pause();
  }
  void OnRoom() override { call_->Resume(); }
  void OnHalfClose() override { call_->Finish(absl::OkStatus()); }

 private:
  const std::shared_ptr<Call> call_;
  const Services services_;
};

}  // namespace

void RegisterReflectionService(Server* server, std::vector<std::string> services) {
  const Services shared = std::make_shared<const std::vector<std::string>>(std::move(services));
  for (const char* version : {"v1", "v1alpha"}) {
    server->Register({.path = absl::StrCat("/grpc.reflection.", version,
                                           ".ServerReflection/ServerReflectionInfo"),
                      .start = [shared](const std::shared_ptr<Call>& call) {
                        return std::make_shared<ReflectionHandler>(call, shared);
                      }});
  }
}

}  // namespace keelson::rpc
