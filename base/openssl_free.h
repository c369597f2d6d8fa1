// The deleter of OpenSSL's objects, which each have a function of their own for that:
//
//   using KeyPtr = std::unique_ptr<EVP_PKEY, OpenSslFree<EVP_PKEY_free>>;
#ifndef KEELSON_BASE_OPENSSL_FREE_H_
#define KEELSON_BASE_OPENSSL_FREE_H_

namespace keelson {

template <auto kFree>
struct OpenSslFree {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};

}  // namespace keelson

#endif  // KEELSON_BASE_OPENSSL_FREE_H_
