// The embedded store, and what is written above Client on it: it is a whole member.
#include "kvstore/embed/embed.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/testing/status_matchers.h"
#include "kvstore/api/auth.pb.h"
#include "kvstore/client/client.h"
#include "kvstore/client/election.h"
#include "kvstore/client/lock.h"
#include "kvstore/client/mirror.h"
#include "kvstore/client/session.h"
#include "kvstore/client/txn.h"

namespace keelson::kvstore {
namespace {

using absl::StatusCode;

constexpr absl::Duration kLong = absl::Seconds(30);

std::unique_ptr<EmbeddedStore> StartStore(EmbedOptions options = {}) {
  auto store = EmbeddedStore::Start(std::move(options));
  KEELSON_REQUIRE_OK(store);
  return *std::move(store);
}

std::unique_ptr<Client> ClientOf(EmbeddedStore& store, EmbedClientOptions options = {}) {
  auto client = store.NewClient(std::move(options));
  KEELSON_REQUIRE_OK(client);
  return *std::move(client);
}

std::unique_ptr<Session> SessionOf(Client& client, SessionOptions options = {}) {
  auto session = Session::Create(client, std::move(options));
  KEELSON_REQUIRE_OK(session);
  return *std::move(session);
}

class Folder {
 public:
  Folder() {
    std::string path = std::filesystem::temp_directory_path() / "keelson-embed-XXXXXX";
    REQUIRE(::mkdtemp(path.data()) != nullptr);
    path_ = path;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string ValueOf(Client& client, const std::string& key) {
  const auto found = client.Range(RangeOf(key));
  KEELSON_REQUIRE_OK(found);
  return found->kvs().empty() ? "(none)" : found->kvs(0).value();
}

// Values that callbacks hand to the test.
class Heard {
 public:
  void Add(std::string text) {
    absl::MutexLock lock(&mu_);
    texts_.push_back(std::move(text));
  }
  std::vector<std::string> WaitFor(size_t count) {
    absl::MutexLock lock(&mu_);
    const auto enough = [this, count]()
                            ABSL_NO_THREAD_SAFETY_ANALYSIS { return texts_.size() >= count; };
    CHECK(mu_.AwaitWithTimeout(absl::Condition(&enough), kLong));
    return texts_;
  }

 private:
  absl::Mutex mu_;
  std::vector<std::string> texts_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

TEST_CASE("A store on a folder keeps what it acknowledged", "[embed]") {
  const Folder folder;
  const EmbedOptions options{.directory = folder.path() + "/store"};
  {
    const auto store = StartStore(options);
    KEELSON_REQUIRE_OK(ClientOf(*store)->Put(PutOf("a", "1")));
    CHECK(store->client_addresses().empty());
    store->Stop();
    store->Stop();
  }
  const auto store = StartStore(options);
  CHECK(ValueOf(*ClientOf(*store), "a") == "1");
}

TEST_CASE("A folder has one store at a time", "[embed]") {
  const Folder folder;
  const EmbedOptions options{.directory = folder.path() + "/store"};
  const auto store = StartStore(options);
  CHECK_FALSE(EmbeddedStore::Start(options).ok());
}

TEST_CASE("A store refuses flags that it does not know", "[embed]") {
  KEELSON_CHECK_ERROR(EmbeddedStore::Start({.flags = {"--no-such-flag"}}),
                      StatusCode::kInvalidArgument, "no-such-flag");
}

TEST_CASE("A store in memory serves its own clients and those of the network alike", "[embed]") {
  const auto store = StartStore({.listen_client_urls = {"http://127.0.0.1:0"}});
  const auto inside = ClientOf(*store);
  REQUIRE(store->client_addresses().size() == 1);
  auto outside = Connect({.endpoints = store->client_addresses()});
  KEELSON_REQUIRE_OK(outside);
  Heard heard;
  etcdserverpb::WatchCreateRequest request;
  request.set_key("a");
  request.set_start_revision(1);
  const auto on_response = [&heard](const etcdserverpb::WatchResponse& response) {
    for (const mvccpb::Event& event : response.events()) heard.Add(event.kv().value());
  };
  const auto watch = inside->Watch(request, {.on_response = on_response, .on_end = nullptr});

  KEELSON_REQUIRE_OK((*outside)->Put(PutOf("a", "1")));
  KEELSON_REQUIRE_OK(inside->Put(PutOf("a", "2")));

  CHECK(heard.WaitFor(2) == std::vector<std::string>{"1", "2"});
  CHECK(ValueOf(**outside, "a") == "2");
}

TEST_CASE("Errors of the store are etcd's", "[embed]") {
  const auto store = StartStore();
  const auto client = ClientOf(*store);
  KEELSON_CHECK_ERROR(client->Put(PutOf("", "x")), StatusCode::kInvalidArgument,
                      "etcdserver: key is not provided");
  KEELSON_CHECK_ERROR(client->LeaseKeepAliveOnce(77), StatusCode::kNotFound,
                      "etcdserver: requested lease not found");
  KEELSON_CHECK_ERROR(client->Invoke("/no.Such/Method", "", false), StatusCode::kUnimplemented,
                      "unknown");
}

TEST_CASE("A client that outlives its store is told so", "[embed]") {
  auto store = StartStore();
  const auto client = ClientOf(*store, {.command_timeout = absl::Milliseconds(300)});
  KEELSON_REQUIRE_OK(client->Put(PutOf("a", "1")));
  Heard lost;
  auto session = SessionOf(*client, {.ttl = absl::Seconds(1), .on_lost = [&](const auto& why) {
                                       lost.Add(absl::StrCat(static_cast<int>(why.code())));
                                     }});
  store.reset();
  const auto put = client->Put(PutOf("a", "2"));
  CHECK(absl::IsUnavailable(put.status()));
  CHECK_FALSE(PerhapsDone(put.status()));
  CHECK(lost.WaitFor(1).size() == 1);
  CHECK_FALSE(session->status().ok());
}

TEST_CASE("A client with a password gets tokens, and new ones when they go", "[embed][auth]") {
  const auto store = StartStore({.flags = {"--bcrypt-cost=4"}});
  const auto admin = ClientOf(*store, {.user = "root", .password = "secret"});
  // Before authentication is on, a password does no harm.
  KEELSON_REQUIRE_OK(admin->Put(PutOf("a", "1")));
  etcdserverpb::AuthUserAddRequest user;
  user.set_name("root");
  user.set_password("secret");
  KEELSON_REQUIRE_OK(
      InvokeMethod<etcdserverpb::AuthUserAddResponse>(*admin, "/etcdserverpb.Auth/UserAdd", user));
  etcdserverpb::AuthUserGrantRoleRequest grant;
  grant.set_user("root");
  grant.set_role("root");
  etcdserverpb::AuthRoleAddRequest role;
  role.set_name("root");
  (void)InvokeMethod<etcdserverpb::AuthRoleAddResponse>(*admin, "/etcdserverpb.Auth/RoleAdd", role);
  KEELSON_REQUIRE_OK(InvokeMethod<etcdserverpb::AuthUserGrantRoleResponse>(
      *admin, "/etcdserverpb.Auth/UserGrantRole", grant));
  KEELSON_REQUIRE_OK(InvokeMethod<etcdserverpb::AuthEnableResponse>(
      *admin, "/etcdserverpb.Auth/AuthEnable", etcdserverpb::AuthEnableRequest()));

  KEELSON_REQUIRE_OK(admin->Put(PutOf("a", "2")));
  CHECK_FALSE(ClientOf(*store)->Put(PutOf("a", "3")).ok());
  KEELSON_CHECK_ERROR(ClientOf(*store, {.user = "root", .password = "wrong"})->Put(PutOf("a", "3")),
                      StatusCode::kInvalidArgument, "authentication failed");

  // Every change of users makes the tokens old.
  user.set_name("other");
  KEELSON_REQUIRE_OK(
      InvokeMethod<etcdserverpb::AuthUserAddResponse>(*admin, "/etcdserverpb.Auth/UserAdd", user));
  KEELSON_REQUIRE_OK(admin->Put(PutOf("a", "4")));
  Heard heard;
  etcdserverpb::WatchCreateRequest request;
  request.set_key("a");
  request.set_start_revision(1);
  const auto watch = admin->Watch(
      request,
      {.on_response =
           [&heard](const etcdserverpb::WatchResponse& response) {
             for (const auto& event : response.events()) heard.Add(event.kv().value());
           },
       .on_end =
           [&heard](const absl::Status& status) { heard.Add(std::string(status.message())); }});
  CHECK(heard.WaitFor(3) == std::vector<std::string>{"1", "2", "4"});
}

TEST_CASE("A transaction takes the branch that its conditions say", "[embed][txn]") {
  const auto store = StartStore();
  const auto client = ClientOf(*store);
  const auto create =
      TxnBuilder().If(Missing("job")).Then(PutOf("job", "free")).Else(RangeOf("job")).Build();
  CHECK(client->Txn(create)->succeeded());
  const auto second = client->Txn(create);
  KEELSON_REQUIRE_OK(second);
  CHECK_FALSE(second->succeeded());
  CHECK(second->responses(0).response_range().kvs(0).value() == "free");

  const auto nested = client->Txn(TxnBuilder()
                                      .If(Exists("job"))
                                      .If(Greater(VersionIs("job", 0)))
                                      .If(ForPrefix(Not(ValueIs("job", "taken"))))
                                      .Then(TxnBuilder()
                                                .If(ValueIs("job", "free"))
                                                .Then(PutOf("job", "taken"))
                                                .Else(DeleteOf("job")))
                                      .Build());
  KEELSON_REQUIRE_OK(nested);
  CHECK(nested->succeeded());
  CHECK(nested->responses(0).response_txn().succeeded());
  CHECK(ValueOf(*client, "job") == "taken");
}

TEST_CASE("A lock has one holder at a time, and goes in the order of asking", "[embed][lock]") {
  const auto store = StartStore();
  const auto client = ClientOf(*store);
  const auto first = SessionOf(*client);
  const auto second = SessionOf(*client);
  DistributedLock mine(*first, "locks/x");
  DistributedLock theirs(*second, "locks/x");
  KEELSON_REQUIRE_OK(mine.Lock());
  CHECK(mine.key() == absl::StrCat("locks/x/", absl::Hex(first->lease())));
  KEELSON_CHECK_ERROR(theirs.TryLock(), StatusCode::kAborted, "Locked by another session");
  CHECK(ValueOf(*client, theirs.key()) == "(none)");
  KEELSON_CHECK_ERROR(theirs.Lock(absl::Milliseconds(50)), StatusCode::kDeadlineExceeded, "");
  CHECK(ValueOf(*client, theirs.key()) == "(none)");

  std::atomic<bool> locked{false};
  std::thread waiter([&] {
    CHECK(theirs.Lock(kLong).ok());
    locked = true;
  });
  while (ValueOf(*client, theirs.key()) == "(none)") std::this_thread::yield();
  CHECK_FALSE(locked);
  const int64_t fence = mine.revision();
  const auto write = TxnBuilder().If(mine.IsOwner()).Then(PutOf("done", "by me")).Build();
  CHECK(client->Txn(write)->succeeded());
  KEELSON_REQUIRE_OK(mine.Unlock());
  waiter.join();
  CHECK(theirs.revision() > fence);
  // What the old holder still had in mind to do is refused.
  CHECK_FALSE(client->Txn(write)->succeeded());
  KEELSON_REQUIRE_OK(theirs.Unlock());
}

TEST_CASE("A holder that goes leaves the lock to the next, and a lost session ends the wait",
          "[embed][lock]") {
  const auto store = StartStore();
  const auto client = ClientOf(*store);
  auto first = SessionOf(*client);
  const auto second = SessionOf(*client);
  DistributedLock mine(*first, "locks/x");
  DistributedLock theirs(*second, "locks/x");
  KEELSON_REQUIRE_OK(mine.Lock());
  SECTION("the holder's session is closed") {
    std::thread closer([&] { CHECK(first->Close().ok()); });
    KEELSON_REQUIRE_OK(theirs.Lock(kLong));
    closer.join();
  }
  SECTION("the lease of the one who waits is revoked") {
    std::thread revoker([&] {
      while (ValueOf(*client, theirs.key()) == "(none)") std::this_thread::yield();
      CHECK(client->LeaseRevoke(second->lease()).ok());
      CHECK(mine.Unlock().ok());
    });
    KEELSON_CHECK_ERROR(theirs.Lock(kLong), StatusCode::kFailedPrecondition, "session is expired");
    revoker.join();
  }
}

TEST_CASE("An election has one leader, and observers hear what it says", "[embed][election]") {
  const auto store = StartStore();
  const auto client = ClientOf(*store);
  const auto first = SessionOf(*client);
  const auto second = SessionOf(*client);
  Election mine(*first, "leaders/x");
  Election theirs(*second, "leaders/x");
  KEELSON_CHECK_ERROR(FindLeader(*client, "leaders/x"), StatusCode::kNotFound, "no leader");
  Heard heard;
  auto observer = Observe(*client, "leaders/x",
                          {.on_leader = [&](const auto& pair) { heard.Add(pair.value()); },
                           .on_no_leader = [&] { heard.Add("(none)"); }});
  KEELSON_REQUIRE_OK(observer);
  CHECK(heard.WaitFor(1) == std::vector<std::string>{"(none)"});

  KEELSON_REQUIRE_OK(mine.Campaign("a"));
  CHECK(heard.WaitFor(2).back() == "a");
  KEELSON_CHECK_ERROR(theirs.Campaign("c", absl::Milliseconds(50)), StatusCode::kDeadlineExceeded,
                      "");
  KEELSON_REQUIRE_OK(mine.Proclaim("b"));
  CHECK(heard.WaitFor(3).back() == "b");
  CHECK(FindLeader(*client, "leaders/x")->value() == "b");
  std::thread next([&] { CHECK(theirs.Campaign("c", kLong).ok()); });
  while (ValueOf(*client, theirs.key()) == "(none)") std::this_thread::yield();
  KEELSON_REQUIRE_OK(mine.Resign());
  next.join();
  CHECK(heard.WaitFor(4).back() == "c");
  KEELSON_CHECK_ERROR(mine.Proclaim("d"), StatusCode::kFailedPrecondition, "not leader");
  CHECK(client->Txn(TxnBuilder().If(theirs.IsLeader()).Build())->succeeded());
}

TEST_CASE("A mirror follows, over pages and in order", "[embed][mirror]") {
  const auto store = StartStore();
  const auto client = ClientOf(*store);
  constexpr int kKeys = 1200;  // more than a page
  for (int i = 0; i < kKeys; i += 100) {
    TxnBuilder txn;
    for (int j = i; j < i + 100; ++j) txn.Then(PutOf(absl::StrCat("m/", j), "x"));
    KEELSON_REQUIRE_OK(client->Txn(txn.Build()));
  }
  KEELSON_REQUIRE_OK(client->Put(PutOf("n", "not in it")));
  Heard heard;
  auto mirror = RangeMirror::Start(*client, "m/", {.on_update = [&](const auto& update) {
    heard.Add(absl::StrCat(update.listed ? "list " : "", update.events.size(), " of ",
                           update.pairs->size()));
  }});
  KEELSON_REQUIRE_OK(mirror);
  CHECK((*mirror)->Copy().size() == kKeys);
  KEELSON_REQUIRE_OK(client->DeleteRange(DeleteOf("m/7")));
  CHECK(heard.WaitFor(2) == std::vector<std::string>{"list 1200 of 1200", "1 of 1199"});
  CHECK_FALSE((*mirror)->Get("m/7").has_value());
}

}  // namespace keelson::kvstore
