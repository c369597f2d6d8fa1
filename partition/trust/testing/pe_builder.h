// Small UEFI programs and identities for tests.
#ifndef KEELSON_PARTITION_TRUST_TESTING_PE_BUILDER_H_
#define KEELSON_PARTITION_TRUST_TESTING_PE_BUILDER_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "partition/trust/development_keys.h"

namespace keelson::partition::testing {

// Where things lie in what MakePe makes.
inline constexpr uint32_t kPeOffset = 0x80;
inline constexpr uint32_t kOptionalOffset = kPeOffset + 24;
inline constexpr uint32_t kSectionTable = kOptionalOffset + 240;
inline constexpr uint32_t kHeadersBytes = 0x400;
inline constexpr uint32_t kFileAlignment = 0x200;

// A PE32+ EFI application for x86-64 with these sections (name, contents), one behind the other, on
// pages of their own in memory.
std::string MakePe(const std::vector<std::pair<std::string, std::string>>& sections);

// Two identities, made once for each process.
const KeyPair& Alice();
const KeyPair& Bob();

}  // namespace keelson::partition::testing

#endif  // KEELSON_PARTITION_TRUST_TESTING_PE_BUILDER_H_
