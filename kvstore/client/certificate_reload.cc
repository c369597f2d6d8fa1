#include "kvstore/client/certificate_reload.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <array>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/check.h"
#include "base/openssl_free.h"
#include "base/tls.h"

namespace keelson::kvstore {
namespace {

using BioPtr = std::unique_ptr<BIO, OpenSslFree<BIO_free_all>>;
using CertificatePtr = std::unique_ptr<X509, OpenSslFree<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpenSslFree<EVP_PKEY_free>>;

void FreeChain(STACK_OF(X509) * chain) { sk_X509_pop_free(chain, X509_free); }
using ChainPtr = std::unique_ptr<STACK_OF(X509), OpenSslFree<FreeChain>>;

// Tells one state of a file from another.
struct Stamp {
  int64_t seconds = 0;
  int64_t nanoseconds = 0;
  int64_t bytes = -1;  // the file cannot be looked at
  uint64_t inode = 0;

  friend bool operator==(const Stamp&, const Stamp&) = default;
};

Stamp StampOf(const std::string& path) {
  struct stat state {};
  if (::stat(path.c_str(), &state) != 0) return {};
  return {.seconds = state.st_mtim.tv_sec,
          .nanoseconds = state.st_mtim.tv_nsec,
          .bytes = state.st_size,
          .inode = state.st_ino};
}

BioPtr Read(const std::string& pem) {
  return BioPtr(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

class Follower {
 public:
  explicit Follower(CertificateFiles files) : files_(std::move(files)) {}

  // OpenSSL's callback before it picks a certificate: 1, or 0 to fail the handshake.
  int Show(SSL* ssl) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::Status trouble;
    int good = 1;
    {
      absl::MutexLock lock(&mu_);
      trouble = Refresh();
      if (certificate_ != nullptr) {
        good = SSL_use_cert_and_key(ssl, certificate_.get(), key_.get(), chain_.get(), 1);
      }
    }
    if (!trouble.ok() && files_.on_trouble) files_.on_trouble(trouble);
    return good;
  }

 private:
  absl::Status Refresh() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const std::array<Stamp, 2> stamps = {StampOf(files_.cert_file), StampOf(files_.key_file)};
    if (stamps == stamps_) return absl::OkStatus();
    stamps_ = stamps;
    // Checks that the two fit each other.
    const absl::StatusOr<TlsMaterial> material =
        LoadTlsMaterial({.cert_file = files_.cert_file, .key_file = files_.key_file});
    if (!material.ok()) return material.status();
    const BioPtr key_text = Read(material->key_pem);
    KeyPtr key(PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr));
    const BioPtr text = Read(material->cert_pem);
    CertificatePtr certificate(PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr));
    ChainPtr chain(sk_X509_new_null());
    while (X509* const next = PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr)) {
      KEELSON_CHECK(sk_X509_push(chain.get(), next) > 0) << "no memory";
    }
    ERR_clear_error();  // The end of the text is one.
    if (key == nullptr || certificate == nullptr) {
      return absl::InvalidArgumentError("'" + files_.cert_file + "' cannot be read again");
    }
    key_ = std::move(key);
    certificate_ = std::move(certificate);
    chain_ = std::move(chain);
    return absl::OkStatus();
  }

  const CertificateFiles files_;
  absl::Mutex mu_;
  std::array<Stamp, 2> stamps_ ABSL_GUARDED_BY(mu_) = {};
  CertificatePtr certificate_ ABSL_GUARDED_BY(mu_);  // null: nothing has been read
  KeyPtr key_ ABSL_GUARDED_BY(mu_);
  ChainPtr chain_ ABSL_GUARDED_BY(mu_);
};

void DeleteFollower(void* /*parent*/, void* follower, CRYPTO_EX_DATA* /*data*/, int /*index*/,
                    long /*number*/, void* /*argument*/) {
  delete static_cast<Follower*>(follower);
}

int Show(SSL* ssl, void* follower) { return static_cast<Follower*>(follower)->Show(ssl); }

}  // namespace

void FollowCertificate(ssl_ctx_st& context, CertificateFiles files) {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, DeleteFollower);
  auto follower = std::make_unique<Follower>(std::move(files));
  KEELSON_CHECK(SSL_CTX_set_ex_data(&context, index, follower.get()) == 1) << "no memory";
  SSL_CTX_set_cert_cb(&context, Show, follower.release());  // The context's now.
}

}  // namespace keelson::kvstore
