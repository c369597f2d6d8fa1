// Partition names between UTF-8 and the UTF-16 of the table. Names that are not sound UTF-16 stay
// on the disk as they are; only their text form has substitutes.
#ifndef KEELSON_PARTITION_INTERNAL_UTF16_H_
#define KEELSON_PARTITION_INTERNAL_UTF16_H_

#include <optional>
#include <string>
#include <string_view>

namespace keelson::partition {

// Half pairs become U+FFFD.
std::string Utf16ToUtf8(std::u16string_view units);

// Empty for what is not UTF-8: cut short, overlong, a surrogate, or above U+10FFFF.
std::optional<std::u16string> Utf8ToUtf16(std::string_view text);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_INTERNAL_UTF16_H_
