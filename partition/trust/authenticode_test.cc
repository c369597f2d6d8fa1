#include "partition/trust/authenticode.h"

#include <catch2/catch.hpp>

#include "base/little_endian.h"
#include "base/testing/status_matchers.h"
#include "partition/trust/pe_image.h"
#include "partition/trust/testing/pe_builder.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;
using testing::Alice;
using testing::Bob;
using testing::kHeadersBytes;
using testing::kOptionalOffset;
using testing::kPeOffset;
using testing::kSectionTable;
using testing::MakePe;

const PeSignOptions kAt = {.time = absl::FromUnixSeconds(1767225600)};

std::string Program() { return MakePe({{".text", "code"}, {".data", std::string(600, 'd')}}); }

std::string SignedBy(const KeyPair& pair, std::string_view pe) {
  absl::StatusOr<std::string> out = SignPe(pe, pair.key, pair.certificate, kAt);
  KEELSON_REQUIRE_OK(out);
  return *out;
}

TEST_CASE("A program's parts are found", "[partition][pe]") {
  const std::string pe = Program();
  KEELSON_ASSIGN_OR_FAIL(const PeImage image, ParsePe(pe));

  REQUIRE(image.sections.size() == 2);
  CHECK(image.machine == kPeMachineX64);
  CHECK(image.Contents(pe, *image.Find(".text")) == "code");
  CHECK(image.Contents(pe, *image.Find(".data")) == std::string(600, 'd'));
  CHECK(image.Find(".rsrc") == nullptr);
  CHECK(image.sections_end() == pe.size());
  CHECK(image.virtual_end() == 0x2000 + 600);
}

TEST_CASE("A program cut off anywhere is refused or is whole", "[partition][pe]") {
  const std::string pe = Program();
  for (size_t size = 0; size < pe.size(); ++size) {
    CHECK(ParsePe(std::string_view(pe).substr(0, size)).status().code() == Code::kDataLoss);
  }
}

// Each of these would let a reader look outside the file, or two readers at different things.
TEST_CASE("A program that contradicts itself is refused", "[partition][pe]") {
  struct Row {
    std::string fault;
    size_t offset;
    uint32_t value;
  };
  const Row row = GENERATE(values<Row>({
      {"expected 'MZ'", 0, 0},
      {"the COFF header is cut off", 0x3c, 0xfffffff0},
      {"multiple of 4", 0x3c, kPeOffset + 1},
      {"expected 'PE'", kPeOffset, 0},
      {"expected 1 to 96 sections, found 0", kPeOffset + 4, 0x8664},
      {"expected 1 to 96 sections, found 97", kPeOffset + 4, 97u << 16 | 0x8664},
      {"the optional header is cut off", kPeOffset + 20, 0x30},
      {"expected magic", kOptionalOffset, 0x20c},
      {"powers of two", kOptionalOffset + 32, 0},
      {"powers of two", kOptionalOffset + 36, 0x300},
      {"the headers is cut off", kOptionalOffset + 60, 0x7fffffff},
      {"the section table is cut off", kOptionalOffset + 60, kSectionTable + 79},
      {"data directory", kOptionalOffset + 108, 4},
      {"section '.text' is cut off", kSectionTable + 16, 0x7fffffff},
      {"section '.text' is cut off", kSectionTable + 20, 0xffffff00},
      {"inside the headers", kSectionTable + 20, 0x200},
      {"overlap at byte", kSectionTable + 40 + 20, kHeadersBytes},
      {"overlap at 0x1000 in memory", kSectionTable + 40 + 12, 0x1000},
      {"above 4 GiB", kSectionTable + 12, 0xffffffff},
      {"certificate table", kOptionalOffset + 144, 0x1000},
      {"expected the certificate table behind", kOptionalOffset + 148, 8},
  }));
  DYNAMIC_SECTION(row.fault << " " << row.offset) {
    std::string pe = Program();
    StoreLe32(pe, row.offset, row.value);
    KEELSON_CHECK_ERROR(ParsePe(pe), Code::kDataLoss, row.fault);
  }
}

TEST_CASE("A certificate table in the middle of the file is refused", "[partition][pe]") {
  std::string pe = SignedBy(Alice(), Program());
  pe += "unsigned bytes..";
  KEELSON_CHECK_ERROR(ParsePe(pe), Code::kDataLoss, "up to the end");
}

TEST_CASE("What was signed is verified and names its signer", "[partition][authenticode]") {
  const std::string pe = SignedBy(Alice(), Program());
  const Certificate trusted[] = {Bob().certificate, Alice().certificate};

  KEELSON_ASSIGN_OR_FAIL(const PeVerdict verdict, VerifyPe(pe, trusted));
  CHECK(verdict.signer.subject() == "CN=Alice");
  CHECK(verdict.signatures == 1);
  KEELSON_ASSIGN_OR_FAIL(const std::string digest, PeDigest(Program()));
  CHECK(verdict.digest == digest);
  KEELSON_ASSIGN_OR_FAIL(const PeImage image, ParsePe(pe));
  CHECK(image.checksum == PeChecksum(image, pe));
}

TEST_CASE("A signature can be taken off again", "[partition][authenticode]") {
  KEELSON_ASSIGN_OR_FAIL(const std::string plain, RemovePeSignatures(Program()));
  KEELSON_ASSIGN_OR_FAIL(const std::string again, RemovePeSignatures(SignedBy(Alice(), plain)));
  CHECK(again == plain);
}

TEST_CASE("Any one of several signatures suffices", "[partition][authenticode]") {
  const std::string pe = SignedBy(Bob(), SignedBy(Alice(), Program()));
  const Certificate alice[] = {Alice().certificate};
  const Certificate bob[] = {Bob().certificate};

  KEELSON_ASSIGN_OR_FAIL(const PeVerdict first, VerifyPe(pe, alice));
  CHECK(first.signature == 0);
  KEELSON_ASSIGN_OR_FAIL(const PeVerdict second, VerifyPe(pe, bob));
  CHECK(second.signature == 1);
  CHECK(second.signatures == 2);
}

TEST_CASE("Nobody's and a stranger's program are refused", "[partition][authenticode]") {
  const Certificate bob[] = {Bob().certificate};
  KEELSON_CHECK_ERROR(VerifyPe(Program(), bob), Code::kPermissionDenied, "it is not signed");
  KEELSON_CHECK_ERROR(VerifyPe(SignedBy(Alice(), Program()), bob), Code::kPermissionDenied,
                      "none of 1 trusted certificates");
  KEELSON_CHECK_ERROR(VerifyPe(SignedBy(Alice(), Program()), {}), Code::kPermissionDenied,
                      "none of 0");
}

TEST_CASE("Every altered byte outside the table is refused, with its part named",
          "[partition][authenticode]") {
  const std::string pe = SignedBy(Alice(), Program());
  const Certificate alice[] = {Alice().certificate};
  KEELSON_ASSIGN_OR_FAIL(const PeImage image, ParsePe(pe));

  for (size_t i = kHeadersBytes; i < image.certificates_offset; ++i) {
    std::string altered = pe;
    altered[i] ^= 1;
    const absl::Status status = VerifyPe(altered, alice).status();
    const bool in_text = i < kHeadersBytes + 0x200;
    INFO(i << " " << status);
    CHECK(::keelson::testing::IsError(status, Code::kDataLoss,
                                      in_text ? "changed: '.text';" : "changed: '.data';"));
  }
  std::string altered = pe;
  altered[0x40] ^= 1;
  KEELSON_CHECK_ERROR(VerifyPe(altered, alice), Code::kDataLoss, "changed: '[headers]';");
}

TEST_CASE("A signature whose bytes were altered is refused", "[partition][authenticode]") {
  const std::string pe = SignedBy(Alice(), Program());
  const Certificate alice[] = {Alice().certificate};
  KEELSON_ASSIGN_OR_FAIL(const PeImage image, ParsePe(pe));
  int refused = 0;
  int tried = 0;
  for (size_t i = image.certificates_offset; i < pe.size(); i += 3) {
    std::string altered = pe;
    altered[i] ^= 4;
    const absl::StatusOr<PeVerdict> verdict = VerifyPe(altered, alice);
    ++tried;
    // Bytes that no verifier looks at may change: the embedded certificate's own signature, names
    // that describe nothing, and padding. What is accepted is about the same digest all the same.
    if (!verdict.ok()) {
      ++refused;
    } else {
      CHECK(verdict->digest == *PeDigest(Program()));
    }
  }
  CHECK(refused > tried / 2);
}

TEST_CASE("A signature moved to another program is refused", "[partition][authenticode]") {
  const std::string pe = SignedBy(Alice(), Program());
  std::string other = MakePe({{".text", "evil"}, {".data", std::string(600, 'd')}});
  KEELSON_ASSIGN_OR_FAIL(const PeImage image, ParsePe(pe));
  other += pe.substr(image.certificates_offset);
  StoreLe32(other, image.certificate_entry_offset, image.certificates_offset);
  StoreLe32(other, image.certificate_entry_offset + 4, image.certificates_bytes);

  const Certificate alice[] = {Alice().certificate};
  KEELSON_CHECK_ERROR(VerifyPe(other, alice), Code::kDataLoss, "changed: '.text';");
}

TEST_CASE("A broken certificate table is refused", "[partition][authenticode]") {
  std::string pe = SignedBy(Alice(), Program());
  KEELSON_ASSIGN_OR_FAIL(const PeImage image, ParsePe(pe));
  const uint32_t size = GENERATE(0u, 7u, 0x7fffffffu);
  StoreLe32(pe, image.certificates_offset, size);
  KEELSON_CHECK_ERROR(PeSignatures(pe), Code::kDataLoss, "certificate table: expected a size");
  KEELSON_CHECK_ERROR(SignPe(pe, Alice().key, Alice().certificate, kAt), Code::kDataLoss,
                      "certificate table");
}

TEST_CASE("The certificate must be that of the key", "[partition][authenticode]") {
  KEELSON_CHECK_ERROR(SignPe(Program(), Alice().key, Bob().certificate, kAt),
                      Code::kFailedPrecondition, "is for key");
}

}  // namespace
}  // namespace keelson::partition
