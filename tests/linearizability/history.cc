#include "tests/linearizability/history.h"

#include "absl/strings/str_cat.h"

namespace keelson::linearizability {

std::string ToString(const Pair& pair) {
  return absl::StrCat("'", pair.key, "'='", pair.value, "' (created ", pair.create_revision,
                      ", changed ", pair.mod_revision, ", version ", pair.version,
                      pair.lease == 0 ? "" : absl::StrCat(", lease ", pair.lease), ")");
}

std::string ToString(const WatchEvent& event) {
  return absl::StrCat(event.deletion ? absl::StrCat("deletion of '", event.pair.key, "' at ",
                                                    event.pair.mod_revision)
                                     : absl::StrCat("put of ", ToString(event.pair)),
                      ", before it ", event.prev.has_value() ? ToString(*event.prev) : "nothing");
}

bool InRange(const std::string& candidate, const std::string& key, const std::string& range_end) {
  if (range_end.empty()) return candidate == key;
  return candidate >= key && (range_end == std::string(1, '\0') || candidate < range_end);
}

}  // namespace keelson::linearizability
