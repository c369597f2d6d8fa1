// Changes of the members as one member drives them, with a node and a store that do as they are told.
#include <catch2/catch.hpp>

#include <optional>

#include "base/testing/fake_clock.h"
#include "base/testing/status_matchers.h"
#include "kvstore/errors.h"
#include "kvstore/server/peer_calls.h"
#include "kvstore/server/server.h"
#include "kvstore/server/testing/fake_node.h"
#include "kvstore/server/testing/fake_store.h"
#include "kvstore/server/testing/manual_executor.h"

using namespace keelson::kvstore;
using namespace etcdserverpb;
namespace raft = keelson::raft;

namespace {

constexpr uint64_t kSelf = 22;
constexpr uint64_t kOther = 33;

struct Answer {
  int count = 0;
  absl::Status status;
  Server::Done Done() {
    return [this](absl::Status s) {
      ++count;
      status = std::move(s);
    };
  }
};

// Answers at once with what the test has put in.
struct FakePeers final : PeerCalls {
  absl::StatusOr<ClusterDescription> cluster = absl::UnavailableError("nobody");
  absl::Status promoted;
  std::vector<uint64_t> asked;
  std::vector<uint64_t> promotions;

  void KeepAlive(raft::NodeId, const LeaseKeepAliveRequest&, absl::Duration,
                 LeaseKeepAliveResponse*, Done done) override {
    done(absl::UnavailableError(""));
  }
  void TimeToLive(raft::NodeId, const LeaseTimeToLiveRequest&, absl::Duration,
                  LeaseTimeToLiveResponse*, Done done) override {
    done(absl::UnavailableError(""));
  }
  void Describe(raft::NodeId peer, absl::Duration, Described done) override {
    asked.push_back(peer);
    done(cluster);
  }
  void Promote(raft::NodeId, uint64_t id, const Origin&, absl::Duration, Done done) override {
    promotions.push_back(id);
    done(promoted);
  }
};

struct Fixture {
  explicit Fixture(Server::Options options = {}) {
    options.member_id = kSelf;
    options.name = "self";
    store.SetMembers(members);
    server.emplace(options, Server::Env{.clock = &clock,
                                        .file_system = &keelson::RealFileSystem(),
                                        .timers = &timers,
                                        .delivery = &timers,
                                        .catch_up = &timers,
                                        .readers = {},
                                        .forwarder = &peers,
                                        .peers = &peers});
    server->SetStore(&store);
    server->SetMemberHooks({.connected = [this] { return connected; },
                            .on_peers = [this](const auto& now) { told = now; },
                            .on_removed = [this] { ++removed; }});
    server->OnMembership({.voters = {kSelf, kOther}});
    server->Start(&node);
    Lead(kSelf);
    Advance(absl::Seconds(6));  // All are connected for long enough to count as healthy.
    node.proposals.clear();
  }
  void Lead(uint64_t leader) {
    server->OnRoleChange(
        {.leader = leader, .role = leader == kSelf ? raft::Role::kLeader : raft::Role::kFollower},
        5);
    timers.RunAll();
  }
  void Advance(absl::Duration time) {
    for (absl::Duration gone; gone < time; gone += absl::Milliseconds(100)) {
      clock.Advance(absl::Milliseconds(100));
      timers.RunAll();
    }
  }
  MemberChange Proposed() {
    REQUIRE(!node.proposals.empty());
    Command command;
    REQUIRE(command.ParseFromString(node.proposals.back().bytes));
    return command.member_change();
  }
  // The command has been applied, with this outcome.
  void Apply(const absl::Status& status) {
    Command command;
    REQUIRE(command.ParseFromString(node.proposals.back().bytes));
    CommandResult result;
    result.request_id = command.request_id();
    result.status = status;
    std::vector<CommandResult> results;
    results.push_back(std::move(result));
    server->OnResults(std::move(results));
    timers.RunAll();
  }
  // The table of members is now this, and Raft's membership that.
  void Decide(MemberTable table, const raft::ConfState& in_force) {
    store.SetMembers(std::move(table));
    server->OnMembership(in_force);
    timers.RunAll();
  }

  keelson::FakeClock clock;
  ManualExecutor timers{&clock};
  FakeStore store;
  FakeNode node;
  FakePeers peers;
  MemberTable members = {{.id = kSelf, .name = "self", .peer_urls = {"http://self:1"}},
                         {.id = kOther, .name = "other", .peer_urls = {"http://other:1"}}};
  std::vector<raft::NodeId> connected = {kOther};
  MemberTable told;
  int removed = 0;
  std::optional<Server> server;
};

MemberAddRequest AddOf(const std::string& url) {
  MemberAddRequest request;
  request.add_peerurls(url);
  return request;
}

}  // namespace

TEST_CASE("An added member is answered when Raft counts it", "[kvstore][members]") {
  Fixture f;
  Answer answer;
  MemberAddResponse response;
  f.server->MemberAdd(AddOf("http://new:1"), &response, answer.Done(), {});
  const MemberChange::Add add = f.Proposed().add();
  CHECK(add.peer_urls(0) == "http://new:1");
  CHECK(add.max_learners() == 1);
  CHECK(f.node.conf_changes.empty());

  MemberTable table = f.members;
  table.push_back({.id = add.id(), .peer_urls = {"http://new:1"}});
  f.Decide(table, {.voters = {kSelf, kOther}});
  f.Apply(absl::OkStatus());
  CHECK(answer.count == 0);
  REQUIRE(f.node.conf_changes.size() == 1);
  CHECK(f.node.conf_changes[0].changes ==
        std::vector<raft::ConfChangeSingle>{{raft::ConfChangeType::kAddNode, add.id()}});
  CHECK(f.told.size() == 2);  // The new one can be talked to already.

  f.Decide(table, {.voters = {kSelf, kOther, add.id()}});
  CHECK(answer.count == 1);
  KEELSON_REQUIRE_OK(answer.status);
  CHECK(response.member().id() == add.id());
  CHECK(response.members_size() == 3);
  CHECK(response.header().revision() == 0);
}

TEST_CASE("The leader repeats a change that Raft has dropped, a follower proposes none",
          "[kvstore][members]") {
  Fixture f;
  MemberTable table = f.members;
  table.push_back({.id = 44, .peer_urls = {"http://new:1"}});
  SECTION("leader") {
    f.Decide(table, {.voters = {kSelf, kOther}});
    REQUIRE(f.node.conf_changes.size() == 1);
    f.Advance(absl::Seconds(0.5));
    CHECK(f.node.conf_changes.size() == 1);
    f.Advance(absl::Seconds(0.6));
    CHECK(f.node.conf_changes.size() == 2);
  }
  SECTION("follower") {
    f.Lead(kOther);
    f.Decide(table, {.voters = {kSelf, kOther}});
    f.Advance(absl::Seconds(3));
    CHECK(f.node.conf_changes.empty());
  }
}

TEST_CASE("What cannot be or is not safe is refused before it is proposed", "[kvstore][members]") {
  Fixture f;
  Answer answer;
  MemberAddResponse added;
  MemberUpdateResponse updated;
  MemberRemoveResponse left;
  SECTION("bad URLs") {
    const std::string url = GENERATE("", "nonsense", "http://a", "http://a:1/path", "ftp://a:1");
    f.server->MemberAdd(AddOf(url), &added, answer.Done(), {});
    CHECK(answer.status == errors::MemberBadUrls());
  }
  SECTION("no URLs") {
    f.server->MemberUpdate({}, &updated, answer.Done(), {});
    CHECK(answer.status == errors::MemberBadUrls());
  }
  SECTION("a peer is down") {
    f.connected.clear();
    f.Advance(absl::Milliseconds(100));
    f.server->MemberAdd(AddOf("http://new:1"), &added, answer.Done(), {});
    CHECK(answer.status == errors::Unhealthy());
  }
  SECTION("the one that works is to go") {
    f.connected.clear();
    f.Advance(absl::Milliseconds(100));
    MemberRemoveRequest remove;
    remove.set_id(kSelf);
    f.server->MemberRemove(remove, &left, answer.Done(), {});
    CHECK(answer.status == errors::Unhealthy());
  }
  CHECK(answer.count == 1);
  CHECK(f.node.proposals.empty());
}

TEST_CASE("Without strict checks a change is only checked where it applies", "[kvstore][members]") {
  Fixture f({.strict_reconfig_check = false});
  f.connected.clear();
  f.Advance(absl::Milliseconds(100));
  Answer answer;
  MemberAddResponse response;
  f.server->MemberAdd(AddOf("http://new:1"), &response, answer.Done(), {});
  f.Apply(errors::PeerUrlExists());
  CHECK(answer.status == errors::PeerUrlExists());
  CHECK(f.node.conf_changes.empty());
}

TEST_CASE("A learner is promoted when it has nine tenths of the log", "[kvstore][members]") {
  Fixture f;
  MemberTable table = f.members;
  table.push_back({.id = 44, .name = "new", .peer_urls = {"http://new:1"}, .is_learner = true});
  f.Decide(table, {.voters = {kSelf, kOther}, .learners = {44}});
  f.node.status.peers = {{.id = kSelf, .match = 100}, {.id = 44, .match = 89}};
  Answer answer;
  MemberPromoteRequest request;
  request.set_id(44);
  MemberPromoteResponse response;
  SECTION("not yet") {
    f.server->MemberPromote(request, &response, answer.Done(), {});
    CHECK(answer.status == errors::LearnerNotReady());
  }
  SECTION("now") {
    f.node.status.peers[1].match = 90;
    f.server->MemberPromote(request, &response, answer.Done(), {});
    CHECK(f.Proposed().promote() == 44);
  }
  SECTION("unknown") {
    request.set_id(99);
    f.server->MemberPromote(request, &response, answer.Done(), {});
    CHECK(answer.status == errors::MemberNotFound());
  }
  SECTION("a follower asks the leader") {
    f.Lead(kOther);
    f.peers.promoted = errors::LearnerNotReady();
    f.server->MemberPromote(request, &response, answer.Done(), {});
    CHECK(f.peers.promotions == std::vector<uint64_t>{44});
    CHECK(answer.status == errors::LearnerNotReady());
  }
}

TEST_CASE("A removed member goes on until Raft has let it go, then stops", "[kvstore][members]") {
  Fixture f;
  MemberTable table = f.members;
  table[0].removed = true;
  f.Decide(table, {.voters = {kSelf, kOther}});
  f.Advance(absl::Seconds(5));
  CHECK(f.removed == 0);
  f.Decide(table, {.voters = {kOther}});
  CHECK(f.removed == 0);  // Its last answers get out first.
  f.Advance(absl::Seconds(1.1));
  CHECK(f.removed == 1);
  f.Advance(absl::Seconds(5));
  CHECK(f.removed == 1);
}

TEST_CASE("Without a leader a member asks the others whether it is still one",
          "[kvstore][members]") {
  Fixture f;
  f.Lead(0);
  f.Advance(absl::Seconds(4));
  CHECK(f.peers.asked.size() >= 2);
  CHECK(f.removed == 0);
  ClusterDescription cluster;
  cluster.members = f.members;
  cluster.in_force.voters = {kSelf, kOther};
  SECTION("it is") {
    f.peers.cluster = cluster;
    f.Advance(absl::Seconds(5));
    CHECK(f.removed == 0);
  }
  SECTION("it is to go, but Raft still counts on it") {
    cluster.members[0].removed = true;
    f.peers.cluster = cluster;
    f.Advance(absl::Seconds(5));
    CHECK(f.removed == 0);
  }
  SECTION("it is not") {
    cluster.members[0].removed = true;
    cluster.in_force.voters = {kOther};
    f.peers.cluster = cluster;
    f.Advance(absl::Seconds(5));
    CHECK(f.removed == 1);
  }
  SECTION("there is one that it has not heard of") {
    cluster.members.push_back({.id = 44, .name = "new", .peer_urls = {"http://new:1"}});
    f.peers.cluster = cluster;
    f.Advance(absl::Seconds(5));
    CHECK(FindMember(f.told, 44) != nullptr);
  }
}

TEST_CASE("Who waits for a change hears when the member stops or time is up",
          "[kvstore][members]") {
  Fixture f;
  Answer answer;
  MemberAddResponse response;
  f.server->MemberAdd(AddOf("http://new:1"), &response, answer.Done(), {});
  f.Apply(absl::OkStatus());
  CHECK(answer.count == 0);
  SECTION("stops") {
    f.server->Stop();
    CHECK(answer.status == errors::Stopped());
  }
  SECTION("time is up") {
    f.Advance(absl::Seconds(8));
    CHECK(answer.status == errors::Timeout());
  }
  CHECK(answer.count == 1);
}
