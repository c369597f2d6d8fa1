// Numbers of the runtime specification, which speaks cgroup v1, as cgroup v2 wants them. Pure.
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_CONVERSION_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_CONVERSION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace keelson::container {

// cpu.weight in [1, 10000] of cpu.shares in [2, 262144]; values outside are taken as the nearest.
// The curve goes through (2, 1), (1024, 100) and (262144, 10000), so that the defaults match:
// ceil(10^((log2(x)^2 + 125 log2(x)) / 612 - 7/34)), as the newest runc and crun. Older ones were
// linear and made 39 of 1024.
uint64_t CpuWeightOfShares(uint64_t shares);

// io.weight in [1, 10000] of blkio.weight in [10, 1000], linear. 0 stays 0, which means unset.
uint64_t IoWeightOfBlkio(uint64_t weight);

// memory.swap.max of memory+swap and memory limits, in bytes; -1 is "max". Empty: do not write.
//
// Unlimited memory without a word on swap means unlimited swap too, as on v1.
// Errors: INVALID_ARGUMENT swap below memory, or a swap limit without a memory limit.
absl::StatusOr<std::optional<int64_t>> SwapMax(std::optional<int64_t> memory,
                                               std::optional<int64_t> memory_and_swap);

// The set of numbers that a list such as "0-3,7" names, as systemd's bitmap: bit i of byte i/8.
// Errors: INVALID_ARGUMENT not such a list, a number above 8191.
absl::StatusOr<std::vector<uint8_t>> BitmapOfList(const std::string& list);

// The numbers of "0-3,7\n", ascending.  Errors as BitmapOfList; an empty list is no error.
absl::StatusOr<std::vector<uint16_t>> NumbersOfList(const std::string& list);

// systemd's CPUQuotaPerSecUSec of quota and period in microseconds, rounded up to whole percents
// (10000 us a second), which is all that systemd keeps. quota <= 0: UINT64_MAX, no limit.
uint64_t CpuQuotaPerSecond(int64_t quota, uint64_t period);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_CONVERSION_H_
