#include "kvstore/server/membership.h"

#include <catch2/catch.hpp>

#include "kvstore/errors.h"

using namespace keelson::kvstore;
namespace raft = keelson::raft;
using Member = Store::MemberAttributes;
using raft::ConfChangeType;

namespace {

constexpr absl::Duration kNow = absl::Seconds(100);

Member Voter(uint64_t id) { return {.id = id, .name = "m"}; }
Member NewVoter(uint64_t id) { return {.id = id}; }
Member Learner(uint64_t id) { return {.id = id, .name = "m", .is_learner = true}; }
Member Gone(uint64_t id) { return {.id = id, .name = "m", .removed = true}; }

PeerContacts Connected(const std::vector<raft::NodeId>& ids, absl::Duration for_time) {
  PeerContacts contacts;
  contacts.Update(kNow - for_time, ids);
  return contacts;
}

}  // namespace

TEST_CASE("The next change is the first that is missing", "[kvstore][membership]") {
  struct Row {
    std::string name;
    MemberTable decided;
    raft::ConfState in_force;
    std::optional<raft::ConfChangeSingle> want;
  };
  const auto row = GENERATE(values<Row>({
      {"all agrees", {Voter(1), Learner(2), Gone(3)}, {.voters = {1}, .learners = {2}}, {}},
      {"a voter is new", {Voter(1), Voter(2)}, {.voters = {1}}, {{ConfChangeType::kAddNode, 2}}},
      {"a learner is new",
       {Voter(1), Learner(2)},
       {.voters = {1}},
       {{ConfChangeType::kAddLearner, 2}}},
      {"a learner was promoted",
       {Voter(1), Voter(2)},
       {.voters = {1}, .learners = {2}},
       {{ConfChangeType::kAddNode, 2}}},
      {"a voter has to go",
       {Voter(1), Gone(2)},
       {.voters = {1, 2}},
       {{ConfChangeType::kRemoveNode, 2}}},
      {"a learner has to go",
       {Voter(1), Gone(2)},
       {.voters = {1}, .learners = {2}},
       {{ConfChangeType::kRemoveNode, 2}}},
      {"one of two that are missing",
       {Voter(1), Voter(2), Voter(3)},
       {.voters = {1}},
       {{ConfChangeType::kAddNode, 2}}},
      {"one that the table does not know stays", {Voter(1)}, {.voters = {1, 9}}, {}},
      {"nothing while joint", {Voter(1), Voter(2)}, {.voters = {1}, .voters_outgoing = {1, 3}}, {}},
  }));
  DYNAMIC_SECTION(row.name) {
    const auto change = NextChange(row.decided, row.in_force);
    REQUIRE(change.has_value() == row.want.has_value());
    if (change.has_value()) CHECK(change->changes == std::vector{*row.want});
  }
}

TEST_CASE("A peer is healthy after five seconds of connection", "[kvstore][membership]") {
  PeerContacts contacts;
  contacts.Update(absl::Seconds(1), {2});
  contacts.Update(absl::Seconds(5), {2, 3});
  CHECK_FALSE(contacts.IsHealthy(absl::Seconds(5), 2));
  CHECK(contacts.IsHealthy(absl::Seconds(6), 2));
  CHECK_FALSE(contacts.IsHealthy(absl::Seconds(6), 3));
  CHECK(contacts.IsConnected(3));

  contacts.Update(absl::Seconds(7), {3});
  contacts.Update(absl::Seconds(8), {2, 3});
  CHECK_FALSE(contacts.IsHealthy(absl::Seconds(10), 2));
}

TEST_CASE("A voter is added only to a cluster that works and has started",
          "[kvstore][membership]") {
  const PeerContacts all = Connected({2, 3}, absl::Seconds(5));
  const PeerContacts young = Connected({2, 3}, absl::Seconds(4));
  const PeerContacts none;
  const MemberTable three = {Voter(1), Voter(2), Voter(3), Gone(4)};
  const MemberTable one = {Voter(1)};
  const MemberTable one_of_two = {Voter(1), NewVoter(2)};
  const auto add = [](const MemberTable& members, const PeerContacts& contacts, bool learner) {
    return StrictChecks{members, 1, contacts, kNow}.Add(learner);
  };
  CHECK(add(three, all, false).ok());
  CHECK(add(three, young, false) == errors::Unhealthy());
  CHECK(add(three, Connected({2}, absl::Seconds(9)), false) == errors::Unhealthy());
  CHECK(add(one, none, false).ok());
  CHECK(add(one_of_two, none, false) == errors::MemberNotEnoughStarted());
  CHECK(add(three, all, true).ok());
  CHECK(add(three, young, true) == errors::Unhealthy());
  CHECK(add(one, none, true).ok());
}

TEST_CASE("A member is added while some are down, if a quorum works though it never starts",
          "[kvstore][membership]") {
  const MemberTable four = {Voter(1), Voter(2), Voter(3), Voter(4)};
  const MemberTable five = {Voter(1), Voter(2), Voter(3), Voter(4), Voter(5), Learner(6)};
  const PeerContacts one_other = Connected({2}, absl::Seconds(5));
  const PeerContacts two_others = Connected({2, 3, 6}, absl::Seconds(5));
  const PeerContacts three_others = Connected({2, 3, 4}, absl::Seconds(5));
  const bool learner = GENERATE(false, true);
  const auto add = [learner](const MemberTable& members, const PeerContacts& contacts) {
    return StrictChecks{members, 1, contacts, kNow}.Add(learner);
  };
  CHECK(add(four, two_others).ok());
  CHECK(add(four, one_other) == errors::Unhealthy());
  CHECK(add(five, three_others).ok());
  CHECK(add(five, two_others) == errors::Unhealthy());
}

TEST_CASE("A voter is removed only if those that stay are a quorum", "[kvstore][membership]") {
  const PeerContacts all = Connected({2, 3}, absl::Seconds(5));
  const MemberTable three = {Voter(1), Voter(2), Voter(3)};
  const auto remove = [](const MemberTable& members, const PeerContacts& contacts, uint64_t id) {
    return StrictChecks{members, 1, contacts, kNow}.Remove(id);
  };
  CHECK(remove(three, all, 2).ok());
  CHECK(remove(three, all, 1).ok());
  // 3 is down: it may go, but nobody else.
  const PeerContacts two = Connected({2}, absl::Seconds(5));
  CHECK(remove(three, two, 3).ok());
  CHECK(remove(three, two, 2) == errors::Unhealthy());
  CHECK(remove(three, two, 1) == errors::Unhealthy());
  CHECK(remove({Voter(1), NewVoter(2)}, {}, 1) == errors::MemberNotEnoughStarted());
  CHECK(remove({Voter(1)}, {}, 1) == errors::MemberNotEnoughStarted());
  CHECK(remove({Voter(1), Learner(2)}, {}, 2).ok());
}

TEST_CASE("A learner becomes a voter only where enough have started", "[kvstore][membership]") {
  const PeerContacts none;
  const MemberTable good = {Voter(1), Learner(2)};
  CHECK(StrictChecks{good, 1, none, kNow}.Promote(2).ok());
  const MemberTable bad = {Voter(1), NewVoter(3), NewVoter(4), NewVoter(5), Learner(2)};
  CHECK(StrictChecks{bad, 1, none, kNow}.Promote(2) == errors::MemberNotEnoughStarted());
}

TEST_CASE("Members are found unless they are gone", "[kvstore][membership]") {
  const MemberTable members = {Voter(1), Gone(2)};
  CHECK(FindMember(members, 1) == &members[0]);
  CHECK(FindMember(members, 2) == nullptr);
  CHECK(IsRemoved(members, 2));
  CHECK_FALSE(IsRemoved(members, 1));
  CHECK_FALSE(IsRemoved(members, 9));
}
