#include "partition/trust/internal/der.h"

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace keelson::partition {

std::string Der(uint8_t tag, std::initializer_list<std::string_view> parts) {
  size_t size = 0;
  for (const std::string_view part : parts) size += part.size();
  std::string out(1, static_cast<char>(tag));
  if (size < 0x80) {
    out += static_cast<char>(size);
  } else {
    int bytes = 1;
    while (bytes < 8 && size >> (8 * bytes) != 0) ++bytes;
    out += static_cast<char>(0x80 | bytes);
    for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(size >> (8 * i));
  }
  for (const std::string_view part : parts) out += part;
  return out;
}

std::string DerNumber(uint64_t value) {
  std::string digits;
  do {
    digits.insert(digits.begin(), static_cast<char>(value & 0xff));
    value >>= 8;
  } while (value != 0);
  if ((digits[0] & 0x80) != 0) digits.insert(digits.begin(), '\0');  // Else it is negative.
  return Der(kDerInteger, {digits});
}

absl::StatusOr<std::string_view> DerReader::Take(uint8_t tag) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(rest_[i]); };
  if (rest_.size() < 2) return absl::DataLossError("ASN.1: an element is cut off");
  if (byte(0) != tag) {
    return absl::DataLossError(
        absl::StrFormat("ASN.1: expected tag 0x%02x, found 0x%02x", tag, byte(0)));
  }
  size_t header = 2;
  uint64_t length = byte(1);
  if (length >= 0x80) {
    const size_t bytes = length & 0x7f;
    if (bytes == 0 || bytes > 4 || rest_.size() < 2 + bytes) {
      return absl::DataLossError("ASN.1: a length that cannot be read");
    }
    length = 0;
    for (size_t i = 0; i < bytes; ++i) length = length << 8 | byte(2 + i);
    header += bytes;
    if (length < 0x80 || byte(2) == 0) return absl::DataLossError("ASN.1: a length with padding");
  }
  if (length > rest_.size() - header) return absl::DataLossError("ASN.1: an element is cut off");
  const std::string_view contents = rest_.substr(header, length);
  rest_.remove_prefix(header + length);
  return contents;
}

absl::StatusOr<uint64_t> DerReader::TakeNumber() {
  KEELSON_ASSIGN_OR_RETURN(const std::string_view digits, Take(kDerInteger));
  if (digits.empty() || digits.size() > 8 || (digits[0] & 0x80) != 0) {
    return absl::DataLossError("ASN.1: a number that is negative or too large");
  }
  uint64_t value = 0;
  for (const char digit : digits) value = value << 8 | static_cast<uint8_t>(digit);
  return value;
}

}  // namespace keelson::partition
