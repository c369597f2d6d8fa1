// The client over failovers, partitions, pauses and clocks that go wrong; also an example of how
// users test code that takes a Client.
#include "kvstore/testing/simulated_cluster.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"
#include "kvstore/client/election.h"
#include "kvstore/client/lock.h"
#include "kvstore/client/mirror.h"
#include "kvstore/client/session.h"
#include "kvstore/client/txn.h"

namespace keelson::kvstore {
namespace {

using absl::StatusCode;

constexpr absl::Duration kLimit = absl::Minutes(5);

std::string ValueOf(Client& client, const std::string& key) {
  const auto found = client.Range(RangeOf(key));
  if (!found.ok()) return std::string(found.status().message());
  return found->kvs().empty() ? "(none)" : found->kvs(0).value();
}

// A put that goes on until it is known to be done.
void PutSurely(Client& client, const std::string& key, const std::string& value) {
  for (int tries = 0; tries < 20; ++tries) {
    if (client.Put(PutOf(key, value)).ok()) return;
  }
  FAIL("the cluster does not come back");
}

// Follows a key's revisions and notices what must not be.
struct Follower {
  std::vector<int64_t> revisions;
  std::vector<absl::Status> ends;
  std::unique_ptr<Watcher> watcher;

  void Start(Client& client, const std::string& prefix) {
    etcdserverpb::WatchCreateRequest request;
    request.set_key(prefix);
    request.set_range_end(PrefixEnd(prefix));
    request.set_start_revision(1);
    watcher = client.Watch(
        request, {.on_response =
                      [this](const etcdserverpb::WatchResponse& response) {
                        for (const auto& event : response.events()) {
                          revisions.push_back(event.kv().mod_revision());
                        }
                      },
                  .on_end = [this](const absl::Status& status) { ends.push_back(status); }});
  }
};

// Leader crashes and cuts come and go while a client writes and another watches.
uint64_t StormyRun(uint64_t seed, size_t* events) {
  auto cluster = SimulatedCluster::Start({.members = 3, .seed = seed});
  const auto writer = cluster->NewClient("writer");
  const auto reader = cluster->NewClient("reader");
  Follower follower;
  follower.Start(*reader, "k/");
  std::vector<int64_t> written;
  for (int i = 0; i < 60; ++i) {
    if (i % 20 == 5) cluster->Crash(cluster->Leader());
    if (i % 20 == 10) {
      for (int member = 1; member <= 3; ++member) {
        if (!cluster->IsRunning(member)) cluster->Restart(member);
      }
      cluster->RunFor(absl::Seconds(3));
      cluster->Isolate(cluster->Leader());
    }
    if (i % 20 == 15) cluster->Heal();
    const auto put = writer->Put(PutOf(absl::StrCat("k/", i), "x"));
    if (put.ok()) written.push_back(put->header().revision());
    CHECK((put.ok() || PerhapsDone(put.status()) || absl::IsUnavailable(put.status())));
  }
  const int64_t last = written.back();
  CHECK(cluster->RunUntil(
      [&] { return !follower.revisions.empty() && follower.revisions.back() >= last; }, kLimit));
  CHECK(follower.ends.empty());
  // In order, each once, and none that was acknowledged is missing.
  for (size_t i = 1; i < follower.revisions.size(); ++i) {
    CHECK(follower.revisions[i] > follower.revisions[i - 1]);
  }
  for (const int64_t revision : written) {
    CHECK(std::binary_search(follower.revisions.begin(), follower.revisions.end(), revision));
  }
  CHECK(written.size() >= 40);
  *events = follower.revisions.size();
  follower.watcher.reset();
  return cluster->fingerprint();
}

}  // namespace

TEST_CASE("A client goes on over the loss of the leader, by crash or by partition",
          "[simulation][client]") {
  auto cluster = SimulatedCluster::Start({.members = 3, .seed = 7});
  const auto client = cluster->NewClient("app");
  KEELSON_REQUIRE_OK(client->Put(PutOf("a", "1")));
  const int leader = cluster->Leader();
  SECTION("crash") { cluster->Crash(leader); }
  SECTION("partition") { cluster->Isolate(leader); }
  PutSurely(*client, "a", "2");
  CHECK(cluster->Leader() != 0);
  CHECK(ValueOf(*client, "a") == "2");
  cluster->Heal();
  if (!cluster->IsRunning(leader)) cluster->Restart(leader);
  cluster->RunFor(absl::Seconds(10));
  const auto old =
      cluster->NewClient("other", {.endpoints = {absl::StrCat("http://member-", leader, ":2379")}});
  CHECK(ValueOf(*old, "a") == "2");
}

TEST_CASE("A write whose answer cannot come says that it was perhaps done",
          "[simulation][client]") {
  auto cluster = SimulatedCluster::Start({.members = 1});
  const auto client = cluster->NewClient("app", {.command_timeout = absl::Seconds(1)});
  KEELSON_REQUIRE_OK(client->Put(PutOf("a", "1")));
  cluster->Cut("app", "member-1");
  const auto put = client->Put(PutOf("a", "2"));
  CHECK(absl::IsDeadlineExceeded(put.status()));
  CHECK(PerhapsDone(put.status()));
  const auto read = client->Range(RangeOf("a"));
  CHECK(absl::IsDeadlineExceeded(read.status()));
  CHECK_FALSE(PerhapsDone(read.status()));
  cluster->Heal();
  cluster->RunFor(absl::Seconds(1));
  CHECK(ValueOf(*client, "a") == "2");  // It was: the network only held it back.
}

TEST_CASE("A member without a leader is left alone, also by writes", "[simulation][client]") {
  auto cluster = SimulatedCluster::Start({.members = 3});
  const int alone = cluster->Leader() % 3 + 1;  // a follower
  std::vector<std::string> endpoints;
  for (int i = 0; i < 3; ++i) {
    endpoints.push_back(absl::StrCat("http://member-", (alone - 1 + i) % 3 + 1, ":2379"));
  }
  const auto client = cluster->NewClient("app", {.endpoints = endpoints});
  KEELSON_REQUIRE_OK(client->Put(PutOf("a", "1")));
  // From the other members only: the client still reaches it.
  for (int member = 1; member <= 3; ++member) {
    if (member != alone) {
      cluster->Cut(absl::StrCat("member-", alone), absl::StrCat("member-", member));
    }
  }
  cluster->RunFor(absl::Seconds(10));
  const absl::Duration start = cluster->now();
  KEELSON_REQUIRE_OK(client->Put(PutOf("a", "2")));
  CHECK(cluster->now() - start < absl::Seconds(1));
  // Whoever is content with old values gets them there.
  const auto stale = cluster->NewClient("stale", {.endpoints = {endpoints[0]}});
  etcdserverpb::RangeRequest range = RangeOf("a");
  range.set_serializable(true);
  CHECK(stale->Range(range)->kvs(0).value() == "1");
  range.set_serializable(false);
  KEELSON_CHECK_ERROR(stale->Range(range), StatusCode::kUnavailable, "etcdserver: no leader");
}

TEST_CASE("A watch misses and repeats nothing over crashes and partitions", "[simulation][watch]") {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    INFO("seed " << seed);
    size_t events = 0;
    (void)StormyRun(seed, &events);
    CHECK(events >= 40);
  }
}

TEST_CASE("The same seed gives the same run", "[simulation]") {
  size_t first = 0;
  size_t second = 0;
  CHECK(StormyRun(42, &first) == StormyRun(42, &second));
  CHECK(first == second);
}

TEST_CASE("A watch that slept through a compaction says so, and a mirror lists anew",
          "[simulation][watch][mirror]") {
  auto cluster = SimulatedCluster::Start({.members = 1});
  const auto writer = cluster->NewClient("writer");
  const auto reader = cluster->NewClient("reader");
  KEELSON_REQUIRE_OK(writer->Put(PutOf("m/a", "1")));
  KEELSON_REQUIRE_OK(writer->Put(PutOf("m/b", "1")));
  Follower follower;
  follower.Start(*reader, "m/");
  std::vector<std::string> told;
  auto mirror = RangeMirror::Start(*reader, "m/", {.on_update = [&](const auto& update) {
    for (const auto& event : update.events) {
      told.push_back(absl::StrCat(update.listed ? "list " : "",
                                  event.type() == mvccpb::Event::DELETE ? "-" : "+",
                                  event.kv().key(), event.kv().value()));
    }
  }});
  KEELSON_REQUIRE_OK(mirror);
  cluster->RunFor(absl::Seconds(1));
  cluster->Cut("reader", "member-1");
  KEELSON_REQUIRE_OK(writer->DeleteRange(DeleteOf("m/a")));
  KEELSON_REQUIRE_OK(writer->Put(PutOf("m/c", "2")));
  const auto last = writer->Put(PutOf("m/b", "3"));
  KEELSON_REQUIRE_OK(last);
  etcdserverpb::CompactionRequest compaction;
  compaction.set_revision(last->header().revision());
  KEELSON_REQUIRE_OK(writer->Compact(compaction));
  cluster->RunFor(absl::Minutes(1));  // The connection breaks.
  cluster->Heal();
  cluster->RunFor(absl::Minutes(1));
  CHECK(told == std::vector<std::string>{"list +m/a1", "list +m/b1", "list -m/a", "list +m/c2",
                                         "list +m/b3"});
  CHECK((*mirror)->Copy().size() == 2);
  REQUIRE(follower.ends.size() == 1);
  CHECK(absl::IsOutOfRange(follower.ends[0]));
  CHECK(CompactRevisionOf(follower.ends[0]) == last->header().revision());
  KEELSON_REQUIRE_OK(writer->Put(PutOf("m/d", "4")));
  cluster->RunFor(absl::Seconds(1));
  CHECK(told.back() == "+m/d4");
}

TEST_CASE("A lease that cannot be renewed is reported lost when its TTL ends, not later",
          "[simulation][lease]") {
  auto cluster = SimulatedCluster::Start({.members = 3});
  const auto client = cluster->NewClient("app");
  absl::Duration lost_at;
  auto session = Session::Create(*client, {.ttl = absl::Seconds(10), .on_lost = [&](const auto&) {
                                             lost_at = cluster->now();
                                           }});
  KEELSON_REQUIRE_OK(session);
  KEELSON_REQUIRE_OK(client->Put(PutOf("mine", "x", (*session)->lease())));
  cluster->RunFor(absl::Minutes(5));
  CHECK((*session)->status().ok());
  const absl::Duration cut_at = cluster->now();
  for (int member = 1; member <= 3; ++member) cluster->Cut("app", absl::StrCat("member-", member));
  REQUIRE(cluster->RunUntil([&] { return !(*session)->status().ok(); }, kLimit));
  CHECK(lost_at - cut_at <= absl::Seconds(11));
  // Whoever held it knows before anybody else can have taken over.
  const auto other = cluster->NewClient("other");
  CHECK(ValueOf(*other, "mine") == "x");
  cluster->RunFor(absl::Seconds(5));
  CHECK(ValueOf(*other, "mine") == "(none)");
}

TEST_CASE("A lock outlives the leader, and passes from a holder that is cut off",
          "[simulation][lock]") {
  auto cluster = SimulatedCluster::Start({.members = 3});
  const auto one = cluster->NewClient("one");
  const auto two = cluster->NewClient("two");
  auto first = Session::Create(*one, {.ttl = absl::Seconds(10)});
  auto second = Session::Create(*two, {.ttl = absl::Seconds(10)});
  KEELSON_REQUIRE_OK(first);
  KEELSON_REQUIRE_OK(second);
  DistributedLock mine(**first, "locks/x");
  DistributedLock theirs(**second, "locks/x");
  KEELSON_REQUIRE_OK(mine.Lock());
  cluster->Crash(cluster->Leader());
  KEELSON_CHECK_ERROR(theirs.Lock(absl::Seconds(30)), StatusCode::kDeadlineExceeded, "");
  for (int member = 1; member <= 3; ++member) cluster->Cut("one", absl::StrCat("member-", member));
  const absl::Duration start = cluster->now();
  KEELSON_REQUIRE_OK(theirs.Lock(absl::Minutes(2)));
  CHECK(cluster->now() - start < absl::Seconds(30));
  cluster->Heal();
  cluster->RunFor(absl::Seconds(20));
  // The old holder's writes are refused.
  const auto write = one->Txn(TxnBuilder().If(mine.IsOwner()).Then(PutOf("x", "old")).Build());
  KEELSON_REQUIRE_OK(write);
  CHECK_FALSE(write->succeeded());
}

TEST_CASE("Pauses and wrong clocks do no harm to what is acknowledged", "[simulation]") {
  auto cluster = SimulatedCluster::Start({.members = 3});
  const auto client = cluster->NewClient("app");
  cluster->SetClockRate(1, 1.2);
  cluster->SetClockRate(2, 0.8);
  cluster->JumpClock(3, absl::Hours(-48));
  PutSurely(*client, "a", "1");
  cluster->Pause(cluster->Leader(), absl::Seconds(10));
  PutSurely(*client, "a", "2");
  cluster->RunFor(absl::Minutes(1));
  CHECK(ValueOf(*client, "a") == "2");
}

TEST_CASE("The members of the cluster become the endpoints", "[simulation][client]") {
  auto cluster = SimulatedCluster::Start({.members = 3});
  cluster->RunFor(absl::Seconds(5));  // They publish their addresses.
  const auto client = cluster->NewClient(
      "app", {.endpoints = {"http://member-1:2379"}, .sync_interval = absl::Seconds(30)});
  CHECK(client->Endpoints() == std::vector<std::string>{"http://member-1:2379"});
  cluster->RunFor(absl::Minutes(1));
  CHECK(client->Endpoints() == std::vector<std::string>{"http://member-1:2379",
                                                        "http://member-2:2379",
                                                        "http://member-3:2379"});
  cluster->Crash(1);
  PutSurely(*client, "a", "1");
  CHECK(ValueOf(*client, "a") == "1");
}

}  // namespace keelson::kvstore
