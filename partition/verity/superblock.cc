#include "partition/verity/superblock.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

constexpr std::string_view kSignature("verity\0\0", 8);
constexpr uint32_t kVersion = 1;
constexpr size_t kAlgorithmAt = 32;
constexpr size_t kAlgorithmBytes = 32;
constexpr size_t kSaltAt = 88;

void Put(std::string& out, size_t at, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out[at + i] = static_cast<char>(value >> (8 * i));
}

uint64_t Get(std::string_view in, size_t at, int bytes) {
  uint64_t value = 0;
  for (int i = bytes - 1; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(in[at + i]);
  return value;
}

}  // namespace

std::string EncodeSuperblock(const VeritySuperblock& superblock) {
  const VerityParams& params = superblock.params;
  KEELSON_CHECK_OK(ShapeOf(params).status());
  std::string out(kVeritySuperblockBytes, '\0');
  out.replace(0, kSignature.size(), kSignature);
  Put(out, 8, kVersion, 4);
  Put(out, 12, params.hash_type, 4);
  std::copy(superblock.uuid.begin(), superblock.uuid.end(), out.begin() + 16);
  out.replace(kAlgorithmAt, params.algorithm.size(), params.algorithm);
  Put(out, 64, params.data_block_bytes, 4);
  Put(out, 68, params.hash_block_bytes, 4);
  Put(out, 72, params.data_blocks, 8);
  Put(out, 80, params.salt.size(), 2);
  out.replace(kSaltAt, params.salt.size(), params.salt);
  return out;
}

absl::StatusOr<VeritySuperblock> DecodeSuperblock(std::string_view bytes) {
  if (bytes.size() < kVeritySuperblockBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "verity superblock: expected ", kVeritySuperblockBytes, " bytes, found ", bytes.size()));
  }
  if (bytes.substr(0, kSignature.size()) != kSignature) {
    return absl::NotFoundError("no verity superblock: its signature is missing");
  }
  if (const uint64_t version = Get(bytes, 8, 4); version != kVersion) {
    return absl::InvalidArgumentError(
        absl::StrCat("verity superblock: expected version ", kVersion, ", found ", version));
  }
  const uint64_t salt_bytes = Get(bytes, 80, 2);
  if (salt_bytes > kVeritySaltBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("verity superblock: salt of ", salt_bytes,
                                                   " bytes, at most ", kVeritySaltBytesMax));
  }
  VeritySuperblock out;
  std::copy_n(bytes.begin() + 16, out.uuid.size(), out.uuid.begin());
  const std::string_view name = bytes.substr(kAlgorithmAt, kAlgorithmBytes);
  out.params = {.hash_type = static_cast<uint32_t>(Get(bytes, 12, 4)),
                .algorithm = std::string(name.substr(0, name.find('\0'))),
                .data_block_bytes = static_cast<uint32_t>(Get(bytes, 64, 4)),
                .hash_block_bytes = static_cast<uint32_t>(Get(bytes, 68, 4)),
                .data_blocks = Get(bytes, 72, 8),
                .salt = std::string(bytes.substr(kSaltAt, salt_bytes))};
  // Printed in messages before anybody has vouched for it.
  if (DigestBytes(out.params.algorithm) == 0) {
    return absl::InvalidArgumentError(absl::StrCat("verity superblock: hash algorithm '",
                                                   absl::CHexEscape(out.params.algorithm),
                                                   "' is not supported"));
  }
  KEELSON_RETURN_IF_ERROR(Annotate(ShapeOf(out.params).status(), "verity superblock"));
  return out;
}

absl::StatusOr<VerityUuid> ParseVerityUuid(std::string_view text) {
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash != (text[i] == '-')) break;
    if (dash) continue;
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(text[i]))) break;
    digits.push_back(text[i]);
  }
  VerityUuid uuid{};
  if (text.size() != 36 || digits.size() != 2 * uuid.size()) {
    return absl::InvalidArgumentError(absl::StrCat("UUID '", absl::CHexEscape(std::string(text)),
                                                   "': expected 8-4-4-4-12 hexadecimal digits"));
  }
  const std::string bytes = absl::HexStringToBytes(digits);
  std::copy(bytes.begin(), bytes.end(), uuid.begin());
  return uuid;
}

std::string ToString(const VerityUuid& uuid) {
  std::string hex =
      absl::BytesToHexString({reinterpret_cast<const char*>(uuid.data()), uuid.size()});
  for (const size_t at : {20, 16, 12, 8}) hex.insert(at, "-");
  return hex;
}

}  // namespace keelson::partition
