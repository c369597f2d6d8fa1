#include "partition/trust/manifest.h"

#include <catch2/catch.hpp>

#include "absl/strings/str_replace.h"
#include "base/testing/status_matchers.h"
#include "partition/trust/development_keys.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;

const absl::Time kIssued = absl::FromUnixSeconds(1767225600);
const absl::Time kExpires = kIssued + absl::Hours(24 * 30);

struct World {
  ManifestTrust trust;  // two of three
  std::vector<PrivateKey> keys;
};

// Made once: Ed25519 keys of the development set.
const World& TheWorld() {
  static const World& world = *[] {
    auto* made = new World;
    const auto files = MakeDevelopmentKeys("Test", kIssued, Guid{});
    KEELSON_REQUIRE_OK(files);
    for (const KeySetFile& file : *files) {
      if (file.name == "manifest-keys.json") made->trust = *ParseManifestTrust(file.contents);
      if (file.name.starts_with("release-") && file.secret) {
        made->keys.push_back(*PrivateKey::Parse(file.contents));
      }
    }
    return made;
  }();
  return world;
}

ReleaseManifest Release() {
  return {.product = "keelson",
          .version = "1.2.3",
          .architecture = "x86-64",
          .rollback_index = 4,
          .issued = kIssued,
          .expires = kExpires,
          .artifacts = {{"usr", "usr.img", 4096, std::string(64, 'a'), std::string(64, 'b')},
                        {"uki", "keelson.efi", 77, std::string(64, 'c'), ""}}};
}

ManifestPolicy Policy() {
  return {.product = "keelson",
          .architecture = "x86-64",
          .now = kIssued + absl::Hours(1),
          .rollback_index_min = 4};
}

std::string SignedBy(const std::vector<int>& signers, const ReleaseManifest& release = Release()) {
  absl::StatusOr<std::string> text = EncodeManifest(release);
  KEELSON_REQUIRE_OK(text);
  for (const int signer : signers) {
    text = SignManifest(*text, TheWorld().keys[signer]);
    KEELSON_REQUIRE_OK(text);
  }
  return *text;
}

absl::StatusOr<ReleaseManifest> Verify(const std::string& text) {
  return VerifyManifest(text, TheWorld().trust, Policy());
}

std::string Replaced(const std::string& text, const char* from, const char* to) {
  std::string out = absl::StrReplaceAll(text, {{from, to}});
  REQUIRE(out != text);
  return out;
}

TEST_CASE("Two of three keys release", "[partition][manifest]") {
  const auto signers = GENERATE(values<std::vector<int>>({{0, 1}, {1, 2}, {2, 0}, {0, 1, 2}}));
  KEELSON_ASSIGN_OR_FAIL(const ReleaseManifest release, Verify(SignedBy(signers)));
  CHECK(release == Release());
}

TEST_CASE("Fewer keys do not, however often they sign", "[partition][manifest]") {
  KEELSON_CHECK_ERROR(Verify(SignedBy({})), Code::kPermissionDenied, "2 of 3 keys, found 0");
  KEELSON_CHECK_ERROR(Verify(SignedBy({1})), Code::kPermissionDenied, "found 1");
  KEELSON_CHECK_ERROR(Verify(SignedBy({1, 1})), Code::kPermissionDenied, "found 1");
  // The same signature twice in the file, which SignManifest never makes.
  const std::string once = SignedBy({1});
  const size_t begin = once.find('[') + 1;
  const std::string entry = once.substr(begin, once.find(']') - begin);
  const std::string twice = Replaced(once, entry.c_str(), (entry + "," + entry).c_str());
  KEELSON_CHECK_ERROR(Verify(twice), Code::kPermissionDenied, "found 1");
}

TEST_CASE("A key that may not release does not count", "[partition][manifest]") {
  KEELSON_ASSIGN_OR_FAIL(const KeyPair stranger, MakeSelfSigned("stranger", kIssued));
  KEELSON_ASSIGN_OR_FAIL(const std::string text, SignManifest(SignedBy({0}), stranger.key));
  KEELSON_CHECK_ERROR(Verify(text), Code::kPermissionDenied, "found 1");
}

TEST_CASE("A key of RSA releases as well", "[partition][manifest]") {
  KEELSON_ASSIGN_OR_FAIL(const KeyPair pair, MakeSelfSigned("rsa", kIssued));
  const ManifestTrust trust = {.threshold = 1, .keys = {pair.key.public_key()}};
  KEELSON_ASSIGN_OR_FAIL(const std::string text, SignManifest(SignedBy({}), pair.key));
  KEELSON_CHECK_ERROR(VerifyManifest(SignedBy({}), trust, Policy()), Code::kPermissionDenied,
                      "found 0");
  KEELSON_REQUIRE_OK(VerifyManifest(text, trust, Policy()));
}

// Names of attacks after the TUF specification, 1.5.2.
TEST_CASE("Attacks on an update are refused", "[partition][manifest]") {
  SECTION("arbitrary software: another digest") {
    const std::string text = Replaced(SignedBy({0, 1}), "aaaaaaaa\"", "aaaaaaad\"");
    KEELSON_CHECK_ERROR(Verify(text), Code::kPermissionDenied, "found 0");
  }
  SECTION("rollback: an older index") {
    ReleaseManifest old = Release();
    old.rollback_index = 3;
    KEELSON_CHECK_ERROR(Verify(SignedBy({0, 1}, old)), Code::kFailedPrecondition,
                        "expected a rollback index of at least 4, found 3");
  }
  SECTION("freeze: an offer that expired") {
    ManifestPolicy late = Policy();
    late.now = kExpires;
    KEELSON_CHECK_ERROR(VerifyManifest(SignedBy({0, 1}), TheWorld().trust, late),
                        Code::kFailedPrecondition, "it expired at 2026-01-31T00:00:00Z");
    late.now = kExpires - absl::Seconds(1);
    KEELSON_REQUIRE_OK(VerifyManifest(SignedBy({0, 1}), TheWorld().trust, late));
  }
  SECTION("fast forward: an offer from the future") {
    ManifestPolicy early = Policy();
    early.now = kIssued - absl::Seconds(1);
    KEELSON_CHECK_ERROR(VerifyManifest(SignedBy({0, 1}), TheWorld().trust, early),
                        Code::kFailedPrecondition, "after the present time");
  }
  SECTION("mix and match: signatures of one release on another") {
    ReleaseManifest next = Release();
    next.version = "1.2.4";
    const std::string signatures = SignedBy({0, 1}).substr(0, SignedBy({0, 1}).find("\"signed\""));
    const std::string text = SignedBy({}, next);
    KEELSON_CHECK_ERROR(Verify(signatures + text.substr(text.find("\"signed\""))),
                        Code::kPermissionDenied, "found 0");
  }
  SECTION("wrong target: another product or architecture") {
    ReleaseManifest other = Release();
    other.product = "toaster";
    KEELSON_CHECK_ERROR(Verify(SignedBy({0, 1}, other)), Code::kFailedPrecondition,
                        "expected product 'keelson'");
    other = Release();
    other.architecture = "arm64";
    KEELSON_CHECK_ERROR(Verify(SignedBy({0, 1}, other)), Code::kFailedPrecondition,
                        "found 'arm64'");
  }
  SECTION("endless data") {
    KEELSON_CHECK_ERROR(Verify(std::string((1 << 20) + 1, ' ')), Code::kDataLoss,
                        "at most 1048576");
  }
}

TEST_CASE("The layout of the text does not matter, what it says does", "[partition][manifest]") {
  const std::string text = SignedBy({0, 2});
  KEELSON_REQUIRE_OK(Verify(Replaced(text, ",", " ,\n  ")));
  KEELSON_REQUIRE_OK(Verify(Replaced(text, "keelson.efi", "keels\\u006fn.efi")));
}

// What JSON readers disagree on.
TEST_CASE("Ambiguous or unknown contents are refused", "[partition][manifest]") {
  struct Row {
    std::string fault;
    const char* from;
    const char* to;
  };
  const Row row = GENERATE(values<Row>({
      {"'version' is there twice", "\"version\":", "\"version\":\"9\",\"version\":"},
      {"numbers from 0 to 2^53", "\"rollback_index\":4", "\"rollback_index\":4.0"},
      {"numbers from 0 to 2^53", "\"rollback_index\":4", "\"rollback_index\":-4"},
      {"numbers from 0 to 2^53", "\"rollback_index\":4", "\"rollback_index\":9007199254740992"},
      {"nested too deeply", "\"rollback_index\":4", "\"rollback_index\":[[[[[[[[[[4]]]]]]]]]]"},
      {"it is no JSON", "{\"signatures\"", "{{\"signatures\""},
      {"unknown key 'also'", "{\"signatures\"", "{\"also\":1,\"signatures\""},
      {"unknown key 'note'", "[{\"key\"", "[{\"note\":\"\",\"key\""},
  }));
  DYNAMIC_SECTION(row.fault << row.to) {
    KEELSON_CHECK_ERROR(Verify(Replaced(SignedBy({0, 1}), row.from, row.to)), Code::kDataLoss,
                        row.fault);
  }
}

TEST_CASE("A manifest that says nothing sensible is not made", "[partition][manifest]") {
  const auto refuse = [](const ReleaseManifest& release, const std::string& fault) {
    KEELSON_CHECK_ERROR(EncodeManifest(release), Code::kInvalidArgument, fault);
  };
  ReleaseManifest release = Release();
  release.product = "";
  refuse(release, "'product': expected a text");
  release = Release();
  release.version = "1\n2";
  refuse(release, "printable ASCII");
  release = Release();
  release.expires = release.issued;
  refuse(release, "expires before");
  release = Release();
  release.artifacts.clear();
  refuse(release, "at least one");
  release = Release();
  release.artifacts[1].role = "usr";
  refuse(release, "two artifacts for 'usr'");
  release = Release();
  release.artifacts[0].sha256 = "ABC";
  refuse(release, "hexadecimal");
  release = Release();
  release.artifacts[0].name = "../etc/passwd";
  refuse(release, "is no name of a file");
}

TEST_CASE("A set of keys that could not decide is refused", "[partition][manifest]") {
  const std::string text = EncodeManifestTrust(TheWorld().trust);
  KEELSON_CHECK_ERROR(ParseManifestTrust(Replaced(text, "\"threshold\": 2", "\"threshold\": 0")),
                      Code::kInvalidArgument, "threshold from 1 to 3, found 0");
  KEELSON_CHECK_ERROR(ParseManifestTrust(Replaced(text, "\"threshold\": 2", "\"threshold\": 4")),
                      Code::kInvalidArgument, "found 4");
  ManifestTrust twice = TheWorld().trust;
  twice.keys.push_back(twice.keys[0]);
  KEELSON_CHECK_ERROR(ParseManifestTrust(EncodeManifestTrust(twice)), Code::kInvalidArgument,
                      "is there twice");
}

}  // namespace
}  // namespace keelson::partition
