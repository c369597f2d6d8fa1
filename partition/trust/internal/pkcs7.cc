#include "partition/trust/internal/pkcs7.h"

#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "partition/trust/internal/der.h"

namespace keelson::partition {
namespace {

constexpr int kSignFlags = PKCS7_DETACHED | PKCS7_NOATTR | PKCS7_BINARY;
// 1.2.840.113549.1.7.2
constexpr std::string_view kSignedDataOid = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
constexpr uint8_t kContextTag0 = 0xa0;

struct FreeStackOnly {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};
using StackPtr = std::unique_ptr<STACK_OF(X509), FreeStackOnly>;

bool IsStrongDigest(const PKCS7_SIGNER_INFO* signer) {
  const ASN1_OBJECT* algorithm = nullptr;
  X509_ALGOR_get0(&algorithm, nullptr, nullptr, signer->digest_alg);
  const int nid = OBJ_obj2nid(algorithm);
  return nid == NID_sha256 || nid == NID_sha384 || nid == NID_sha512;
}

absl::Status CheckSigners(PKCS7* pkcs7) {
  STACK_OF(PKCS7_SIGNER_INFO)* signers = PKCS7_get_signer_info(pkcs7);
  const int count = signers == nullptr ? 0 : sk_PKCS7_SIGNER_INFO_num(signers);
  if (count <= 0) return absl::DataLossError("PKCS#7: there is no signature in it");
  for (int i = 0; i < count; ++i) {
    if (!IsStrongDigest(sk_PKCS7_SIGNER_INFO_value(signers, i))) {
      return absl::DataLossError("PKCS#7: expected a digest of SHA-256 or better");
    }
  }
  return absl::OkStatus();
}

// "of 'CN=...' (serial 12ab)", as far as the signature tells.
std::string SignerText(PKCS7* pkcs7) {
  const PKCS7_SIGNER_INFO* signer = sk_PKCS7_SIGNER_INFO_value(PKCS7_get_signer_info(pkcs7), 0);
  const BioPtr bio(BIO_new(BIO_s_mem()));
  (void)X509_NAME_print_ex(bio.get(), signer->issuer_and_serial->issuer, 0, XN_FLAG_RFC2253);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);  // NOLINT(google-runtime-int)
  return {text, static_cast<size_t>(size)};
}

// No X509_V_FLAG_PARTIAL_CHAIN would mean that only self-signed certificates can be trusted.
StorePtr StoreOf(std::span<const Certificate> trusted) {
  StorePtr store(X509_STORE_new());
  for (const Certificate& certificate : trusted) {
    (void)X509_STORE_add_cert(store.get(), certificate.handle());  // A second copy is no error.
  }
  (void)X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_NO_CHECK_TIME);
  (void)X509_STORE_set_purpose(store.get(), X509_PURPOSE_ANY);
  return store;
}

bool IsTrustError(unsigned long error) {  // NOLINT(google-runtime-int)
  const int reason = ERR_GET_REASON(error);
  return ERR_GET_LIB(error) == ERR_LIB_PKCS7 && (reason == PKCS7_R_CERTIFICATE_VERIFY_ERROR ||
                                                 reason == PKCS7_R_SIGNER_CERTIFICATE_NOT_FOUND);
}

}  // namespace

absl::StatusOr<Pkcs7Ptr> ParsePkcs7(std::string_view der) {
  if (der.size() > kPkcs7BytesMax) {
    return absl::DataLossError(
        absl::StrCat("PKCS#7: expected at most ", kPkcs7BytesMax, " bytes, found ", der.size()));
  }
  DerReader outer(der);
  KEELSON_ASSIGN_OR_RETURN(const std::string_view contents, outer.Take(kDerSequence));
  if (outer.rest().find_first_not_of('\0') != std::string_view::npos) {
    return absl::DataLossError("PKCS#7: bytes behind its end");
  }
  std::string wrapped(der.substr(0, der.size() - outer.rest().size()));
  if (!contents.empty() && contents[0] == kDerInteger) {  // SignedData starts with its version.
    wrapped = Der(kDerSequence,
                  {Der(kDerOid, {kSignedDataOid}), Der(kContextTag0, {std::string_view(wrapped)})});
  }
  ERR_clear_error();
  const unsigned char* at = Bytes(wrapped);
  Pkcs7Ptr pkcs7(d2i_PKCS7(nullptr, &at, static_cast<long>(wrapped.size())));  // NOLINT
  if (pkcs7 == nullptr) return OpenSslError(absl::StatusCode::kDataLoss, "PKCS#7");
  if (!PKCS7_type_is_signed(pkcs7.get()) || pkcs7->d.sign == nullptr ||
      pkcs7->d.sign->contents == nullptr) {
    return absl::DataLossError("PKCS#7: it is not signed data");
  }
  return pkcs7;
}

absl::StatusOr<std::string> SignDetached(std::string_view content, const PrivateKey& key,
                                         const Certificate& certificate, bool embed_certificate) {
  KEELSON_RETURN_IF_ERROR(certificate.CheckBelongsTo(key));
  ERR_clear_error();
  const int flags = kSignFlags | (embed_certificate ? 0 : PKCS7_NOCERTS);
  const BioPtr bio = ReadingBio(content);
  const Pkcs7Ptr pkcs7(PKCS7_sign(nullptr, nullptr, nullptr, bio.get(), flags | PKCS7_PARTIAL));
  if (pkcs7 == nullptr ||
      PKCS7_sign_add_signer(pkcs7.get(), certificate.handle(), key.handle(), EVP_sha256(), flags) ==
          nullptr ||
      PKCS7_final(pkcs7.get(), bio.get(), flags) != 1) {
    return OpenSslError(absl::StatusCode::kInternal, "sign PKCS#7");
  }
  return ToDer(pkcs7.get(), i2d_PKCS7);
}

absl::StatusOr<std::string> WithoutContentInfo(std::string_view der) {
  DerReader outer(der);
  KEELSON_ASSIGN_OR_RETURN(const std::string_view contents, outer.Take(kDerSequence));
  DerReader inner(contents);
  KEELSON_RETURN_IF_ERROR(inner.Take(kDerOid));
  KEELSON_ASSIGN_OR_RETURN(const std::string_view signed_data, inner.Take(kContextTag0));
  return std::string(signed_data);
}

absl::StatusOr<Certificate> VerifyPkcs7(PKCS7* pkcs7, std::string_view content,
                                        std::span<const Certificate> trusted) {
  KEELSON_RETURN_IF_ERROR(CheckSigners(pkcs7));
  ERR_clear_error();
  const StorePtr store = StoreOf(trusted);
  const StackPtr candidates(sk_X509_new_null());
  for (const Certificate& certificate : trusted) {
    (void)sk_X509_push(candidates.get(), certificate.handle());
  }
  // Behind a filter that does nothing: of plain memory PKCS7_verify makes a copy, which OpenSSL 3.0 leaks
  // when the digest of the signature is one that it does not know.
  BioPtr bio(BIO_new(BIO_f_null()));
  if (bio == nullptr) return OpenSslError(absl::StatusCode::kInternal, "PKCS#7");
  BIO_push(bio.get(), ReadingBio(content).release());
  if (PKCS7_verify(pkcs7, candidates.get(), store.get(), bio.get(), nullptr, PKCS7_BINARY) != 1) {
    if (IsTrustError(ERR_peek_error()) || IsTrustError(ERR_peek_last_error())) {
      ERR_clear_error();
      return absl::PermissionDeniedError(
          absl::StrCat("no trusted certificate made the signature; its signer was certified by '",
                       SignerText(pkcs7), "'"));
    }
    return OpenSslError(absl::StatusCode::kDataLoss, "the signature is not one over this content");
  }
  const StackPtr signers(PKCS7_get0_signers(pkcs7, candidates.get(), 0));
  if (signers == nullptr || sk_X509_num(signers.get()) < 1) {
    return OpenSslError(absl::StatusCode::kDataLoss, "PKCS#7 signer");
  }
  X509* signer = sk_X509_value(signers.get(), 0);
  (void)X509_up_ref(signer);
  return Certificate::FromHandle(X509Ptr(signer));
}

}  // namespace keelson::partition
