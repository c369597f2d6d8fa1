#include "base/status.h"

#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"

namespace keelson {

absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  const absl::string_view message = status.message();
  std::string text(context);
  text.append(": ").append(message.data(), message.size());
  return absl::Status(status.code(), text);
}

absl::Status ErrnoError(int errno_value, std::string_view context) {
  return absl::ErrnoToStatus(errno_value, absl::string_view(context.data(), context.size()));
}

}  // namespace keelson
