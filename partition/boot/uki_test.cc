#include "partition/boot/uki.h"

#include <catch2/catch.hpp>

#include "base/testing/status_matchers.h"
#include "partition/trust/authenticode.h"
#include "partition/trust/pe_image.h"
#include "partition/trust/testing/pe_builder.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;
using testing::Alice;
using testing::MakePe;

std::string Stub() { return MakePe({{".text", "stub"}, {".sbat", "sbat"}}); }
std::string Kernel() { return MakePe({{".text", std::string(5000, 'k')}}); }

UkiParts Parts() {
  return {.os_release = "ID=keelson\n",
          .cmdline = "quiet",
          .uname = "6.1.0",
          .initrd = std::string(9000, 'i'),
          .linux = Kernel()};
}

TEST_CASE("An image holds its parts behind the stub, the kernel last", "[partition][uki]") {
  KEELSON_ASSIGN_OR_FAIL(const std::string uki, AssembleUki(Stub(), Parts()));
  KEELSON_ASSIGN_OR_FAIL(const PeImage image, ParsePe(uki));

  std::vector<std::string> names;
  for (const PeSection& section : image.sections) names.push_back(section.name);
  CHECK(names == std::vector<std::string>{".text", ".sbat", ".osrel", ".cmdline", ".uname",
                                          ".initrd", ".linux"});
  CHECK(image.Contents(uki, image.sections[0]) == "stub");
  KEELSON_ASSIGN_OR_FAIL(const UkiParts parts, ParseUki(uki));
  CHECK(parts.os_release == Parts().os_release);
  CHECK(parts.cmdline == "quiet");
  CHECK(parts.initrd == Parts().initrd);
  CHECK(parts.linux == Kernel());
  CHECK(parts.splash.empty());
}

TEST_CASE("Each part has pages of its own in memory and no hole in the file", "[partition][uki]") {
  KEELSON_ASSIGN_OR_FAIL(const std::string uki, AssembleUki(Stub(), Parts()));
  KEELSON_ASSIGN_OR_FAIL(const PeImage image, ParsePe(uki));
  const PeSection* before = &image.sections[1];
  for (size_t i = 2; i < image.sections.size(); ++i) {
    const PeSection& section = image.sections[i];
    CHECK(section.virtual_address % 4096 == 0);
    CHECK(section.virtual_address >= before->virtual_address + before->virtual_bytes);
    CHECK(section.file_offset == before->file_offset + before->file_bytes);
    CHECK(section.characteristics == 0x40000040);
    before = &section;
  }
  CHECK(image.image_bytes >= image.virtual_end());
  CHECK(image.image_bytes - image.virtual_end() < image.section_alignment);
  CHECK(image.checksum == PeChecksum(image, uki));
  CHECK(image.sections_end() == uki.size());
}

TEST_CASE("A signed stub loses its signature, which no longer holds", "[partition][uki]") {
  KEELSON_ASSIGN_OR_FAIL(const std::string signed_stub,
                         SignPe(Stub(), Alice().key, Alice().certificate, {}));
  KEELSON_ASSIGN_OR_FAIL(const std::string uki, AssembleUki(signed_stub, Parts()));
  KEELSON_ASSIGN_OR_FAIL(const std::string plain, AssembleUki(Stub(), Parts()));
  CHECK(uki == plain);
  KEELSON_ASSIGN_OR_FAIL(const std::string signed_uki,
                         SignPe(uki, Alice().key, Alice().certificate, {}));
  const Certificate alice[] = {Alice().certificate};
  KEELSON_REQUIRE_OK(VerifyPe(signed_uki, alice));
}

TEST_CASE("An image that could not boot is not made", "[partition][uki]") {
  const auto refuse = [](const std::string& stub, const UkiParts& parts, Code code,
                         const std::string& fault) {
    KEELSON_CHECK_ERROR(AssembleUki(stub, parts), code, fault);
  };
  UkiParts parts = Parts();
  parts.linux.clear();
  refuse(Stub(), parts, Code::kInvalidArgument, "there is no kernel");
  parts.linux = "junk";
  refuse(Stub(), parts, Code::kDataLoss, "kernel: PE: expected 'MZ'");
  parts = Parts();
  parts.linux[testing::kPeOffset + 4] = 0x4c;
  refuse(Stub(), parts, Code::kInvalidArgument, "machine 0x864c, the stub for 0x8664");
  parts = Parts();
  parts.cmdline = "quiet\n";
  refuse(Stub(), parts, Code::kInvalidArgument, "line end");
  refuse("junk", Parts(), Code::kDataLoss, "stub: PE");
  refuse(MakePe({{".text", "s"}, {".cmdline", "init=/bin/sh"}}), Parts(), Code::kInvalidArgument,
         "has a section '.cmdline' already");
}

TEST_CASE("Headers without room are refused before anything is written", "[partition][uki]") {
  std::vector<std::pair<std::string, std::string>> sections;
  for (int i = 0; i < 13; ++i) sections.emplace_back("." + std::to_string(i), "x");
  KEELSON_CHECK_ERROR(AssembleUki(MakePe(sections), Parts()), Code::kInvalidArgument,
                      "expected 1112 bytes for 18 sections, found 1024");
}

TEST_CASE("What is no unified image is refused", "[partition][uki]") {
  KEELSON_CHECK_ERROR(ParseUki(Stub()), Code::kInvalidArgument, "no '.linux'");
  KEELSON_CHECK_ERROR(ParseUki("junk"), Code::kDataLoss, "expected 'MZ'");
}

// systemd 252, src/shared/bootspec.c: which of os-release's fields name an entry.
TEST_CASE("The loader's title, version and sort key come from os-release", "[partition][uki]") {
  const auto values = ParseOsRelease(
      "# a comment\nID=keelson\nNAME=\"Keelson \\\"OS\\\"\"\r\nVERSION_ID='1.2'\nnonsense\n=x\n");
  CHECK(values.at("NAME") == "Keelson \"OS\"");
  CHECK(values.size() == 3);
  UkiIdentity identity = IdentityOf(values);
  CHECK(identity.title == "Keelson \"OS\"");
  CHECK(identity.sort_key == "keelson");
  CHECK(identity.version == "1.2");
  identity = IdentityOf(ParseOsRelease(
      "ID=a\nIMAGE_ID=b\nIMAGE_VERSION=7\nVERSION=6\nVERSION_ID=5\nPRETTY_NAME=p\nNAME=n"));
  CHECK(identity.title == "p");
  CHECK(identity.sort_key == "b");
  CHECK(identity.version == "7");
  CHECK(IdentityOf({}).version.empty());
}

}  // namespace
}  // namespace keelson::partition
