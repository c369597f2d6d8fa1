// Macros and helpers for absl::Status, which carries every error in Keelson.
//
//   absl::Status Save(File& file) {
//     KEELSON_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
//     KEELSON_RETURN_IF_ERROR(Annotate(file.WriteAt(size, data), "append record"));
//     return absl::OkStatus();
//   }
#ifndef KEELSON_BASE_STATUS_H_
#define KEELSON_BASE_STATUS_H_

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keelson {

// Puts `context` and ": " before the message of a failed `status`, so that messages
// read outermost first. The code stays; an OK status is returned as it is.
absl::Status Annotate(const absl::Status& status, std::string_view context);

// An error of the system: code by errno, message "<context>: <strerror>".
absl::Status ErrnoError(int errno_value, std::string_view context);

namespace status_internal {
inline const absl::Status& ToStatus(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& ToStatus(const absl::StatusOr<T>& value) {
  return value.status();
}
}  // namespace status_internal
}  // namespace keelson

#define KEELSON_STATUS_CONCAT_INNER(a, b) a##b
#define KEELSON_STATUS_CONCAT(a, b) KEELSON_STATUS_CONCAT_INNER(a, b)

// Returns the status of `expression` (a Status or StatusOr) from this function unless it is OK.
#define KEELSON_RETURN_IF_ERROR(expression)                           \
  do {                                                                \
    if (auto&& keelson_result = (expression); !keelson_result.ok()) { \
      return ::keelson::status_internal::ToStatus(keelson_result);    \
    }                                                                 \
  } while (false)

// Declares or assigns `lhs` from the value of `expression`, a StatusOr, or returns its status.
#define KEELSON_ASSIGN_OR_RETURN(lhs, expression) \
  KEELSON_ASSIGN_OR_RETURN_IMPL(KEELSON_STATUS_CONCAT(keelson_value_, __LINE__), lhs, expression)
#define KEELSON_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expression) \
  auto tmp = (expression);                                  \
  if (!tmp.ok()) return tmp.status();                       \
  lhs = std::move(tmp).value()

#endif  // KEELSON_BASE_STATUS_H_
