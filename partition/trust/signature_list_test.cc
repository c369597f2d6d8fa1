#include "partition/trust/signature_list.h"

#include <catch2/catch.hpp>

#include "base/little_endian.h"
#include "base/testing/status_matchers.h"
#include "partition/trust/auth_variable.h"
#include "partition/trust/testing/pe_builder.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;
using testing::Alice;
using testing::Bob;

const absl::Time kTime = absl::FromUnixSeconds(1767323045);  // 2026-01-02 03:04:05

Guid Owner() {
  Guid guid;
  guid.bytes[15] = 7;
  return guid;
}

std::string TwoLists() {
  std::vector<SignatureList> lists = CertificateLists({{Alice().certificate}}, Owner());
  lists.push_back(*DigestList({std::string(32, 'a'), std::string(32, 'b')}, Owner()));
  return *EncodeSignatureLists(lists);
}

TEST_CASE("Signature lists are read as they were written", "[partition][esl]") {
  const std::string bytes = TwoLists();
  KEELSON_ASSIGN_OR_FAIL(const std::vector<SignatureList> lists, ParseSignatureLists(bytes));
  REQUIRE(lists.size() == 2);
  CHECK(lists[1].type == Sha256SignatureType());
  REQUIRE(lists[1].signatures.size() == 2);
  CHECK(lists[1].signatures[1] == Signature{Owner(), std::string(32, 'b')});
  KEELSON_ASSIGN_OR_FAIL(const std::vector<Certificate> certificates, CertificatesIn(lists));
  REQUIRE(certificates.size() == 1);
  CHECK(certificates[0].fingerprint() == Alice().certificate.fingerprint());
  KEELSON_ASSIGN_OR_FAIL(const std::string again, EncodeSignatureLists(lists));
  CHECK(again == bytes);
}

TEST_CASE("Signature lists that are cut off or lie about sizes are refused", "[partition][esl]") {
  const std::string bytes = TwoLists();
  const size_t first = LoadLe32(bytes, 16);
  for (size_t size = 1; size < bytes.size(); ++size) {
    CHECK(ParseSignatureLists(bytes.substr(0, size)).ok() == (size == first));
  }
  const auto lie = [&](size_t offset, uint32_t value, const std::string& fault) {
    std::string altered = bytes;
    StoreLe32(altered, first + offset, value);
    KEELSON_CHECK_ERROR(ParseSignatureLists(altered), Code::kDataLoss, fault);
  };
  lie(16, 0, "expected a size from 28");
  lie(16, 0xffffffff, "expected a size from 28");
  lie(20, 0xffffffff, "expected a header inside");
  lie(24, 0, "expected signatures that fill 96 bytes");
  lie(24, 16, "expected signatures that fill 96 bytes");
  lie(24, 47, "expected signatures that fill 96 bytes, found 47");
}

TEST_CASE("Lists that no firmware could read are not written", "[partition][esl]") {
  KEELSON_CHECK_ERROR(DigestList({"short"}, Owner()), Code::kInvalidArgument, "32 bytes, found 5");
  SignatureList list;
  KEELSON_CHECK_ERROR(EncodeSignatureLists({{list}}), Code::kInvalidArgument, "without signatures");
  list.signatures = {{Owner(), "aa"}, {Owner(), "b"}};
  KEELSON_CHECK_ERROR(EncodeSignatureLists({{list}}), Code::kInvalidArgument, "2 and 1 bytes");
}

TEST_CASE("A signed variable is bound to its name, vendor, attributes, time and value",
          "[partition][auth]") {
  KEELSON_ASSIGN_OR_FAIL(const VariableName db, SecureBootVariable("db"));
  KEELSON_ASSIGN_OR_FAIL(const std::string bytes,
                         SignVariable({.variable = db, .time = kTime, .data = TwoLists()},
                                      Alice().key, Alice().certificate));
  KEELSON_ASSIGN_OR_FAIL(const SignedVariable variable, ParseSignedVariable(bytes));
  CHECK(variable.time == kTime);
  CHECK(variable.data == TwoLists());
  const Certificate alice[] = {Alice().certificate};
  const Certificate bob[] = {Bob().certificate};

  KEELSON_REQUIRE_OK(VerifyVariable(db, kAuthVariableAttributes, variable, alice));
  KEELSON_CHECK_ERROR(VerifyVariable(db, kAuthVariableAttributes, variable, bob),
                      Code::kPermissionDenied, "CN=Alice");
  const auto refused = [&](const VariableName& name, uint32_t attributes,
                           const SignedVariable& changed) {
    KEELSON_CHECK_ERROR(VerifyVariable(name, attributes, changed, alice), Code::kDataLoss,
                        "not one over this content");
  };
  refused(*SecureBootVariable("dbx"), kAuthVariableAttributes, variable);
  refused({"db", SecureBootVariable("PK")->vendor}, kAuthVariableAttributes, variable);
  refused(db, kAuthVariableAttributes | kAppendWrite, variable);
  SignedVariable changed = variable;
  changed.time += absl::Seconds(1);
  refused(db, kAuthVariableAttributes, changed);
  changed = variable;
  changed.data[0] ^= 1;
  refused(db, kAuthVariableAttributes, changed);
}

TEST_CASE("A signed variable that is cut off or malformed is refused", "[partition][auth]") {
  const VariableName pk = *SecureBootVariable("PK");
  KEELSON_ASSIGN_OR_FAIL(const std::string bytes, SignVariable({.variable = pk, .time = kTime},
                                                               Alice().key, Alice().certificate));
  for (size_t size = 0; size < bytes.size(); ++size) {
    CHECK(ParseSignedVariable(bytes.substr(0, size)).status().code() == Code::kDataLoss);
  }
  const auto lie = [&](size_t offset, uint32_t value, const std::string& fault) {
    std::string altered = bytes;
    StoreLe32(altered, offset, value);
    KEELSON_CHECK_ERROR(ParseSignedVariable(altered), Code::kDataLoss, fault);
  };
  lie(0, 0x010d07ea, "a time in UTC");  // a thirteenth month
  lie(8, 1, "a time in UTC");
  lie(16, 23, "certificate of 24 to");
  lie(16, 0xffffffff, "certificate of 24 to");
  lie(20, 0x0ef00200, "a PKCS#7 certificate");
  lie(24, 0, "a PKCS#7 certificate");
}

TEST_CASE("Only Secure Boot's variables have known vendors", "[partition][auth]") {
  KEELSON_CHECK_ERROR(SecureBootVariable("BootOrder"), Code::kInvalidArgument, "'BootOrder'");
  CHECK(ToString(SecureBootVariable("KEK")->vendor) == "8be4df61-93ca-11d2-aa0d-00e098032b8c");
  KEELSON_CHECK_ERROR(
      SignVariable({.variable = *SecureBootVariable("db"), .time = absl::InfiniteFuture()},
                   Alice().key, Alice().certificate),
      Code::kInvalidArgument, "expected a year");
}

}  // namespace
}  // namespace keelson::partition
