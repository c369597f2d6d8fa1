// A request to /v2/keys as a value (kvstore.md 15.4, 15.5). Pure.
#ifndef KEELSON_KVSTORE_V2_KEYS_REQUEST_H_
#define KEELSON_KVSTORE_V2_KEYS_REQUEST_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/http/message.h"
#include "kvstore/api/v2.pb.h"
#include "kvstore/v2/error.h"

namespace keelson::kvstore::v2 {

struct KeysRequest {
  enum class Kind { kGet, kWatch, kWrite } kind = Kind::kGet;
  std::string path = {};  // clean
  // kGet
  bool recursive = false;
  bool quorum = false;
  // kWatch, with `recursive`
  bool stream = false;
  uint64_t since = 0;
  // kWrite
  V2Request write = {};
  bool action_only = false;  // noValueOnSuccess
};

inline constexpr std::string_view kKeysPrefix = "/v2/keys";

// Users and roles stand among the keys, and share their index, log and rows, in a folder that clients
// cannot name: paths that begin so are refused. Its "_" hides it in listings and watches of the root.
inline constexpr std::string_view kAuthFolder("/_\0auth", 7);

// Reads a GET, HEAD, PUT, POST or DELETE below kKeysPrefix; `now` is nanoseconds since 1970. Fields come
// from the body of a form and from the query; the body's count first.
std::variant<KeysRequest, Error> ParseKeysRequest(const http::Request& request, int64_t now);

}  // namespace keelson::kvstore::v2

#endif  // KEELSON_KVSTORE_V2_KEYS_REQUEST_H_
