// Properties of a systemd unit: names with typed values, as StartTransientUnit takes them.
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_UNIT_PROPERTY_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_UNIT_PROPERTY_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "container_runtime/config/resources.h"

namespace keelson::container {

// D-Bus types b, i, u, x, t, d, s, as, au, ay, a(ss), in this order.
using UnitValue =
    std::variant<bool, int32_t, uint32_t, int64_t, uint64_t, double, std::string,
                 std::vector<std::string>, std::vector<uint32_t>, std::vector<uint8_t>,
                 std::vector<std::pair<std::string, std::string>>>;

struct UnitProperty {
  std::string name;
  UnitValue value;
  friend bool operator==(const UnitProperty&, const UnitProperty&) = default;
};

// The limits of `resources` that systemd keeps itself, so that it does not undo them; with `unified`
// false by the names for cgroup v1. Also some of `resources.unified`. Pure.
//
// systemd keeps CPU quotas in whole percents: `*rounded_quota` becomes the quota (microseconds a period)
// that this means, for writing the same to cpu.max; it is left alone without a quota.
// Errors: INVALID_ARGUMENT as SettingsFor, or a unified value that is no number where one is due.
absl::StatusOr<std::vector<UnitProperty>> PropertiesOf(const Resources& resources, bool unified,
                                                       int64_t* rounded_quota);

// The properties that annotations "org.systemd.property.NAME" ask for. Their values are texts of GVariant:
// true, 'text', 12, uint64 12, ['a', 'b'] and the like. NAME ending in "Sec" becomes "USec", and its number
// of seconds microseconds, as with runc.
// Errors: INVALID_ARGUMENT a name with other than letters, a value that is none of these.
absl::StatusOr<std::vector<UnitProperty>> PropertiesOfAnnotations(
    const std::map<std::string, std::string>& annotations);

// "true", "uint64 5", "['a']"... Errors: INVALID_ARGUMENT.
absl::StatusOr<UnitValue> ParseGVariant(const std::string& text);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_UNIT_PROPERTY_H_
