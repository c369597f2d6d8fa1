#include "kvstore/internal/members.h"

#include <catch2/catch.hpp>

#include "base/testing/status_matchers.h"
#include "kvstore/errors.h"

using namespace keelson;
using namespace keelson::kvstore;
using namespace keelson::kvstore::internal;

namespace {

using Urls = std::vector<std::string>;

// Two voters, a learner, and one that is gone.
MemberMap Four() {
  return {
      {1, {.id = 1, .name = "a", .client_urls = {"http://a:2379"}, .peer_urls = {"http://a:1"}}},
      {2, {.id = 2, .name = "b", .peer_urls = {"http://b:1"}}},
      {3, {.id = 3, .peer_urls = {"http://c:1"}, .is_learner = true}},
      {4, {.id = 4, .name = "d", .peer_urls = {"http://d:1"}, .removed = true}}};
}

MemberChange Add(uint64_t id, const std::string& url, bool learner = false) {
  MemberChange change;
  change.mutable_add()->set_id(id);
  change.mutable_add()->add_peer_urls(url);
  change.mutable_add()->set_is_learner(learner);
  change.mutable_add()->set_max_learners(1);
  return change;
}
MemberChange Remove(uint64_t id) {
  MemberChange change;
  change.set_remove(id);
  return change;
}
MemberChange Update(uint64_t id, const std::string& url) {
  MemberChange change;
  change.mutable_update()->set_id(id);
  change.mutable_update()->add_peer_urls(url);
  return change;
}
MemberChange Promote(uint64_t id) {
  MemberChange change;
  change.set_promote(id);
  return change;
}

}  // namespace

TEST_CASE("A member is added, removed, moved and promoted", "[kvstore][members]") {
  KEELSON_ASSIGN_OR_FAIL(const auto added, Changed(Four(), Add(9, "http://e:1")));
  CHECK(added.id == 9);
  CHECK(added.name.empty());
  CHECK(added.peer_urls == Urls{"http://e:1"});
  CHECK_FALSE(added.is_learner);

  KEELSON_ASSIGN_OR_FAIL(const auto removed, Changed(Four(), Remove(2)));
  CHECK(removed.removed);
  CHECK(removed.name == "b");

  KEELSON_ASSIGN_OR_FAIL(const auto moved, Changed(Four(), Update(1, "http://e:1")));
  CHECK(moved.peer_urls == Urls{"http://e:1"});
  CHECK(moved.client_urls == Urls{"http://a:2379"});

  KEELSON_ASSIGN_OR_FAIL(const auto promoted, Changed(Four(), Promote(3)));
  CHECK_FALSE(promoted.is_learner);
}

TEST_CASE("Changes that make no sense are refused with etcd's words", "[kvstore][members]") {
  struct Row {
    std::string name;
    MemberChange change;
    absl::Status want;
  };
  const auto row = GENERATE(values<Row>({
      {"an id that is there", Add(1, "http://e:1"), errors::MemberExists()},
      {"an id that is gone", Add(4, "http://e:1"), errors::MemberNotFound()},
      {"a URL that is taken", Add(9, "http://b:1"), errors::PeerUrlExists()},
      {"a second learner", Add(9, "http://e:1", true), errors::TooManyLearners()},
      {"removing one unknown", Remove(9), errors::MemberNotFound()},
      {"removing twice", Remove(4), errors::MemberNotFound()},
      {"moving one unknown", Update(9, "http://e:1"), errors::MemberNotFound()},
      {"moving one that is gone", Update(4, "http://e:1"), errors::MemberNotFound()},
      {"moving to a URL that is taken", Update(1, "http://c:1"), errors::PeerUrlExists()},
      {"promoting one unknown", Promote(9), errors::MemberNotFound()},
      {"promoting a voter", Promote(1), errors::MemberNotLearner()},
  }));
  DYNAMIC_SECTION(row.name) { CHECK(Changed(Four(), row.change).status() == row.want); }
}

TEST_CASE("The URL of a removed member and one's own are free", "[kvstore][members]") {
  CHECK(Changed(Four(), Add(9, "http://d:1")).ok());
  CHECK(Changed(Four(), Update(1, "http://a:1")).ok());
}

TEST_CASE("The last voter stays", "[kvstore][members]") {
  MemberMap members = Four();
  members.erase(2);
  CHECK(Changed(members, Remove(1)).status() == errors::MemberNotEnoughStarted());
  CHECK(Changed(members, Remove(3)).ok());
}

TEST_CASE("A row tells all of a member", "[kvstore][members]") {
  for (const auto& [id, member] : Four()) {
    Store::MemberAttributes read;
    read.id = id;
    REQUIRE(DecodeMember(EncodeMember(member).SerializeAsString(), &read));
    CHECK(read == member);
  }
  Store::MemberAttributes read;
  CHECK_FALSE(DecodeMember("\x0a\xff", &read));
}
