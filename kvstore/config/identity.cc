#include "kvstore/config/identity.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace keelson::kvstore {
namespace {

uint64_t First8OfSha1(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  const int ok = EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha1(), nullptr);
  KEELSON_CHECK(ok == 1 && size == 20) << "SHA-1 is not available in this OpenSSL";
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value = value << 8 | digest[i];
  return value;
}

}  // namespace

uint64_t FoundingMemberId(std::vector<std::string> peer_urls, std::string_view cluster_token) {
  std::sort(peer_urls.begin(), peer_urls.end());
  std::string bytes;
  for (const std::string& url : peer_urls) bytes += url;
  bytes += cluster_token;
  return First8OfSha1(bytes);
}

uint64_t ClusterId(std::vector<uint64_t> member_ids) {
  std::sort(member_ids.begin(), member_ids.end());
  std::string bytes;
  for (const uint64_t id : member_ids) {
    for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(id >> shift));
  }
  return First8OfSha1(bytes);
}

std::string FormatId(uint64_t id) { return absl::StrCat(absl::Hex(id)); }

}  // namespace keelson::kvstore
