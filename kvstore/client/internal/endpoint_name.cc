#include "kvstore/client/internal/endpoint_name.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace keelson::kvstore::client_internal {

absl::StatusOr<Target> ParseEndpoint(const std::string& endpoint, bool tls_by_default) {
  absl::string_view rest = endpoint;
  Target target{.address = "", .tls = tls_by_default};
  if (absl::ConsumePrefix(&rest, "unix://") || absl::ConsumePrefix(&rest, "unix:")) {
    if (rest.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("endpoint '", endpoint, "' has no path"));
    }
    target.address = absl::StrCat("unix:", rest);
    return target;
  }
  if (absl::ConsumePrefix(&rest, "http://")) {
    target.tls = false;
  } else if (absl::ConsumePrefix(&rest, "https://")) {
    target.tls = true;
  } else if (absl::StrContains(rest, "://")) {
    return absl::InvalidArgumentError(
        absl::StrCat("endpoint '", endpoint, "' has an unknown scheme; use http, https or unix"));
  }
  absl::ConsumeSuffix(&rest, "/");
  const size_t colon = rest.rfind(':');
  const absl::string_view port =
      colon == absl::string_view::npos ? absl::string_view() : rest.substr(colon + 1);
  const bool digits =
      !port.empty() && port.size() <= 5 &&
      std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits || colon == 0 || absl::StrContains(rest, "/")) {
    return absl::InvalidArgumentError(
        absl::StrCat("endpoint '", endpoint, "' is not of the form host:port"));
  }
  target.address = std::string(rest);
  return target;
}

}  // namespace keelson::kvstore::client_internal
