#include "partition/trust/keys.h"

#include <catch2/catch.hpp>

#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "partition/trust/root_hash_signature.h"
#include "partition/trust/testing/pe_builder.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;
using testing::Alice;
using testing::Bob;

// Made by openssl genpkey -algorithm ed25519, and encrypted by openssl pkcs8 -topk8 -v2 aes256 with
// the pass phrase "open".
constexpr char kEd25519[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIPM3E8nP04eDb2Pf1Ktpi4gYr3pd2VPKMcdS6EpgEN5R\n"
    "-----END PRIVATE KEY-----\n";
constexpr char kEncrypted[] =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhYUvCvYvKR7AICCAAw\n"
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEC0dU1751spwF6b/i+LnnzEEQGWF\n"
    "79pdAk7//lVh5eZuyEG1R9IUp2wPMU+DLBfdaH3cdTr5oQGOi8dH1dZidXlbOP33\n"
    "9NPAv+SauL4i+KyGBWU=\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n";
constexpr char kSmallRsa[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAMBSmm3+NBZETBGE\n"
    "5b1UXFOk2Q1Lxp69OK5QBbQkGDjVwYCbUXlI8PLaodhAlaXRFN2CvsQj2uVBI9R4\n"
    "jxQqNKX5pRZ+nmauKBwZQpjLNsbrEONY+IPEYiuJ+PIGbbKILcPWcNqtMzFGEm/9\n"
    "4wJKw26oWvYtpKA89P2lhcherv2xAgMBAAECgYBNq05oq2eXsn9R9+zcGEytDv8F\n"
    "SpvtEZfpdbHH/We21ESwTomJxLZiLX99GSAWdijKCHpINf655SO2M/X8e8sEpU4D\n"
    "H9FXeq8YcJebgTP4UZYvZyJEH+8fn8fRN/3q8bX1QmTjel53UDZ/dzwDdSRZIuKc\n"
    "9V3X4BFjIyOnYSk30QJBAOTOCjdDPIZybbHX5EmiuTMKCDdD/uue3Z1jBH/3tPtg\n"
    "RQyLhPSxJytLEDwkk2O20Ubf4Um5q6kR7yTD515Fgp0CQQDXLoB5pfB1eGyzxTzw\n"
    "APg9ng4t+490l8hjO6U8Qy6LX0TFIrUld+VrkwookReFNvBH5k/EO5yC2eyExf6N\n"
    "eoElAkB65C+YfwSDMfK5ErwK0NuoDjtbc6n349wkLIq+MM2ENrDfjBBdXMks96RA\n"
    "qWSAqjC9YIIglxkcNgW8OXyLpcoBAkALjrPX1NHVfWJZRX7AZUzwAk1AqwJJgN2C\n"
    "dvGpCvK1Cajn7bVNDeOEo6EoDKL2xLyjH/uozorZfFr3xqqlbq8BAkEA2VDlv+i6\n"
    "6M3UQzfxKrXXbZE1vTfijq1ztXkdFl+Gu/z7PVRW+bdZvcYWo8sQyVom/vLPB6sk\n"
    "9tgoIX4OXdWV4w==\n"
    "-----END PRIVATE KEY-----\n";
const std::string kHash(64, 'a');

TEST_CASE("A key signs, and only what it signed is verified", "[partition][keys]") {
  KEELSON_ASSIGN_OR_FAIL(const PrivateKey ed25519, PrivateKey::Parse(kEd25519));
  for (const PrivateKey& key : {Alice().key, ed25519}) {
    KEELSON_ASSIGN_OR_FAIL(std::string signature, key.Sign("message"));
    KEELSON_REQUIRE_OK(key.public_key().Verify("message", signature));
    KEELSON_CHECK_ERROR(key.public_key().Verify("massage", signature), Code::kPermissionDenied,
                        key.public_key().id());
    KEELSON_CHECK_ERROR(Bob().key.public_key().Verify("message", signature),
                        Code::kPermissionDenied, "not one of key");
    signature[3] ^= 1;
    KEELSON_CHECK_ERROR(key.public_key().Verify("message", signature), Code::kPermissionDenied, "");
    KEELSON_CHECK_ERROR(key.public_key().Verify("message", ""), Code::kPermissionDenied, "");
  }
}

TEST_CASE("A key has the same identity in every form", "[partition][keys]") {
  const PublicKey& key = Alice().key.public_key();
  KEELSON_ASSIGN_OR_FAIL(const PublicKey from_pem, PublicKey::Parse(key.ToPem()));
  KEELSON_ASSIGN_OR_FAIL(const PublicKey from_certificate, Alice().certificate.public_key());
  CHECK(from_pem == key);
  CHECK(from_certificate.id() == key.id());
  CHECK(key.kind() == "RSA-2048");
  CHECK(key != Bob().key.public_key());
}

TEST_CASE("An encrypted key needs its pass phrase, and nobody is asked for it",
          "[partition][keys]") {
  KEELSON_REQUIRE_OK(PrivateKey::Parse(kEncrypted, "open"));
  KEELSON_CHECK_ERROR(PrivateKey::Parse(kEncrypted, "shut"), Code::kInvalidArgument,
                      "no private key");
  KEELSON_CHECK_ERROR(PrivateKey::Parse(kEncrypted), Code::kInvalidArgument, "no private key");
}

TEST_CASE("Weak and other keys are refused", "[partition][keys]") {
  KEELSON_CHECK_ERROR(PrivateKey::Parse(kSmallRsa), Code::kInvalidArgument,
                      "RSA key of 1024 bits: expected at least 2048");
  KEELSON_CHECK_ERROR(PrivateKey::Parse("junk"), Code::kInvalidArgument, "no private key");
  KEELSON_CHECK_ERROR(PublicKey::Parse(""), Code::kInvalidArgument, "no public key");
  KEELSON_CHECK_ERROR(Certificate::Parse("junk"), Code::kInvalidArgument, "no certificate");
  KEELSON_CHECK_ERROR(Certificate::Parse(Alice().certificate.der() + "x"), Code::kInvalidArgument,
                      "bytes behind");
}

TEST_CASE("A key comes from a file, and a missing one is named", "[partition][keys]") {
  SimFileSystem fs(Random(1), {});
  KEELSON_REQUIRE_OK(WriteFileAtomically(fs, "db.key", kEd25519));
  KEELSON_REQUIRE_OK(OpenPrivateKey(fs, "db.key", {}));
  KEELSON_CHECK_ERROR(OpenPrivateKey(fs, "none.key", {}), Code::kNotFound, "none.key");
  KEELSON_REQUIRE_OK(WriteFileAtomically(fs, "junk.key", "junk"));
  KEELSON_CHECK_ERROR(OpenPrivateKey(fs, "junk.key", {}), Code::kInvalidArgument, "'junk.key'");
}

TEST_CASE("All certificates of a file are read", "[partition][keys]") {
  const std::string both = Alice().certificate.ToPem() + "text\n" + Bob().certificate.ToPem();
  KEELSON_ASSIGN_OR_FAIL(const std::vector<Certificate> certificates, ParseCertificates(both));
  REQUIRE(certificates.size() == 2);
  CHECK(certificates[1].subject() == "CN=Bob");
  KEELSON_CHECK_ERROR(ParseCertificates(both + "-----BEGIN CERTIFICATE-----\nMIIB\n"),
                      Code::kInvalidArgument, "certificate 3");
  KEELSON_CHECK_ERROR(ParseCertificates(""), Code::kInvalidArgument, "no certificate");
}

TEST_CASE("A root hash's signature is about that hash and of that signer",
          "[partition][root_hash]") {
  KEELSON_ASSIGN_OR_FAIL(const std::string p7,
                         SignRootHash(kHash, Alice().key, Alice().certificate));
  const Certificate alice[] = {Alice().certificate};
  const Certificate bob[] = {Bob().certificate};

  KEELSON_ASSIGN_OR_FAIL(const Certificate signer, VerifyRootHash(kHash, p7, alice));
  CHECK(signer.subject() == "CN=Alice");
  KEELSON_REQUIRE_OK(VerifyRootHash(std::string(64, 'A'), p7, alice));
  KEELSON_CHECK_ERROR(VerifyRootHash(std::string(64, 'b'), p7, alice), Code::kDataLoss,
                      "not one over this content");
  KEELSON_CHECK_ERROR(VerifyRootHash(kHash, p7, bob), Code::kPermissionDenied, "'CN=Alice'");
  KEELSON_CHECK_ERROR(VerifyRootHash(kHash, p7, {}), Code::kPermissionDenied, "no trusted");
  KEELSON_CHECK_ERROR(VerifyRootHash("abc", p7, alice), Code::kInvalidArgument, "is no root hash");
  KEELSON_CHECK_ERROR(SignRootHash(kHash + "0", Alice().key, Alice().certificate),
                      Code::kInvalidArgument, "is no root hash");
}

TEST_CASE("A root hash's signature that is cut or altered is refused", "[partition][root_hash]") {
  KEELSON_ASSIGN_OR_FAIL(const std::string p7,
                         SignRootHash(kHash, Alice().key, Alice().certificate));
  const Certificate alice[] = {Alice().certificate};
  for (size_t i = 0; i < p7.size(); ++i) {
    CHECK_FALSE(VerifyRootHash(kHash, p7.substr(0, i), alice).ok());
  }
  KEELSON_CHECK_ERROR(VerifyRootHash(kHash, p7 + "x", alice), Code::kDataLoss, "behind its end");
  for (size_t i = p7.size() - 256; i < p7.size(); ++i) {
    std::string altered = p7;
    altered[i] ^= 1;
    CHECK_FALSE(VerifyRootHash(kHash, altered, alice).ok());
  }
}

// UAPI.2: the partition holds one JSON object and zeros up to a multiple of 4096.
TEST_CASE("A signature partition is read as it was written", "[partition][root_hash]") {
  const std::string bytes = EncodeVeritySignature(
      {.root_hash = kHash, .certificate_fingerprint = "ff", .signature = std::string(4096, 's')});
  CHECK(bytes.size() == 8192);
  KEELSON_ASSIGN_OR_FAIL(const VeritySignature signature, ParseVeritySignature(bytes));
  CHECK(signature.signature == std::string(4096, 's'));
  CHECK(signature.root_hash == kHash);
  for (const char* text :
       {"", "[]", "{}", "{\"rootHash\":1}", "{\"rootHash\":\"zz\",\"signature\":\"AA==\"}"}) {
    CHECK(ParseVeritySignature(text).status().code() == Code::kDataLoss);
  }
  KEELSON_CHECK_ERROR(ParseVeritySignature("{\"rootHash\":\"" + kHash + "\",\"signature\":\"*\"}"),
                      Code::kDataLoss, "'signature' is no base64");
}

}  // namespace
}  // namespace keelson::partition
