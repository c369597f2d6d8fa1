// Tokens as they come, and tokens whose signature is good whatever stands in them: the header is the
// input's first line, the claims are the rest.
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "kvstore/auth/jwt.h"

namespace {

using keelson::kvstore::auth::Jwt;

constexpr std::string_view kSecret = "secret";

std::unique_ptr<Jwt> MakeJwt() {
  char path[] = "/tmp/jwt_fuzz_XXXXXX";
  const int fd = ::mkstemp(path);
  KEELSON_CHECK(fd >= 0 && ::write(fd, kSecret.data(), kSecret.size()) ==
                               static_cast<ssize_t>(kSecret.size()));
  ::close(fd);
  auto jwt = Jwt::Create({.method = "HS256", .private_key_file = path});
  ::unlink(path);
  KEELSON_CHECK(jwt.ok()) << jwt.status().ToString();
  return *std::move(jwt);
}

std::string Base64Url(std::string_view bytes) {
  std::string text;
  absl::WebSafeBase64Escape(absl::string_view(bytes.data(), bytes.size()), &text);
  while (!text.empty() && text.back() == '=') text.pop_back();
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::unique_ptr<Jwt> jwt = MakeJwt();
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  KEELSON_CHECK(!jwt->Verify(input, now).has_value()) << "nobody signed this";

  const size_t line = input.find('\n');
  if (line == std::string_view::npos) return 0;
  const std::string text =
      absl::StrCat(Base64Url(input.substr(0, line)), ".", Base64Url(input.substr(line + 1)));
  unsigned char code[EVP_MAX_MD_SIZE];
  unsigned code_size = 0;
  HMAC(EVP_sha256(), kSecret.data(), static_cast<int>(kSecret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), code, &code_size);
  const std::string signature(reinterpret_cast<const char*>(code), code_size);
  const auto claims = jwt->Verify(absl::StrCat(text, ".", Base64Url(signature)), now);
  if (!claims.has_value()) return 0;
  // What was understood can be said again.
  const auto again = jwt->Sign(claims->user, claims->revision, now);
  KEELSON_CHECK(again.ok()) << again.status().ToString();
  const auto same = jwt->Verify(*again, now);
  const bool fits = again->size() <= Jwt::kTokenBytesMax;
  KEELSON_CHECK(!fits || (same.has_value() && same->revision == claims->revision));
  return 0;
}
