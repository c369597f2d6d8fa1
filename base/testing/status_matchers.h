// Catch2 checks of absl::Status and absl::StatusOr that print the status when they fail.
//
//   KEELSON_REQUIRE_OK(file.SyncData());
//   KEELSON_CHECK_ERROR(Open("x"), absl::StatusCode::kNotFound, "open 'x'");
//   KEELSON_ASSIGN_OR_FAIL(const uint64_t size, file.Size());
#ifndef KEELSON_BASE_TESTING_STATUS_MATCHERS_H_
#define KEELSON_BASE_TESTING_STATUS_MATCHERS_H_

#include <catch2/catch.hpp>

#include <string>

#include "base/status.h"

namespace keelson::testing {

// True when `status` has `code` and its message contains `text`.
inline bool IsError(const absl::Status& status, absl::StatusCode code, const std::string& text) {
  return status.code() == code &&
         std::string(status.message().data(), status.message().size()).find(text) !=
             std::string::npos;
}

}  // namespace keelson::testing

#define KEELSON_REQUIRE_OK(expression)                                                         \
  do {                                                                                         \
    const absl::Status keelson_test_status = ::keelson::status_internal::ToStatus(expression); \
    INFO(keelson_test_status.ToString());                                                      \
    REQUIRE(keelson_test_status.ok());                                                         \
  } while (false)

#define KEELSON_CHECK_ERROR(expression, code, text)                                            \
  do {                                                                                         \
    const absl::Status keelson_test_status = ::keelson::status_internal::ToStatus(expression); \
    INFO(keelson_test_status.ToString());                                                      \
    CHECK(::keelson::testing::IsError(keelson_test_status, code, text));                       \
  } while (false)

#define KEELSON_ASSIGN_OR_FAIL(lhs, expression) \
  KEELSON_ASSIGN_OR_FAIL_IMPL(KEELSON_STATUS_CONCAT(keelson_value_, __LINE__), lhs, expression)
#define KEELSON_ASSIGN_OR_FAIL_IMPL(tmp, lhs, expression) \
  auto tmp = (expression);                                \
  KEELSON_REQUIRE_OK(tmp.status());                       \
  lhs = std::move(tmp).value()

#endif  // KEELSON_BASE_TESTING_STATUS_MATCHERS_H_
