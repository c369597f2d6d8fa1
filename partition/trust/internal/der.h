// The little of ASN.1's distinguished encoding (X.690) that Authenticode needs: a writer, and a
// reader that never reads past its bytes.
#ifndef KEELSON_PARTITION_TRUST_INTERNAL_DER_H_
#define KEELSON_PARTITION_TRUST_INTERNAL_DER_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace keelson::partition {

inline constexpr uint8_t kDerInteger = 0x02;
inline constexpr uint8_t kDerBitString = 0x03;
inline constexpr uint8_t kDerOctetString = 0x04;
inline constexpr uint8_t kDerNull = 0x05;
inline constexpr uint8_t kDerOid = 0x06;
inline constexpr uint8_t kDerUtf8String = 0x0c;
inline constexpr uint8_t kDerSequence = 0x30;

// One element: tag, length, and `parts` one after the other as its contents.
std::string Der(uint8_t tag, std::initializer_list<std::string_view> parts);

// A non-negative INTEGER.
std::string DerNumber(uint64_t value);

// Goes through the elements of `bytes`, which must outlive it.
//
//   DerReader reader(bytes);
//   KEELSON_ASSIGN_OR_RETURN(const std::string_view contents, reader.Take(kDerSequence));
class DerReader {
 public:
  explicit DerReader(std::string_view bytes) : rest_(bytes) {}

  // The contents of the next element, which must have `tag`.
  // DATA_LOSS: another tag, a length of more than 4 bytes, not in the shortest form, or past the
  // end.
  absl::StatusOr<std::string_view> Take(uint8_t tag);
  // As Take for a number below 2^63.
  absl::StatusOr<uint64_t> TakeNumber();

  [[nodiscard]] bool empty() const { return rest_.empty(); }
  // What has not been taken.
  [[nodiscard]] std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_TRUST_INTERNAL_DER_H_
