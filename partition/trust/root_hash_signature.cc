#include "partition/trust/root_hash_signature.h"

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "partition/trust/internal/pkcs7.h"

namespace keelson::partition {
namespace {

// SHA-1, which ChromeOS began with, to SHA-512.
constexpr size_t kHexDigitsMin = 40;
constexpr size_t kHexDigitsMax = 128;
constexpr size_t kPartitionBytesMax = size_t{1} << 20;

absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

// The bytes that are signed.
absl::StatusOr<std::string> Signed(std::string_view root_hash) {
  if (root_hash.size() < kHexDigitsMin || root_hash.size() > kHexDigitsMax ||
      root_hash.size() % 2 != 0 ||
      root_hash.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("'", ToAbsl(root_hash.substr(0, kHexDigitsMax)),
                                                   "' is no root hash: expected ", kHexDigitsMin,
                                                   " to ", kHexDigitsMax, " hexadecimal digits"));
  }
  return absl::AsciiStrToLower(ToAbsl(root_hash));
}

}  // namespace

absl::StatusOr<std::string> SignRootHash(std::string_view root_hash, const PrivateKey& key,
                                         const Certificate& certificate) {
  KEELSON_ASSIGN_OR_RETURN(const std::string content, Signed(root_hash));
  if (key.public_key().kind() == "Ed25519") {
    return absl::InvalidArgumentError("PKCS#7 has no Ed25519: expected an RSA or ECDSA key");
  }
  return SignDetached(content, key, certificate, /*embed_certificate=*/false);
}

absl::StatusOr<Certificate> VerifyRootHash(std::string_view root_hash, std::string_view signature,
                                           std::span<const Certificate> trusted) {
  KEELSON_ASSIGN_OR_RETURN(const std::string content, Signed(root_hash));
  KEELSON_ASSIGN_OR_RETURN(const Pkcs7Ptr pkcs7, ParsePkcs7(signature));
  return VerifyPkcs7(pkcs7.get(), content, trusted);
}

std::string EncodeVeritySignature(const VeritySignature& signature) {
  nlohmann::json json = {
      {"rootHash", signature.root_hash},
      {"signature", absl::Base64Escape(signature.signature)},
  };
  if (!signature.certificate_fingerprint.empty()) {
    json["certificateFingerprint"] = signature.certificate_fingerprint;
  }
  std::string bytes = json.dump();
  const size_t blocks = (bytes.size() + kVeritySignatureMultiple) / kVeritySignatureMultiple;
  bytes.resize(blocks * kVeritySignatureMultiple);  // At least one zero ends the text.
  return bytes;
}

absl::StatusOr<VeritySignature> ParseVeritySignature(std::string_view bytes) {
  if (bytes.size() > kPartitionBytesMax) {
    return absl::DataLossError(absl::StrCat("verity signature: expected at most ",
                                            kPartitionBytesMax, " bytes, found ", bytes.size()));
  }
  const nlohmann::json json =
      nlohmann::json::parse(bytes.substr(0, bytes.find('\0')), nullptr, /*allow_exceptions=*/false);
  VeritySignature signature;
  std::string base64;
  if (!json.is_object()) return absl::DataLossError("verity signature: expected a JSON object");
  for (const auto& [key, value] :
       {std::pair{"rootHash", &signature.root_hash}, std::pair{"signature", &base64},
        std::pair{"certificateFingerprint", &signature.certificate_fingerprint}}) {
    const auto found = json.find(key);
    if (found == json.end()) continue;
    if (!found->is_string()) {
      return absl::DataLossError(absl::StrCat("verity signature: '", key, "' is no string"));
    }
    *value = found->get<std::string>();
  }
  if (!Signed(signature.root_hash).ok()) {
    return absl::DataLossError("verity signature: 'rootHash' is no root hash");
  }
  if (base64.empty() || !absl::Base64Unescape(base64, &signature.signature)) {
    return absl::DataLossError("verity signature: 'signature' is no base64");
  }
  return signature;
}

}  // namespace keelson::partition
