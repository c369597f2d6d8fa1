#include "partition/trust/internal/openssl.h"

#include <openssl/err.h>
#include <openssl/sha.h>

#include "absl/strings/str_cat.h"

namespace keelson::partition {

absl::Status OpenSslError(absl::StatusCode code, std::string_view context) {
  std::string text(context);
  const char* separator = ": ";
  while (const unsigned long error = ERR_get_error()) {  // NOLINT(google-runtime-int)
    const char* reason = ERR_reason_error_string(error);
    absl::StrAppend(&text, separator, reason != nullptr ? reason : "unknown error of OpenSSL");
    separator = ", ";
  }
  return absl::Status(code, text);
}

BioPtr ReadingBio(std::string_view bytes) {
  return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

std::string Sha256(std::string_view bytes) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  (void)::SHA256(Bytes(bytes), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

}  // namespace keelson::partition
