#include "kvstore/server/server.h"

#include <catch2/catch.hpp>

#include "base/testing/fake_clock.h"
#include "base/testing/status_matchers.h"
#include "kvstore/api/command.pb.h"
#include "kvstore/errors.h"
#include "kvstore/server/testing/fake_node.h"
#include "kvstore/server/testing/fake_store.h"
#include "kvstore/server/testing/manual_executor.h"

using namespace keelson::kvstore;
using namespace etcdserverpb;

namespace {

constexpr uint64_t kSelf = 22;
constexpr uint64_t kOther = 33;

struct FakeForwarder final : LeaseForwarder {
  keelson::raft::NodeId leader = 0;
  absl::Status answer;
  void KeepAlive(keelson::raft::NodeId to, const LeaseKeepAliveRequest& request, absl::Duration,
                 LeaseKeepAliveResponse* response, Done done) override {
    leader = to;
    response->set_id(request.id());
    response->set_ttl(60);
    done(answer);
  }
  void TimeToLive(keelson::raft::NodeId to, const LeaseTimeToLiveRequest& request, absl::Duration,
                  LeaseTimeToLiveResponse* response, Done done) override {
    leader = to;
    response->set_id(request.id());
    response->set_ttl(42);
    done(answer);
  }
};

// What a call has answered.
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

struct Fixture {
  explicit Fixture(Server::Options options = {}) {
    options.cluster_id = 11;
    options.member_id = kSelf;
    options.name = "self";
    options.client_urls = {"http://self:2379"};
    store.SetMembers({{.id = kSelf, .name = "self", .peer_urls = {"http://self:2380"}},
                      {.id = kOther, .name = "other", .peer_urls = {"http://other:2380"}}});
    server.emplace(options, Server::Env{.clock = &clock,
                                        .file_system = &keelson::RealFileSystem(),
                                        .timers = &timers,
                                        .delivery = &timers,
                                        .catch_up = &timers,
                                        .readers = {},
                                        .backups = &timers,
                                        .forwarder = &forwarder});
    server->SetStore(&store);
    server->SetPublished([this] { ++published; });
    server->Start(&node);
    Lead(kSelf);
  }

  void Lead(uint64_t leader) {
    server->OnRoleChange(
        {.leader = leader,
         .role = leader == kSelf ? keelson::raft::Role::kLeader : keelson::raft::Role::kFollower},
        5);
    timers.RunAll();
  }
  void Advance(absl::Duration time) {
    for (absl::Duration gone; gone < time; gone += absl::Milliseconds(100)) {
      clock.Advance(absl::Milliseconds(100));
      timers.RunAll();
    }
  }
  // The command that was proposed last.
  Command Proposed() {
    REQUIRE(!node.proposals.empty());
    Command command;
    REQUIRE(command.ParseFromString(node.proposals.back().bytes));
    return command;
  }
  template <typename Response>
  void Apply(const Response& response, absl::Status status = absl::OkStatus()) {
    CommandResult result;
    result.request_id = Proposed().request_id();
    result.status = std::move(status);
    result.response = response;
    std::vector<CommandResult> results;
    results.push_back(std::move(result));
    server->OnResults(std::move(results));
  }
  void Grant(int64_t id, int64_t ttl) {
    server->OnLeases(
        {{.kind = ApplyListener::LeaseChange::Kind::kGranted, .id = id, .ttl_seconds = ttl}});
  }

  keelson::FakeClock clock;
  ManualExecutor timers{&clock};
  FakeStore store;
  FakeNode node;
  FakeForwarder forwarder;
  int published = 0;
  std::optional<Server> server;
};

PutRequest PutOf(const std::string& key, const std::string& value) {
  PutRequest request;
  request.set_key(key);
  request.set_value(value);
  return request;
}

}  // namespace

TEST_CASE("A put is answered when it has been applied", "[kvstore][server]") {
  Fixture f;
  Answer answer;
  PutResponse response;
  const PutRequest request = PutOf("a", "1");
  f.server->Put(request, &response, answer.Done());
  CHECK(answer.count == 0);
  CHECK(f.Proposed().put().key() == "a");
  CHECK(f.server->IsWaiting(f.Proposed().request_id()));

  PutResponse applied;
  applied.mutable_header()->set_revision(9);
  f.Apply(applied);

  CHECK(answer.count == 1);
  KEELSON_REQUIRE_OK(answer.status);
  CHECK(response.header().revision() == 9);
  CHECK(response.header().cluster_id() == 11);
  CHECK(response.header().member_id() == kSelf);
  CHECK(response.header().raft_term() == 5);
}

TEST_CASE("Bad requests are refused before they are proposed", "[kvstore][server]") {
  Fixture f({.max_txn_ops = 2, .max_request_bytes = 1000});
  const size_t before = f.node.proposals.size();
  Answer answer;
  PutResponse put;
  TxnResponse txn;
  DeleteRangeResponse deleted;
  RangeResponse range;
  LeaseGrantResponse grant;
  SECTION("empty key") {
    f.server->Put(PutOf("", "1"), &put, answer.Done());
    CHECK(answer.status == errors::EmptyKey());
  }
  SECTION("too large") {
    f.server->Put(PutOf("a", std::string(1000, 'x')), &put, answer.Done());
    CHECK(answer.status == errors::RequestTooLarge());
  }
  SECTION("too many operations") {
    TxnRequest request;
    for (const char* key : {"a", "b", "c"}) {
      request.add_success()->mutable_request_put()->set_key(key);
    }
    f.server->Txn(request, &txn, answer.Done());
    CHECK(answer.status == errors::TooManyOps());
  }
  SECTION("delete without a key") {
    f.server->DeleteRange({}, &deleted, answer.Done());
    CHECK(answer.status == errors::EmptyKey());
  }
  SECTION("range without a key") {
    f.server->Range({}, &range, answer.Done());
    CHECK(answer.status == errors::EmptyKey());
  }
  SECTION("TTL above the limit") {
    LeaseGrantRequest request;
    request.set_ttl(9'000'000'001);
    f.server->LeaseGrant(request, &grant, answer.Done());
    CHECK(answer.status == errors::LeaseTtlTooLarge());
  }
  SECTION("too many entries committed and not applied") {
    f.node.peek.commit = 5001;
    f.server->Put(PutOf("a", "1"), &put, answer.Done());
    CHECK(answer.status == errors::TooManyRequests());
  }
  CHECK(answer.count == 1);
  CHECK(f.node.proposals.size() == before);
}

TEST_CASE("A refused proposal is answered with etcd's text", "[kvstore][server]") {
  struct Row {
    absl::Status refused;
    absl::Status answer;
  };
  const auto row = GENERATE(values<Row>({
      {absl::UnavailableError("no leader"), errors::NoLeader()},
      {absl::ResourceExhaustedError("full"), errors::TooManyRequests()},
      {absl::CancelledError("stopped"), errors::Stopped()},
  }));
  Fixture f;
  Answer answer;
  PutResponse response;
  const PutRequest request = PutOf("a", "1");
  f.server->Put(request, &response, answer.Done());

  f.node.proposals.back().refused(row.refused);

  CHECK(answer.count == 1);
  CHECK(answer.status == row.answer);
}

TEST_CASE("A proposal without a result is given up after 7 seconds", "[kvstore][server]") {
  Fixture f;
  Answer answer;
  PutResponse response;
  const PutRequest request = PutOf("a", "1");
  f.server->Put(request, &response, answer.Done());

  f.Advance(absl::Seconds(6.9));
  CHECK(answer.count == 0);
  f.Advance(absl::Seconds(0.2));
  CHECK(answer.count == 1);
  CHECK(answer.status == errors::Timeout());
}

TEST_CASE("Stop answers what is pending and refuses the rest", "[kvstore][server]") {
  Fixture f;
  Answer pending;
  Answer later;
  PutResponse response;
  const PutRequest request = PutOf("a", "1");
  f.server->Put(request, &response, pending.Done());
  f.server->Stop();
  f.server->Put(request, &response, later.Done());
  CHECK(pending.status == errors::Stopped());
  CHECK(later.status == errors::Stopped());
}

TEST_CASE("A linearizable read waits for the leader's word, a serializable one does not",
          "[kvstore][server]") {
  Fixture f;
  f.node.answer_barriers = false;
  f.store.Apply({{"a", "1"}});
  RangeRequest request;
  request.set_key("a");
  RangeResponse response;
  Answer answer;
  SECTION("serializable") {
    request.set_serializable(true);
    f.server->Range(request, &response, answer.Done());
    CHECK(answer.count == 1);
  }
  SECTION("linearizable") {
    f.server->Range(request, &response, answer.Done());
    CHECK(answer.count == 0);
    f.store.Apply({{"b", "1"}});
    REQUIRE(f.node.barriers.size() == 1);
    CHECK(f.node.barriers[0].timeout == absl::Seconds(7));
    f.node.barriers[0].done(absl::OkStatus());
    CHECK(response.header().revision() == 3);
  }
  KEELSON_REQUIRE_OK(answer.status);
  CHECK(response.kvs(0).value() == "1");
  CHECK(response.header().member_id() == kSelf);
}

TEST_CASE("A failed read is answered with etcd's text", "[kvstore][server]") {
  struct Row {
    absl::Status failed;
    absl::Status answer;
  };
  const auto row = GENERATE(values<Row>({
      {absl::DeadlineExceededError(""), errors::Timeout()},
      {absl::CancelledError(""), errors::Stopped()},
      {absl::UnavailableError(""), errors::LeaderChanged()},
  }));
  Fixture f;
  f.node.answer_barriers = false;
  RangeRequest request;
  request.set_key("a");
  RangeResponse response;
  Answer answer;
  f.server->Range(request, &response, answer.Done());
  f.node.barriers[0].done(row.failed);
  CHECK(answer.status == row.answer);
}

TEST_CASE("A transaction that only reads is not proposed", "[kvstore][server]") {
  Fixture f;
  const size_t before = f.node.proposals.size();
  TxnRequest request;
  request.add_success()->mutable_request_range()->set_key("a");
  TxnResponse response;
  Answer answer;
  f.server->Txn(request, &response, answer.Done());
  KEELSON_REQUIRE_OK(answer.status);
  CHECK(response.header().cluster_id() == 11);
  CHECK(f.node.proposals.size() == before);
}

TEST_CASE("Without space puts and grants are refused, deletes are not", "[kvstore][server]") {
  Fixture f;
  f.server->OnStall(absl::ResourceExhaustedError("disk full"));
  const size_t before = f.node.proposals.size();
  Answer put, grant, txn, other;
  PutResponse put_response;
  LeaseGrantResponse grant_response;
  TxnResponse txn_response;
  DeleteRangeResponse deleted;
  TxnRequest with_put;
  with_put.add_success()->mutable_request_put()->set_key("a");
  f.server->Put(PutOf("a", "1"), &put_response, put.Done());
  f.server->LeaseGrant({}, &grant_response, grant.Done());
  f.server->Txn(with_put, &txn_response, txn.Done());
  CHECK(put.status == errors::NoSpace());
  CHECK(grant.status == errors::NoSpace());
  CHECK(txn.status == errors::NoSpace());
  CHECK(f.node.proposals.size() == before);

  DeleteRangeRequest remove;
  remove.set_key("a");
  f.server->DeleteRange(remove, &deleted, other.Done());
  CHECK(f.node.proposals.size() == before + 1);
  StatusResponse status;
  f.server->GetStatus(&status);
  REQUIRE(status.errors_size() == 1);
  CHECK(status.errors(0) == "memberID:22 alarm:NOSPACE ");

  f.server->OnStall(absl::OkStatus());
  f.server->Put(PutOf("a", "1"), &put_response, put.Done());
  CHECK(f.node.proposals.size() == before + 2);
}

TEST_CASE("Defragment gives space back when the quota is used up", "[kvstore][server]") {
  Server::Options options;
  options.space.quota_bytes = 1000;
  Fixture f(options);
  f.store.SetDiskBytes(999);
  f.Advance(absl::Seconds(10));
  Answer idle, busy;
  etcdserverpb::DefragmentResponse response;

  f.server->Defragment({}, &response, idle.Done());
  KEELSON_CHECK_OK(idle.status);
  CHECK(f.store.GetSizes().disk_bytes == 999);

  f.store.SetDiskBytes(1000);
  f.Advance(absl::Seconds(10));
  f.server->Defragment({}, &response, busy.Done());
  CHECK(busy.count == 0);
  f.timers.RunAll();
  KEELSON_CHECK_OK(busy.status);
  CHECK(f.store.GetSizes().disk_bytes == 0);
  Answer put;
  PutResponse put_response;
  const size_t before = f.node.proposals.size();
  f.server->Put(PutOf("a", "1"), &put_response, put.Done());
  CHECK(f.node.proposals.size() == before + 1);
}

TEST_CASE("A grant gets an id and at least the least TTL", "[kvstore][server]") {
  Fixture f;
  LeaseGrantResponse response;
  Answer answer;
  f.server->LeaseGrant({}, &response, answer.Done());
  CHECK(f.Proposed().lease_grant().id() > 0);
  CHECK(f.Proposed().lease_grant().ttl() == 2);
}

TEST_CASE("A leader renews a lease, with the revision from before", "[kvstore][server]") {
  Fixture f;
  f.Grant(7, 60);
  f.node.answer_barriers = false;
  LeaseKeepAliveRequest request;
  request.set_id(7);
  LeaseKeepAliveResponse response;
  Answer answer;
  f.server->LeaseKeepAlive(request, false, &response, answer.Done());
  f.store.Apply({{"a", "1"}});
  f.node.barriers[0].done(absl::OkStatus());
  KEELSON_REQUIRE_OK(answer.status);
  CHECK(response.ttl() == 60);
  CHECK(response.header().revision() == 1);

  SECTION("an unknown one has TTL 0") {
    request.set_id(8);
    f.node.answer_barriers = true;
    f.server->LeaseKeepAlive(request, false, &response, answer.Done());
    KEELSON_REQUIRE_OK(answer.status);
    CHECK(response.ttl() == 0);
    CHECK(response.id() == 8);
  }
}

TEST_CASE("A leader that has not taken the lease clock over yet does not say a lease is gone",
          "[kvstore][server]") {
  Fixture f;
  f.Lead(kOther);
  f.Grant(7, 60);
  f.server->OnRoleChange({.leader = kSelf, .role = keelson::raft::Role::kLeader}, 6);
  LeaseKeepAliveRequest keep;
  keep.set_id(7);
  LeaseKeepAliveResponse kept;
  LeaseTimeToLiveRequest ask;
  ask.set_id(7);
  LeaseTimeToLiveResponse left;
  Answer keep_answer, ask_answer;
  f.server->LeaseKeepAlive(keep, false, &kept, keep_answer.Done());
  f.server->LeaseTimeToLive(ask, false, &left, ask_answer.Done());
  CHECK(keep_answer.status == errors::LeaderChanged());
  CHECK(ask_answer.status == errors::LeaderChanged());

  f.store.SetLeases({{.id = 7, .granted_ttl_seconds = 60}});
  f.timers.RunAll();
  f.server->LeaseKeepAlive(keep, false, &kept, keep_answer.Done());
  KEELSON_REQUIRE_OK(keep_answer.status);
  CHECK(kept.ttl() == 60);
}

TEST_CASE("A follower asks the leader about leases", "[kvstore][server]") {
  Fixture f;
  f.Lead(kOther);
  LeaseKeepAliveRequest keep;
  keep.set_id(7);
  LeaseKeepAliveResponse kept;
  LeaseTimeToLiveRequest ask;
  ask.set_id(7);
  LeaseTimeToLiveResponse left;
  Answer answer;
  SECTION("and answers in its own name") {
    f.server->LeaseKeepAlive(keep, false, &kept, answer.Done());
    KEELSON_REQUIRE_OK(answer.status);
    CHECK(f.forwarder.leader == kOther);
    CHECK(kept.ttl() == 60);
    CHECK(kept.header().member_id() == kSelf);
    f.server->LeaseTimeToLive(ask, false, &left, answer.Done());
    CHECK(left.ttl() == 42);
  }
  SECTION("but not on behalf of another") {
    f.server->LeaseKeepAlive(keep, true, &kept, answer.Done());
    CHECK(answer.status == errors::NotLeader());
    f.server->LeaseTimeToLive(ask, true, &left, answer.Done());
    CHECK(answer.status == errors::NotLeader());
  }
  SECTION("that is gone") {
    f.Lead(0);
    f.server->LeaseKeepAlive(keep, false, &kept, answer.Done());
    CHECK(answer.status == errors::NoLeader());
  }
  SECTION("that leads no more") {
    f.forwarder.answer = absl::FailedPreconditionError("x");
    f.server->LeaseKeepAlive(keep, false, &kept, answer.Done());
    CHECK(answer.status == errors::LeaderChanged());
  }
}

TEST_CASE("The time to live of an unknown lease is -1", "[kvstore][server]") {
  Fixture f;
  LeaseTimeToLiveRequest request;
  request.set_id(7);
  LeaseTimeToLiveResponse response;
  Answer answer;
  f.server->LeaseTimeToLive(request, false, &response, answer.Done());
  KEELSON_REQUIRE_OK(answer.status);
  CHECK(response.ttl() == -1);
  CHECK(response.grantedttl() == 0);
}

TEST_CASE("A leader revokes ended leases, a follower does not", "[kvstore][server]") {
  Fixture f;
  f.store.SetMembers({{.id = kSelf, .name = "self", .client_urls = {"http://self:2379"}}});
  f.Advance(absl::Seconds(1));
  f.Grant(7, 3);
  f.node.proposals.clear();
  SECTION("leader") {
    f.Advance(absl::Seconds(2.9));
    CHECK(f.node.proposals.empty());
    f.Advance(absl::Seconds(0.7));
    REQUIRE(f.node.proposals.size() == 1);
    CHECK(f.Proposed().lease_revoke().id() == 7);
    CHECK_FALSE(f.server->IsWaiting(f.Proposed().request_id()));
    // Void when another leader's log takes it in.
    CHECK(f.Proposed().origin().term() == 5);
  }
  SECTION("leader of a later term, that was none in between") {
    f.store.SetLeases({{.id = 7, .granted_ttl_seconds = 3}});
    f.server->OnRoleChange({.leader = kSelf, .role = keelson::raft::Role::kLeader}, 6);
    f.Advance(absl::Seconds(10));
    REQUIRE(f.node.proposals.size() >= 1);
    CHECK(f.Proposed().origin().term() == 6);
  }
  SECTION("follower") {
    f.Lead(kOther);
    f.Advance(absl::Seconds(10));
    CHECK(f.node.proposals.empty());
  }
}

TEST_CASE("A member publishes its attributes until they are known", "[kvstore][server]") {
  Fixture f;
  f.Advance(absl::Milliseconds(100));
  CHECK(f.Proposed().member_attributes().name() == "self");
  CHECK(f.Proposed().member_attributes().client_urls(0) == "http://self:2379");
  const size_t asked = f.node.proposals.size();
  f.Advance(absl::Seconds(1));
  CHECK(f.node.proposals.size() == asked);  // one at a time

  f.node.proposals.back().refused(absl::UnavailableError(""));
  f.Advance(absl::Milliseconds(100));
  CHECK(f.node.proposals.size() == asked + 1);
  CHECK(f.published == 0);

  f.store.SetMembers({{.id = kSelf, .name = "self", .client_urls = {"http://self:2379"}}});
  f.Apply(std::monostate());
  f.Advance(absl::Seconds(1));
  CHECK(f.node.proposals.size() == asked + 1);
  CHECK(f.published == 1);
}

TEST_CASE("The member list shows founders and what they have published", "[kvstore][server]") {
  Fixture f;
  f.store.SetMembers({{.id = kSelf, .peer_urls = {"http://self:2380"}},
                      {.id = kOther,
                       .name = "o",
                       .client_urls = {"http://o:1"},
                       .peer_urls = {"http://other:2380"}},
                      {.id = 99, .name = "gone", .removed = true}});
  MemberListResponse response;
  Answer answer;
  f.server->MemberList({}, &response, answer.Done());
  REQUIRE(response.members_size() == 2);
  CHECK(response.members(0).id() == kSelf);
  CHECK(response.members(0).name().empty());
  CHECK(response.members(1).name() == "o");
  CHECK(response.members(1).clienturls(0) == "http://o:1");
  CHECK(response.members(1).peerurls(0) == "http://other:2380");
  CHECK(response.header().revision() == 0);
}

TEST_CASE("Status tells that there is no leader", "[kvstore][server]") {
  Fixture f;
  f.node.peek.commit = 5;
  f.node.peek.applied = 4;
  f.Lead(0);
  StatusResponse response;
  f.server->GetStatus(&response);
  CHECK(response.leader() == 0);
  CHECK(response.raftindex() == 5);
  CHECK(response.raftappliedindex() == 4);
  REQUIRE(response.errors_size() == 1);
  CHECK(response.errors(0) == "etcdserver: no leader");
}

TEST_CASE("Streams that want a leader end after three checks without one", "[kvstore][server]") {
  Fixture f;
  int lost = 0;
  const uint64_t id = f.server->leader_monitor().Add([&] { ++lost; });
  f.Lead(0);
  f.Advance(absl::Seconds(1.9));
  CHECK(lost == 0);
  f.Advance(absl::Seconds(1.2));
  CHECK(lost == 1);
  f.server->leader_monitor().Remove(id);
  f.Advance(absl::Seconds(3));
  CHECK(lost == 1);
}

TEST_CASE("A leader compacts history that is not to be kept, a follower does not",
          "[kvstore][server]") {
  Fixture f({.compaction = {.keep_revisions = 1}});
  f.store.SetMembers({{.id = kSelf, .name = "self", .client_urls = {"http://self:2379"}}});
  for (const char* value : {"1", "2", "3"}) f.store.Apply({{"a", value}});
  f.Advance(absl::Seconds(1));
  f.node.proposals.clear();
  SECTION("leader") {
    f.Advance(absl::Minutes(5));
    REQUIRE(f.node.proposals.size() == 1);
    CHECK(f.Proposed().compaction().revision() == 3);
  }
  SECTION("follower") {
    f.Lead(kOther);
    f.Advance(absl::Minutes(6));
    CHECK(f.node.proposals.empty());
  }
}
