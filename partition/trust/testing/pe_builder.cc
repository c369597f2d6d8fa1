#include "partition/trust/testing/pe_builder.h"

#include "base/check.h"
#include "base/little_endian.h"

namespace keelson::partition::testing {
namespace {

constexpr uint32_t kPage = 4096;

const KeyPair& Identity(const char* name) {
  const absl::StatusOr<KeyPair> pair = MakeSelfSigned(name, absl::FromUnixSeconds(1767225600));
  KEELSON_CHECK_OK(pair.status());
  return *new KeyPair(*pair);  // Lives for ever.
}

}  // namespace

std::string MakePe(const std::vector<std::pair<std::string, std::string>>& sections) {
  std::string pe(kHeadersBytes, '\0');
  pe.replace(0, 2, "MZ");
  StoreLe32(pe, 0x3c, kPeOffset);
  pe.replace(kPeOffset, 2, "PE");
  StoreLe16(pe, kPeOffset + 4, 0x8664);
  StoreLe16(pe, kPeOffset + 6, static_cast<uint16_t>(sections.size()));
  StoreLe16(pe, kPeOffset + 20, 240);
  StoreLe16(pe, kOptionalOffset, 0x20b);
  StoreLe32(pe, kOptionalOffset + 32, kFileAlignment);
  StoreLe32(pe, kOptionalOffset + 36, kFileAlignment);
  StoreLe32(pe, kOptionalOffset + 60, kHeadersBytes);
  StoreLe16(pe, kOptionalOffset + 68, 10);
  StoreLe32(pe, kOptionalOffset + 108, 16);
  uint32_t address = kPage;
  for (size_t i = 0; i < sections.size(); ++i) {
    const auto& [name, contents] = sections[i];
    const size_t header = kSectionTable + 40 * i;
    pe.replace(header, name.size(), name);
    std::string padded = contents;
    padded.resize((contents.size() + kFileAlignment - 1) / kFileAlignment * kFileAlignment);
    StoreLe32(pe, header + 8, static_cast<uint32_t>(contents.size()));
    StoreLe32(pe, header + 12, address);
    StoreLe32(pe, header + 16, static_cast<uint32_t>(padded.size()));
    StoreLe32(pe, header + 20, static_cast<uint32_t>(pe.size()));
    StoreLe32(pe, header + 36, 0x40000040);
    address += (static_cast<uint32_t>(contents.size()) + kPage) / kPage * kPage;
    pe += padded;
  }
  StoreLe32(pe, kOptionalOffset + 56, address);
  return pe;
}

const KeyPair& Alice() {
  static const KeyPair& pair = Identity("Alice");
  return pair;
}

const KeyPair& Bob() {
  static const KeyPair& pair = Identity("Bob");
  return pair;
}

}  // namespace keelson::partition::testing
