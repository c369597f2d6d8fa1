// Errors of etcd's version 2 API (kvstore.md 15.11): a number that clients match on, a fixed
// message, a cause, and the index of the tree.
#ifndef KEELSON_KVSTORE_V2_ERROR_H_
#define KEELSON_KVSTORE_V2_ERROR_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace keelson::kvstore::v2 {

enum class ErrorCode : int {
  kKeyNotFound = 100,
  kCompareFailed = 101,
  kNotFile = 102,
  kNotDirectory = 104,
  kKeyExists = 105,
  kRootReadOnly = 107,
  kDirectoryNotEmpty = 108,
  kUnauthorized = 110,
  kPrevValueRequired = 201,
  kTtlNotNumber = 202,
  kIndexNotNumber = 203,
  kInvalidField = 209,
  kInvalidForm = 210,
  kRefreshValue = 211,
  kRefreshTtlRequired = 212,
  kRaftInternal = 300,
  kLeaderElection = 301,
  kEventIndexCleared = 401,
};

struct Error {
  ErrorCode code = ErrorCode::kKeyNotFound;
  std::string cause = {};  // a path, or what did not compare; empty: none
  uint64_t index = 0;
};

// "Key not found" for 100, and so on.
std::string_view MessageOf(ErrorCode code);
// The HTTP status that carries it.
int HttpStatusOf(ErrorCode code);

// {"errorCode":100,"message":"Key not found","cause":"/a","index":7} and a newline.
std::string ErrorJson(const Error& error);

}  // namespace keelson::kvstore::v2

#endif  // KEELSON_KVSTORE_V2_ERROR_H_
