#include "kvstore/daemon/member_identity.h"

#include <catch2/catch.hpp>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"

using namespace keelson;
using namespace keelson::kvstore;
using Member = Store::MemberAttributes;

namespace {

using Words = std::vector<std::string>;

struct Fixture {
  SimFileSystem fs{Random(1), {}};
  Words asked;
  ClusterDescription cluster{
      .cluster_id = 0xc1,
      .members = {{.id = 1, .name = "a", .peer_urls = {"http://127.0.0.1:1"}},
                  {.id = 7, .peer_urls = {"http://127.0.0.1:2"}}},
      .founders = {{.id = 1, .name = "a", .peer_urls = {"http://127.0.0.1:1"}},
                   {.id = 9, .name = "gone", .peer_urls = {"http://127.0.0.1:9"}}}};
  absl::Status refusal;

  // Of member "b" beside "a".
  static Options Flags(const std::string& state) {
    auto line =
        ParseCommandLine(Words{"--name=b", "--data-dir=d",
                               "--initial-cluster=a=http://127.0.0.1:1,b=http://127.0.0.1:2",
                               "--initial-advertise-peer-urls=http://127.0.0.1:2",
                               absl::StrCat("--initial-cluster-state=", state)},
                         Words{});
    KEELSON_REQUIRE_OK(line.status());
    return std::move(line->options);
  }
  absl::Status Resolve(Options& options) {
    return ResolveIdentity(
        fs,
        [this](const std::string& address) -> absl::StatusOr<ClusterDescription> {
          asked.push_back(address);
          if (!refusal.ok()) return refusal;
          return cluster;
        },
        options);
  }
};

}  // namespace

TEST_CASE("A new cluster is as the flags say, and nobody is asked", "[kvstore][identity]") {
  Fixture f;
  Options options = Fixture::Flags("new");
  const uint64_t id = options.member_id;
  KEELSON_REQUIRE_OK(f.Resolve(options));
  CHECK(options.member_id == id);
  CHECK(options.initial_cluster.size() == 2);
  CHECK(f.asked.empty());
}

TEST_CASE("A member that joins takes ids and founders from the cluster", "[kvstore][identity]") {
  Fixture f;
  Options options = Fixture::Flags("existing");
  KEELSON_REQUIRE_OK(f.Resolve(options));
  CHECK(f.asked == Words{"127.0.0.1:1"});
  CHECK(options.cluster_id == 0xc1);
  CHECK(options.member_id == 7);
  CHECK_FALSE(options.expects_existing_cluster);
  CHECK(FoundersOf(options) == f.cluster.founders);
  CHECK(KnownMembersOf(options) == f.cluster.members);
}

TEST_CASE("A member that has started before has lost everything", "[kvstore][identity]") {
  Fixture f;
  f.cluster.members[1].name = std::string("b");
  Options options = Fixture::Flags("existing");
  KEELSON_REQUIRE_OK(f.Resolve(options));
  CHECK(options.member_id == 7);
  CHECK(options.expects_existing_cluster);
}

TEST_CASE("Who was not added, or cannot ask, does not join", "[kvstore][identity]") {
  Fixture f;
  Options options = Fixture::Flags("existing");
  SECTION("no member with its URLs") {
    f.cluster.members.pop_back();
    KEELSON_CHECK_ERROR(f.Resolve(options), absl::StatusCode::kFailedPrecondition,
                        "no member with the peer URLs http://127.0.0.1:2");
  }
  SECTION("removed") {
    f.cluster.members[1].removed = true;
    KEELSON_CHECK_ERROR(f.Resolve(options), absl::StatusCode::kFailedPrecondition, "no member");
  }
  SECTION("nobody answers") {
    f.refusal = absl::UnavailableError("down");
    KEELSON_CHECK_ERROR(f.Resolve(options), absl::StatusCode::kUnavailable,
                        "cannot fetch cluster info from peer urls: down");
  }
  SECTION("an answer without founders") {
    f.cluster.founders.clear();
    KEELSON_CHECK_ERROR(f.Resolve(options), absl::StatusCode::kInvalidArgument,
                        "no founding members");
  }
}

TEST_CASE("What was remembered wins over flags and peers", "[kvstore][identity]") {
  Fixture f;
  Options joined = Fixture::Flags("existing");
  KEELSON_REQUIRE_OK(f.Resolve(joined));
  KEELSON_REQUIRE_OK(f.fs.CreateDirectories("d/member"));
  KEELSON_REQUIRE_OK(RememberIdentity(f.fs, joined));
  f.fs.PowerLoss();
  f.asked.clear();

  Options options = Fixture::Flags(GENERATE("new", "existing"));
  KEELSON_REQUIRE_OK(f.Resolve(options));
  CHECK(f.asked.empty());
  CHECK(options.cluster_id == 0xc1);
  CHECK(options.member_id == 7);
  CHECK(FoundersOf(options) == f.cluster.founders);
  CHECK(KnownMembersOf(options) == f.cluster.members);
}

TEST_CASE("A damaged identity is named", "[kvstore][identity]") {
  Fixture f;
  KEELSON_REQUIRE_OK(f.fs.CreateDirectories("d/member"));
  KEELSON_REQUIRE_OK(
      WriteFileAtomically(f.fs, "d/member/identity", GENERATE("", "\x09", "nonsense")));
  Options options = Fixture::Flags("new");
  KEELSON_CHECK_ERROR(f.Resolve(options), absl::StatusCode::kDataLoss,
                      "'d/member/identity' is damaged");
}
