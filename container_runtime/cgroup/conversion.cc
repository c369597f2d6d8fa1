#include "container_runtime/cgroup/conversion.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status.h"

namespace keelson::container {
namespace {

constexpr uint64_t kSharesMin = 2, kSharesMax = 262144;
constexpr uint64_t kWeightMin = 1, kWeightMax = 10000;
constexpr uint64_t kBlkioMin = 10, kBlkioMax = 1000;
constexpr uint32_t kListMax = 8191;  // the most processors that Linux is built for (NR_CPUS)
constexpr uint64_t kPercentUsec = 10000;
constexpr uint64_t kSecondUsec = 1000000;

}  // namespace

uint64_t CpuWeightOfShares(uint64_t shares) {
  if (shares <= kSharesMin) return kWeightMin;
  if (shares >= kSharesMax) return kWeightMax;
  const double l = std::log2(static_cast<double>(shares));
  return static_cast<uint64_t>(std::ceil(std::pow(10, (l * l + 125 * l) / 612.0 - 7.0 / 34.0)));
}

uint64_t IoWeightOfBlkio(uint64_t weight) {
  if (weight == 0) return 0;
  const uint64_t x = std::clamp(weight, kBlkioMin, kBlkioMax);
  return 1 + (x - kBlkioMin) * 9999 / 990;
}

absl::StatusOr<std::optional<int64_t>> SwapMax(std::optional<int64_t> memory,
                                               std::optional<int64_t> memory_and_swap) {
  const int64_t limit = memory.value_or(0);
  const int64_t total = memory_and_swap.value_or(0);
  if (total == 0) {
    return limit == -1 ? std::optional<int64_t>(-1) : std::nullopt;
  }
  if (total == -1) return std::optional<int64_t>(-1);
  if (total < 0 || limit < -1) {
    return absl::InvalidArgumentError(
        absl::StrCat("memory limit ", limit, " or swap limit ", total, " is negative"));
  }
  if (limit == -1) return std::optional<int64_t>(total);
  if (limit == 0) {
    return absl::InvalidArgumentError("unable to set swap limit without memory limit");
  }
  if (total < limit) {
    return absl::InvalidArgumentError(
        absl::StrCat("memory+swap limit ", total, " should be >= memory limit ", limit));
  }
  return std::optional<int64_t>(total - limit);
}

absl::StatusOr<std::vector<uint16_t>> NumbersOfList(const std::string& list) {
  std::vector<uint16_t> numbers;
  const absl::string_view text = absl::StripAsciiWhitespace(list);
  if (text.empty()) return numbers;
  for (const absl::string_view range : absl::StrSplit(text, ',')) {
    const std::vector<absl::string_view> ends =
        absl::StrSplit(absl::StripAsciiWhitespace(range), absl::MaxSplits('-', 1));
    uint32_t from = 0, to = 0;
    if (!absl::SimpleAtoi(ends.front(), &from) || !absl::SimpleAtoi(ends.back(), &to) ||
        from > to || to > kListMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", list, "' is no list of numbers up to ", kListMax, " such as 0-3,7"));
    }
    for (uint32_t i = from; i <= to; ++i) numbers.push_back(static_cast<uint16_t>(i));
  }
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  return numbers;
}

absl::StatusOr<std::vector<uint8_t>> BitmapOfList(const std::string& list) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<uint16_t> numbers, NumbersOfList(list));
  if (numbers.empty()) return absl::InvalidArgumentError("an empty list of processors or nodes");
  std::vector<uint8_t> bits(numbers.back() / 8 + 1);
  for (const uint16_t i : numbers) bits[i / 8] = static_cast<uint8_t>(bits[i / 8] | 1u << (i % 8));
  return bits;
}

uint64_t CpuQuotaPerSecond(int64_t quota, uint64_t period) {
  if (quota <= 0 || period == 0) return std::numeric_limits<uint64_t>::max();
  // In 128 bits: a quota of hours would overflow.
  const auto exact = static_cast<unsigned __int128>(quota) * kSecondUsec / period;
  const auto rounded = (exact + kPercentUsec - 1) / kPercentUsec * kPercentUsec;
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  return rounded > kMax ? kMax : static_cast<uint64_t>(rounded);
}

}  // namespace keelson::container
