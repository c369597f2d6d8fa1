// Strings in JSON as Go's encoder writes them, which etcd's clients and scripts are used to.
#ifndef KEELSON_KVSTORE_JSON_STRING_H_
#define KEELSON_KVSTORE_JSON_STRING_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace keelson::kvstore {

struct Rune {
  uint32_t code = 0;
  size_t size = 0;  // bytes
};

// The UTF-8 character at the start of `text`, which is not empty; nothing when the bytes are no
// valid one.
std::optional<Rune> DecodeRune(std::string_view text);

// A JSON string in quotes. Bytes that are not UTF-8 become U+FFFD; <, > and & are escaped, so
// that the text can stand in HTML.
std::string JsonString(std::string_view text);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_JSON_STRING_H_
