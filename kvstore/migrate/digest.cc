#include "kvstore/migrate/digest.h"

#include <openssl/evp.h>

#include "base/check.h"

namespace keelson::kvstore {

struct Sha256::State {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(),
                                                                  &EVP_MD_CTX_free};
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  KEELSON_CHECK(EVP_DigestInit_ex(state_->context.get(), EVP_sha256(), nullptr) == 1)
      << "SHA-256 is not available in this OpenSSL";
}

Sha256::~Sha256() = default;

void Sha256::Add(std::string_view bytes) {
  EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size());
}

std::string Sha256::Take() {
  std::string digest(kSha256Bytes, '\0');
  EVP_DigestFinal_ex(state_->context.get(), reinterpret_cast<unsigned char*>(digest.data()),
                     nullptr);
  return digest;
}

}  // namespace keelson::kvstore
