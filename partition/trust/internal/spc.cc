#include "partition/trust/internal/spc.h"

#include <openssl/err.h>
#include <openssl/objects.h>

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "partition/trust/internal/der.h"
#include "partition/trust/internal/pkcs7.h"

namespace keelson::partition {
namespace {

constexpr char kIndirectDataOid[] = "1.3.6.1.4.1.311.2.1.4";
// The digests of sections: 2.25 and a UUID, which nobody needs to register (ITU-T X.667).
constexpr char kPartsOid[] = "2.25.8157629684649740592354149399306869990";
// 1.3.6.1.4.1.311.2.1.15, SPC_PE_IMAGE_DATA
constexpr std::string_view kPeImageDataOid = "\x2b\x06\x01\x04\x01\x82\x37\x02\x01\x0f";
// 2.16.840.1.101.3.4.2.1
constexpr std::string_view kSha256Oid = "\x60\x86\x48\x01\x65\x03\x04\x02\x01";
// "<<<Obsolete>>>" in UTF-16BE: where a name of the file stood in the first version.
constexpr std::string_view kObsolete("\0<\0<\0<\0O\0b\0s\0o\0l\0e\0t\0e\0>\0>\0>", 28);
constexpr size_t kDigestBytes = 32;

using ObjectPtr = std::unique_ptr<ASN1_OBJECT, OpenSslFree<ASN1_OBJECT_free>>;
using AttributePtr = std::unique_ptr<X509_ATTRIBUTE, OpenSslFree<X509_ATTRIBUTE_free>>;
using TypePtr = std::unique_ptr<ASN1_TYPE, OpenSslFree<ASN1_TYPE_free>>;
using TimePtr = std::unique_ptr<ASN1_TIME, OpenSslFree<ASN1_TIME_free>>;

struct FreeAttributes {
  void operator()(STACK_OF(X509_ATTRIBUTE) * stack) const {
    sk_X509_ATTRIBUTE_pop_free(stack, X509_ATTRIBUTE_free);
  }
};
using AttributesPtr = std::unique_ptr<STACK_OF(X509_ATTRIBUTE), FreeAttributes>;

ObjectPtr Oid(const char* text) { return ObjectPtr(OBJ_txt2obj(text, /*no_name=*/1)); }

// What stands inside the outer SEQUENCE of an SpcIndirectDataContent; that is also what is signed.
std::string IndirectData(std::string_view digest) {
  const std::string link = Der(0xa0, {Der(0xa2, {Der(0x80, {kObsolete})})});
  const std::string no_flags = Der(kDerBitString, {std::string_view("\0", 1)});
  const std::string data =
      Der(kDerSequence, {Der(kDerOid, {kPeImageDataOid}), Der(kDerSequence, {no_flags, link})});
  const std::string algorithm = Der(kDerSequence, {Der(kDerOid, {kSha256Oid}), Der(kDerNull, {})});
  return data + Der(kDerSequence, {algorithm, Der(kDerOctetString, {digest})});
}

absl::StatusOr<std::string> DigestIn(std::string_view content) {
  DerReader reader(content);
  KEELSON_RETURN_IF_ERROR(reader.Take(kDerSequence));  // What kind of file it is.
  KEELSON_ASSIGN_OR_RETURN(const std::string_view info, reader.Take(kDerSequence));
  DerReader info_reader(info);
  KEELSON_ASSIGN_OR_RETURN(const std::string_view algorithm, info_reader.Take(kDerSequence));
  KEELSON_ASSIGN_OR_RETURN(const std::string_view digest, info_reader.Take(kDerOctetString));
  DerReader algorithm_reader(algorithm);
  KEELSON_ASSIGN_OR_RETURN(const std::string_view oid, algorithm_reader.Take(kDerOid));
  if (oid != kSha256Oid || digest.size() != kDigestBytes) {
    return absl::DataLossError("Authenticode: expected a digest of SHA-256");
  }
  return std::string(digest);
}

std::string EncodeParts(const std::vector<PartDigest>& parts) {
  std::string items;
  for (const PartDigest& part : parts) {
    items +=
        Der(kDerSequence, {Der(kDerUtf8String, {part.name}), Der(kDerOctetString, {part.digest})});
  }
  return Der(kDerSequence, {items});
}

absl::StatusOr<std::vector<PartDigest>> DecodeParts(std::string_view der) {
  DerReader outer(der);
  KEELSON_ASSIGN_OR_RETURN(const std::string_view items, outer.Take(kDerSequence));
  std::vector<PartDigest> parts;
  for (DerReader reader(items); !reader.empty();) {
    KEELSON_ASSIGN_OR_RETURN(const std::string_view item, reader.Take(kDerSequence));
    DerReader fields(item);
    KEELSON_ASSIGN_OR_RETURN(const std::string_view name, fields.Take(kDerUtf8String));
    KEELSON_ASSIGN_OR_RETURN(const std::string_view digest, fields.Take(kDerOctetString));
    parts.push_back({std::string(name), std::string(digest)});
  }
  return parts;
}

// A copy of what the attribute holds goes into `attributes`.
bool Add(STACK_OF(X509_ATTRIBUTE) * attributes, const char* oid, int type, const void* data,
         int size) {
  const ObjectPtr object = Oid(oid);
  AttributePtr attribute(X509_ATTRIBUTE_create_by_OBJ(nullptr, object.get(), type, data, size));
  if (attribute == nullptr || sk_X509_ATTRIBUTE_push(attributes, attribute.get()) <= 0) {
    return false;
  }
  (void)attribute.release();  // The stack has it.
  return true;
}

bool AddAttributes(PKCS7_SIGNER_INFO* signer, const std::vector<PartDigest>& parts,
                   absl::Time time) {
  const AttributesPtr attributes(sk_X509_ATTRIBUTE_new_null());
  const ObjectPtr content_type = Oid(kIndirectDataOid);
  const std::string parts_der = EncodeParts(parts);
  // A size of -1 says that the data is an object of OpenSSL's.
  return Add(attributes.get(), "1.2.840.113549.1.9.3", V_ASN1_OBJECT, content_type.get(), -1) &&
         Add(attributes.get(), kPartsOid, V_ASN1_SEQUENCE, parts_der.data(),
             static_cast<int>(parts_der.size())) &&
         PKCS7_set_signed_attributes(signer, attributes.get()) == 1 &&
         PKCS7_add0_attrib_signing_time(signer,
                                        ASN1_TIME_adj(nullptr, absl::ToTimeT(time), 0, 0)) == 1;
}

// Puts the content in, after it was signed as if it were plain data.
bool SetContent(PKCS7* pkcs7, std::string_view content) {
  const std::string sequence = Der(kDerSequence, {content});
  Pkcs7Ptr inner(PKCS7_new());
  TypePtr value(ASN1_TYPE_new());
  ASN1_STRING* string = ASN1_STRING_type_new(V_ASN1_SEQUENCE);
  if (inner == nullptr || value == nullptr || string == nullptr) return false;
  ASN1_TYPE_set(value.get(), V_ASN1_SEQUENCE, string);
  if (ASN1_STRING_set(string, sequence.data(), static_cast<int>(sequence.size())) != 1) {
    return false;
  }
  inner->type = Oid(kIndirectDataOid).release();
  inner->d.other = value.release();
  PKCS7_free(pkcs7->d.sign->contents);
  pkcs7->d.sign->contents = inner.release();
  return true;
}

// The digests of sections in the signed attributes of the first signer.
std::vector<PartDigest> PartsIn(const PKCS7* pkcs7) {
  const PKCS7_SIGNER_INFO* signer = sk_PKCS7_SIGNER_INFO_value(pkcs7->d.sign->signer_info, 0);
  if (signer == nullptr) return {};
  const ObjectPtr oid = Oid(kPartsOid);
  const int at = X509at_get_attr_by_OBJ(signer->auth_attr, oid.get(), -1);
  if (at < 0) return {};
  ASN1_TYPE* value = X509_ATTRIBUTE_get0_type(X509at_get_attr(signer->auth_attr, at), 0);
  if (value == nullptr || value->type != V_ASN1_SEQUENCE) return {};
  const auto* der = reinterpret_cast<const char*>(ASN1_STRING_get0_data(value->value.sequence));
  const int size = ASN1_STRING_length(value->value.sequence);
  // Parts that cannot be read are as good as none: they only make messages better.
  return DecodeParts({der, static_cast<size_t>(size)}).value_or(std::vector<PartDigest>());
}

}  // namespace

absl::StatusOr<std::string> SignSpc(std::string_view pe_digest,
                                    const std::vector<PartDigest>& parts, const PrivateKey& key,
                                    const Certificate& certificate, absl::Time time) {
  KEELSON_RETURN_IF_ERROR(certificate.CheckBelongsTo(key));
  ERR_clear_error();
  const auto failed = [] { return OpenSslError(absl::StatusCode::kInternal, "sign PE"); };
  const std::string content = IndirectData(pe_digest);
  const Pkcs7Ptr pkcs7(PKCS7_new());
  if (pkcs7 == nullptr || PKCS7_set_type(pkcs7.get(), NID_pkcs7_signed) != 1) return failed();
  PKCS7_SIGNER_INFO* signer =
      PKCS7_add_signature(pkcs7.get(), certificate.handle(), key.handle(), EVP_sha256());
  if (signer == nullptr || PKCS7_add_certificate(pkcs7.get(), certificate.handle()) != 1 ||
      !AddAttributes(signer, parts, time) || PKCS7_content_new(pkcs7.get(), NID_pkcs7_data) != 1) {
    return failed();
  }
  const BioPtr bio(PKCS7_dataInit(pkcs7.get(), nullptr));
  if (bio == nullptr ||
      BIO_write(bio.get(), content.data(), static_cast<int>(content.size())) !=
          static_cast<int>(content.size()) ||
      BIO_flush(bio.get()) != 1 || PKCS7_dataFinal(pkcs7.get(), bio.get()) != 1 ||
      !SetContent(pkcs7.get(), content)) {
    return failed();
  }
  std::string der = ToDer(pkcs7.get(), i2d_PKCS7);
  if (der.empty()) return failed();
  return der;
}

absl::StatusOr<Spc> ParseSpc(std::string_view der) {
  Spc spc;
  KEELSON_ASSIGN_OR_RETURN(spc.pkcs7, ParsePkcs7(der));
  const PKCS7* contents = spc.pkcs7->d.sign->contents;
  const ObjectPtr oid = Oid(kIndirectDataOid);
  if (OBJ_cmp(contents->type, oid.get()) != 0 || contents->d.other == nullptr ||
      contents->d.other->type != V_ASN1_SEQUENCE) {
    return absl::DataLossError("Authenticode: the PKCS#7 is about something else");
  }
  const ASN1_STRING* sequence = contents->d.other->value.sequence;
  DerReader reader({reinterpret_cast<const char*>(ASN1_STRING_get0_data(sequence)),
                    static_cast<size_t>(ASN1_STRING_length(sequence))});
  KEELSON_ASSIGN_OR_RETURN(const std::string_view content, reader.Take(kDerSequence));
  spc.content = content;
  KEELSON_ASSIGN_OR_RETURN(spc.digest, DigestIn(spc.content));
  spc.parts = PartsIn(spc.pkcs7.get());
  return spc;
}

}  // namespace keelson::partition
