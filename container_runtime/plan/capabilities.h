// Names of Linux capabilities and sets of them as bits.
#ifndef KEELSON_CONTAINER_RUNTIME_PLAN_CAPABILITIES_H_
#define KEELSON_CONTAINER_RUNTIME_PLAN_CAPABILITIES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace keelson::container {

// The number of "CAP_CHOWN" (or "chown", as command lines have it).
std::optional<int> CapabilityNumber(std::string_view name);

// Bits by number. Names that are unknown are appended to `unknown`.
uint64_t CapabilityBits(const std::vector<std::string>& names, std::vector<std::string>* unknown);

// All names, by number.
std::vector<std::string> CapabilityNames();

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_PLAN_CAPABILITIES_H_
