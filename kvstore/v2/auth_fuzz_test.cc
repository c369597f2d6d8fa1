// JSON of users and roles, and Authorization headers. What is read can be written and read again.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <variant>

#include "base/check.h"
#include "kvstore/v2/auth.h"

namespace v2 = keelson::kvstore::v2;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  (void)v2::ParseBasicCredentials(input);
  if (const auto user = v2::ParseAuthUser(input)) {
    const auto again = v2::ParseAuthUser(v2::AuthUserJson(*user));
    KEELSON_CHECK(again.has_value() && again->roles == user->roles);
    (void)v2::Merge(*again, *user);
  }
  if (const auto role = v2::ParseAuthRole(input)) {
    const auto again = v2::ParseAuthRole(v2::AuthRoleJson(*role));
    KEELSON_CHECK(again.has_value() && again->rights == role->rights);
    (void)v2::Merge(*again, *role);
    (void)v2::Opens(*role, input, true, true);
  }
  return 0;
}
