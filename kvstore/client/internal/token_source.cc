#include "kvstore/client/internal/token_source.h"

#include "kvstore/api/auth.pb.h"
#include "kvstore/client/internal/generic_call.h"

namespace keelson::kvstore::client_internal {

grpc::Status TokenSource::AddTo(const std::shared_ptr<grpc::Channel>& channel,
                                grpc::ClientContext* context) {
  if (Anonymous()) return grpc::Status::OK;
  absl::MutexLock lock(&mu_);
  if (!asked_) {
    etcdserverpb::AuthenticateRequest request;
    request.set_name(user_);
    request.set_password(password_);
    etcdserverpb::AuthenticateResponse response;
    grpc::ClientContext asking;
    asking.set_deadline(context->deadline());
    std::string answer;
    const grpc::Status status = UnaryCall(channel, "/etcdserverpb.Auth/Authenticate",
                                          request.SerializeAsString(), &asking, &answer);
    if (!status.ok() && status.error_message() != "etcdserver: authentication is not enabled") {
      return status;
    }
    if (!response.ParseFromString(answer)) {
      return {grpc::StatusCode::INTERNAL, "the answer to Authenticate cannot be read"};
    }
    token_ = response.token();
    asked_ = true;
  }
  if (!token_.empty()) context->AddMetadata("token", token_);
  return grpc::Status::OK;
}

bool TokenSource::Renew(const grpc::Status& status) {
  if (Anonymous()) return false;
  const std::string& text = status.error_message();
  if (text != "etcdserver: invalid auth token" && text != "etcdserver: user name is empty" &&
      text != "etcdserver: revision of auth store is old") {
    return false;
  }
  absl::MutexLock lock(&mu_);
  asked_ = false;
  token_.clear();
  return true;
}

}  // namespace keelson::kvstore::client_internal
