#include "kvstore/v2/error.h"

#include "absl/strings/str_cat.h"
#include "kvstore/json_string.h"

namespace keelson::kvstore::v2 {

std::string_view MessageOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kKeyNotFound:
      return "Key not found";
    case ErrorCode::kCompareFailed:
      return "Compare failed";
    case ErrorCode::kNotFile:
      return "Not a file";
    case ErrorCode::kNotDirectory:
      return "Not a directory";
    case ErrorCode::kKeyExists:
      return "Key already exists";
    case ErrorCode::kRootReadOnly:
      return "Root is read only";
    case ErrorCode::kDirectoryNotEmpty:
      return "Directory not empty";
    case ErrorCode::kUnauthorized:
      return "The request requires user authentication";
    case ErrorCode::kPrevValueRequired:
      return "PrevValue is Required in POST form";
    case ErrorCode::kTtlNotNumber:
      return "The given TTL in POST form is not a number";
    case ErrorCode::kIndexNotNumber:
      return "The given index in POST form is not a number";
    case ErrorCode::kInvalidField:
      return "Invalid field";
    case ErrorCode::kInvalidForm:
      return "Invalid POST form";
    case ErrorCode::kRefreshValue:
      return "Value provided on refresh";
    case ErrorCode::kRefreshTtlRequired:
      return "A TTL must be provided on refresh";
    case ErrorCode::kRaftInternal:
      return "Raft Internal Error";
    case ErrorCode::kLeaderElection:
      return "During Leader Election";
    case ErrorCode::kEventIndexCleared:
      return "The event in requested index is outdated and cleared";
  }
  return "";
}

int HttpStatusOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kKeyNotFound:
      return 404;
    case ErrorCode::kNotFile:
    case ErrorCode::kDirectoryNotEmpty:
      return 403;
    case ErrorCode::kCompareFailed:
    case ErrorCode::kKeyExists:
      return 412;
    case ErrorCode::kUnauthorized:
      return 401;
    case ErrorCode::kRaftInternal:
    case ErrorCode::kLeaderElection:
      return 500;
    default:
      return 400;
  }
}

std::string ErrorJson(const Error& error) {
  const std::string_view message = MessageOf(error.code);
  const std::string cause =
      error.cause.empty() ? "" : absl::StrCat(",\"cause\":", JsonString(error.cause));
  return absl::StrCat("{\"errorCode\":", static_cast<int>(error.code),
                      ",\"message\":", JsonString(message), cause, ",\"index\":", error.index,
                      "}\n");
}

}  // namespace keelson::kvstore::v2
