#include "partition/guid.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace keelson::partition {
namespace {

// Place on the disk of each byte, in the order of the text.
constexpr std::array<int, 16> kTextOrder = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

bool DashBefore(int byte) { return byte == 4 || byte == 6 || byte == 8 || byte == 10; }

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool Guid::IsZero() const {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

absl::StatusOr<Guid> ParseGuid(std::string_view text) {
  const auto bad = [&] {
    return absl::InvalidArgumentError(
        absl::StrCat("'", absl::string_view(text.data(), text.size()),
                     "' is no GUID: expected 8-4-4-4-12 hexadecimal digits"));
  };
  if (text.size() != 36) return bad();
  Guid guid;
  size_t at = 0;
  for (int i = 0; i < 16; ++i) {
    if (DashBefore(i) && text[at++] != '-') return bad();
    const int high = HexDigit(text[at]);
    const int low = HexDigit(text[at + 1]);
    if (high < 0 || low < 0) return bad();
    guid.bytes[kTextOrder[i]] = static_cast<uint8_t>(high * 16 + low);
    at += 2;
  }
  return guid;
}

std::string ToString(const Guid& guid) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (int i = 0; i < 16; ++i) {
    if (DashBefore(i)) text += '-';
    const uint8_t byte = guid.bytes[kTextOrder[i]];
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

Guid GuidFromRandomBits(std::array<uint8_t, 16> bits) {
  // RFC 4122, 4.4; the version is the high half of the text's seventh byte, which the disk has
  // at place 7.
  bits[7] = static_cast<uint8_t>((bits[7] & 0x0f) | 0x40);
  bits[8] = static_cast<uint8_t>((bits[8] & 0x3f) | 0x80);
  return Guid{bits};
}

Guid RandomGuid() {
  std::array<uint8_t, 16> bits{};
  ssize_t got = -1;
  do {
    got = ::getrandom(bits.data(), bits.size(), 0);
  } while (got < 0 && errno == EINTR);
  // Up to 256 bytes come whole once the kernel's generator is ready.
  KEELSON_CHECK(got == static_cast<ssize_t>(bits.size())) << "getrandom errno=" << errno;
  return GuidFromRandomBits(bits);
}

}  // namespace keelson::partition
