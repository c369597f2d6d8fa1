#include "kvstore/auth/secrets.h"

#include <crypt.h>
#include <sys/random.h>

#include <array>
#include <memory>
#include <string_view>

#include "base/check.h"

namespace keelson::kvstore::auth {
namespace {

template <size_t kSize>
std::array<char, kSize> RandomBytes() {
  std::array<char, kSize> bytes;
  // Up to 256 bytes come whole once the system has started.
  KEELSON_CHECK(::getrandom(bytes.data(), kSize, 0) == static_cast<ssize_t>(kSize))
      << "the system gives no random bytes";
  return bytes;
}

// Compares in a time that does not tell where the texts differ.
bool SameText(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  }
  return difference == 0;
}

// Empty when `setting` is not one that the library knows.
std::string Crypt(const std::string& password, const std::string& setting) {
  const auto data = std::make_unique<crypt_data>();  // 32 KiB
  const char* const text = ::crypt_r(password.c_str(), setting.c_str(), data.get());
  return text == nullptr || text[0] == '*' ? "" : text;
}

}  // namespace

std::string HashPassword(const std::string& password, int cost) {
  const auto salt = RandomBytes<16>();
  char setting[CRYPT_GENSALT_OUTPUT_SIZE];
  const char* const made =
      ::crypt_gensalt_rn("$2a$", static_cast<unsigned long>(cost), salt.data(),
                         static_cast<int>(salt.size()), setting, sizeof(setting));
  KEELSON_CHECK(made != nullptr) << "bcrypt refuses the cost " << cost;
  std::string hash = Crypt(password, made);
  KEELSON_CHECK(!hash.empty()) << "bcrypt failed at cost " << cost;
  return hash;
}

bool PasswordMatches(const std::string& password, const std::string& hash) {
  // Only bcrypt: the library knows weaker kinds too.
  if (!hash.starts_with("$2")) return false;
  const std::string again = Crypt(password, hash);
  return !again.empty() && SameText(again, hash);
}

std::string NewToken() {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  std::string token;
  while (token.size() < 16) {
    for (const char byte : RandomBytes<32>()) {
      // Six bits; what is no letter is thrown away, so that each is as likely as the others.
      const size_t at = static_cast<unsigned char>(byte) & 63U;
      if (at < kLetters.size() && token.size() < 16) token += kLetters[at];
    }
  }
  return token;
}

}  // namespace keelson::kvstore::auth
