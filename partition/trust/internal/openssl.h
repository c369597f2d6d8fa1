// OpenSSL's objects with owners, and its errors as statuses.
#ifndef KEELSON_PARTITION_TRUST_INTERNAL_OPENSSL_H_
#define KEELSON_PARTITION_TRUST_INTERNAL_OPENSSL_H_

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "base/openssl_free.h"

namespace keelson::partition {

using BioPtr = std::unique_ptr<BIO, OpenSslFree<BIO_free_all>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpenSslFree<EVP_PKEY_free>>;
using DigestContextPtr = std::unique_ptr<EVP_MD_CTX, OpenSslFree<EVP_MD_CTX_free>>;
using Pkcs7Ptr = std::unique_ptr<PKCS7, OpenSslFree<PKCS7_free>>;
using StorePtr = std::unique_ptr<X509_STORE, OpenSslFree<X509_STORE_free>>;
using X509Ptr = std::unique_ptr<X509, OpenSslFree<X509_free>>;

// "<context>: <what OpenSSL's error queue of this thread says>"; empties the queue.
absl::Status OpenSslError(absl::StatusCode code, std::string_view context);

// Reads from `bytes`, which must outlive it.
BioPtr ReadingBio(std::string_view bytes);

// SHA-256: 32 bytes.
std::string Sha256(std::string_view bytes);

inline const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// What an i2d_ function of OpenSSL makes of `object`.
template <typename T, typename Encode>
std::string ToDer(const T* object, Encode encode) {
  unsigned char* bytes = nullptr;
  const int size = encode(const_cast<T*>(object), &bytes);
  if (size < 0) return {};
  std::string der(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  OPENSSL_free(bytes);
  return der;
}

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_TRUST_INTERNAL_OPENSSL_H_
