// The client against scripted servers on loopback.
#include "kvstore/client/client.h"

#include <grpcpp/grpcpp.h>

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "base/testing/status_matchers.h"
#include "kvstore/api/services.grpc.pb.h"
#include "kvstore/client/internal/endpoint_name.h"

namespace keelson::kvstore {
namespace {

using absl::StatusCode;
using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;
using WatchStream = grpc::ServerReaderWriter<WatchResponse, WatchRequest>;
using KeepAliveStream = grpc::ServerReaderWriter<etcdserverpb::LeaseKeepAliveResponse,
                                                 etcdserverpb::LeaseKeepAliveRequest>;

// One "member" that answers as the test says, and counts.
class FakeMember final : public etcdserverpb::KV::Service,
                         public etcdserverpb::Watch::Service,
                         public etcdserverpb::Lease::Service {
 public:
  FakeMember() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(static_cast<etcdserverpb::KV::Service*>(this));
    builder.RegisterService(static_cast<etcdserverpb::Watch::Service*>(this));
    builder.RegisterService(static_cast<etcdserverpb::Lease::Service*>(this));
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
  }
  ~FakeMember() override { Stop(); }

  void Stop() {
    // A deadline in the past cancels calls that still run.
    server_->Shutdown(absl::ToChronoTime(absl::Now()));
    server_->Wait();
  }
  [[nodiscard]] std::string Endpoint() const { return absl::StrCat("127.0.0.1:", port_); }

  int Calls() {
    absl::MutexLock lock(&mu_);
    return calls_;
  }

  // What ranges, puts and transactions end with.
  grpc::Status answer;
  // Called for each stream, with its number from 0.
  std::function<grpc::Status(int, WatchStream*)> watch;
  std::function<int64_t(int)> ttl;

 private:
  int Count() {
    absl::MutexLock lock(&mu_);
    return calls_++;
  }
  grpc::Status Range(grpc::ServerContext*, const etcdserverpb::RangeRequest*,
                     etcdserverpb::RangeResponse* response) override {
    Count();
    response->set_count(1);
    return answer;
  }
  grpc::Status Put(grpc::ServerContext*, const etcdserverpb::PutRequest*,
                   etcdserverpb::PutResponse*) override {
    Count();
    return answer;
  }
  grpc::Status Txn(grpc::ServerContext*, const etcdserverpb::TxnRequest*,
                   etcdserverpb::TxnResponse*) override {
    Count();
    return answer;
  }
  grpc::Status Watch(grpc::ServerContext*, WatchStream* stream) override {
    return watch(Count(), stream);
  }
  grpc::Status LeaseKeepAlive(grpc::ServerContext*, KeepAliveStream* stream) override {
    etcdserverpb::LeaseKeepAliveRequest request;
    while (stream->Read(&request)) {
      etcdserverpb::LeaseKeepAliveResponse response;
      response.set_id(request.id());
      response.set_ttl(ttl(Count()));
      stream->Write(response);
    }
    return grpc::Status::OK;
  }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  absl::Mutex mu_;
  int calls_ ABSL_GUARDED_BY(mu_) = 0;
};

std::unique_ptr<Client> ConnectTo(const std::vector<std::string>& endpoints) {
  ConnectOptions options;
  options.endpoints = endpoints;
  options.command_timeout = absl::Seconds(20);
  auto client = Connect(options);
  KEELSON_REQUIRE_OK(client);
  return *std::move(client);
}

grpc::Status Unavailable(const std::string& text) { return {grpc::StatusCode::UNAVAILABLE, text}; }

// An endpoint of loopback where nobody listens: one that has just been left.
std::string DeadEndpoint() { return FakeMember().Endpoint(); }

}  // namespace

TEST_CASE("A read that a member cannot answer is repeated on the next one", "[client][failover]") {
  FakeMember sick;
  FakeMember well;
  sick.answer = Unavailable("etcdserver: leader changed");
  const auto client = ConnectTo({sick.Endpoint(), well.Endpoint()});

  const auto range = client->Range(RangeOf("a"));

  KEELSON_REQUIRE_OK(range);
  CHECK(range->count() == 1);
  CHECK(sick.Calls() == 1);
  CHECK(well.Calls() == 1);
}

TEST_CASE("A write that was perhaps done is not repeated", "[client][failover]") {
  FakeMember sick;
  FakeMember well;
  sick.answer = Unavailable("etcdserver: request timed out");
  const auto client = ConnectTo({sick.Endpoint(), well.Endpoint()});

  SECTION("put") {
    KEELSON_CHECK_ERROR(client->Put(PutOf("a", "b")), StatusCode::kUnavailable, "timed out");
  }
  SECTION("transaction with a put in one branch") {
    etcdserverpb::TxnRequest request;
    *request.add_success()->mutable_request_range() = RangeOf("a");
    *request.add_failure()->mutable_request_put() = PutOf("a", "b");
    KEELSON_CHECK_ERROR(client->Txn(request), StatusCode::kUnavailable, "timed out");
  }
  CHECK(sick.Calls() == 1);
  CHECK(well.Calls() == 0);
}

TEST_CASE("After an unavailable member the next call goes to another one", "[client][failover]") {
  FakeMember sick;
  FakeMember well;
  sick.answer = Unavailable("etcdserver: request timed out");
  const auto client = ConnectTo({sick.Endpoint(), well.Endpoint()});

  CHECK(PerhapsDone(client->Put(PutOf("a", "b")).status()));
  KEELSON_REQUIRE_OK(client->Put(PutOf("a", "b")));

  CHECK(sick.Calls() == 1);
  CHECK(well.Calls() == 1);
}

TEST_CASE("A write that a member refused for want of a leader goes to the next one",
          "[client][failover]") {
  FakeMember sick;
  FakeMember well;
  sick.answer = Unavailable("etcdserver: no leader");
  const auto client = ConnectTo({sick.Endpoint(), well.Endpoint()});

  KEELSON_REQUIRE_OK(client->Put(PutOf("a", "b")));

  CHECK(sick.Calls() == 1);
  CHECK(well.Calls() == 1);
}

TEST_CASE("A write whose answer is lost with the connection was perhaps done, and says so",
          "[client][failover]") {
  FakeMember member;
  member.answer = Unavailable("Socket closed");
  const auto client = ConnectTo({member.Endpoint()});

  const auto put = client->Put(PutOf("a", "b"));

  KEELSON_CHECK_ERROR(put, StatusCode::kUnavailable, "Socket closed; the request was perhaps done");
  CHECK(PerhapsDone(put.status()));
}

TEST_CASE("A transaction of ranges is repeated like a read", "[client][failover]") {
  FakeMember sick;
  FakeMember well;
  sick.answer = Unavailable("etcdserver: leader changed");
  const auto client = ConnectTo({sick.Endpoint(), well.Endpoint()});
  etcdserverpb::TxnRequest request;
  *request.add_success()->mutable_request_range() = RangeOf("a");

  KEELSON_REQUIRE_OK(client->Txn(request));

  CHECK(well.Calls() == 1);
}

TEST_CASE("A write goes to the next member when the first cannot be connected",
          "[client][failover]") {
  FakeMember well;
  const auto client = ConnectTo({DeadEndpoint(), well.Endpoint()});

  KEELSON_REQUIRE_OK(client->Put(PutOf("a", "b")));

  CHECK(well.Calls() == 1);
}

TEST_CASE("An error that is no outage is not repeated", "[client][failover]") {
  FakeMember first;
  FakeMember second;
  first.answer = {grpc::StatusCode::OUT_OF_RANGE,
                  "etcdserver: mvcc: required revision has been compacted"};
  const auto client = ConnectTo({first.Endpoint(), second.Endpoint()});

  KEELSON_CHECK_ERROR(client->Range(RangeOf("a")), StatusCode::kOutOfRange, "compacted");

  CHECK(first.Calls() == 1);
  CHECK(second.Calls() == 0);
}

TEST_CASE("When no member can be connected the error names them and the reason",
          "[client][failover]") {
  const std::string dead = DeadEndpoint();
  ConnectOptions options;
  options.endpoints = {dead};
  options.dial_timeout = absl::Milliseconds(100);
  const auto client = Connect(options);
  KEELSON_REQUIRE_OK(client);

  const auto put = (*client)->Put(PutOf("a", "b"));

  KEELSON_CHECK_ERROR(put, StatusCode::kUnavailable, "cannot connect to " + dead);
  KEELSON_CHECK_ERROR(put, StatusCode::kUnavailable, "Connection refused");
  CHECK_FALSE(PerhapsDone(put.status()));
}

namespace {

// Collects what a watch delivers.
struct Collected {
  absl::Mutex mu;
  std::vector<WatchResponse> responses ABSL_GUARDED_BY(mu);
  absl::Notification ended;
  absl::Status end;

  WatchCallbacks Callbacks() {
    return {.on_response =
                [this](const WatchResponse& response) {
                  absl::MutexLock lock(&mu);
                  responses.push_back(response);
                },
            .on_end =
                [this](const absl::Status& status) {
                  end = status;
                  ended.Notify();
                }};
  }
  // Waits for `count` answers and returns the revisions of all events.
  std::vector<int64_t> Revisions(size_t count) {
    absl::MutexLock lock(&mu);
    const auto enough = [this, count]()
                            ABSL_NO_THREAD_SAFETY_ANALYSIS { return responses.size() >= count; };
    REQUIRE(mu.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(20)));
    std::vector<int64_t> revisions;
    for (const WatchResponse& response : responses) {
      for (const mvccpb::Event& event : response.events()) {
        revisions.push_back(event.kv().mod_revision());
      }
    }
    return revisions;
  }
};

int64_t ReadStart(WatchStream* stream) {
  WatchRequest request;
  REQUIRE(stream->Read(&request));
  return request.create_request().start_revision();
}

void WriteCreated(WatchStream* stream, int64_t revision) {
  WatchResponse response;
  response.set_created(true);
  response.mutable_header()->set_revision(revision);
  stream->Write(response);
}

void WriteEvent(WatchStream* stream, int64_t revision, bool fragment = false) {
  WatchResponse response;
  // The header may be ahead of the events while the server catches up.
  response.mutable_header()->set_revision(revision + 100);
  response.add_events()->mutable_kv()->set_mod_revision(revision);
  response.set_fragment(fragment);
  stream->Write(response);
}

grpc::Status UntilClosed(WatchStream* stream) {
  WatchRequest request;
  while (stream->Read(&request)) {
  }
  return grpc::Status::OK;
}

etcdserverpb::WatchCreateRequest WatchOf(const std::string& key, int64_t start) {
  etcdserverpb::WatchCreateRequest request;
  request.set_key(key);
  request.set_start_revision(start);
  return request;
}

}  // namespace

TEST_CASE("A broken watch goes on behind the last event it delivered", "[client][watch]") {
  FakeMember member;
  std::vector<int64_t> starts;
  member.watch = [&](int number, WatchStream* stream) {
    starts.push_back(ReadStart(stream));
    WriteCreated(stream, 10);
    WriteEvent(stream, number == 0 ? 7 : 8);
    return number == 0 ? Unavailable("going down") : UntilClosed(stream);
  };
  const auto client = ConnectTo({member.Endpoint()});
  Collected collected;
  auto watcher = client->Watch(WatchOf("a", 5), collected.Callbacks());

  CHECK(collected.Revisions(2) == std::vector<int64_t>{7, 8});
  watcher.reset();

  CHECK(starts == std::vector<int64_t>{5, 8});
}

TEST_CASE("A watch of what comes does not skip what came during a reconnect", "[client][watch]") {
  FakeMember member;
  std::vector<int64_t> starts;
  member.watch = [&](int number, WatchStream* stream) {
    starts.push_back(ReadStart(stream));
    WriteCreated(stream, 10 + number);
    if (number == 0) return Unavailable("going down");
    WriteEvent(stream, 11);
    return UntilClosed(stream);
  };
  const auto client = ConnectTo({member.Endpoint()});
  Collected collected;
  auto watcher = client->Watch(WatchOf("a", 0), collected.Callbacks());

  CHECK(collected.Revisions(1) == std::vector<int64_t>{11});
  watcher.reset();

  CHECK(starts == std::vector<int64_t>{0, 11});
}

TEST_CASE("Pieces of one answer arrive joined, and pieces of a broken stream do not count",
          "[client][watch]") {
  FakeMember member;
  member.watch = [&](int number, WatchStream* stream) {
    ReadStart(stream);
    WriteCreated(stream, 1);
    WriteEvent(stream, 5, true);
    if (number == 0) return Unavailable("going down");
    WriteEvent(stream, 5, true);
    WriteEvent(stream, 5, false);
    return UntilClosed(stream);
  };
  const auto client = ConnectTo({member.Endpoint()});
  Collected collected;
  const auto watcher = client->Watch(WatchOf("a", 1), collected.Callbacks());

  CHECK(collected.Revisions(1) == std::vector<int64_t>{5, 5, 5});
}

TEST_CASE("A watch ends with the reason of the server", "[client][watch]") {
  FakeMember member;
  WatchResponse last;
  last.set_canceled(true);
  StatusCode code = StatusCode::kCancelled;
  std::string text;
  int64_t compacted = 0;
  SECTION("compacted away") {
    last.set_compact_revision(9);
    compacted = 9;
    code = StatusCode::kOutOfRange;
    text = "etcdserver: mvcc: required revision has been compacted";
  }
  SECTION("with a text") {
    last.set_cancel_reason("mvcc: watcher range is empty");
    text = "mvcc: watcher range is empty";
  }
  SECTION("without a text") { text = "etcdserver: watch canceled"; }
  member.watch = [&](int /*number*/, WatchStream* stream) {
    ReadStart(stream);
    stream->Write(last);
    return UntilClosed(stream);
  };
  const auto client = ConnectTo({member.Endpoint()});
  Collected collected;
  const auto watcher = client->Watch(WatchOf("a", 1), collected.Callbacks());

  REQUIRE(collected.ended.WaitForNotificationWithTimeout(absl::Seconds(20)));
  KEELSON_CHECK_ERROR(collected.end, code, text);
  CHECK(CompactRevisionOf(collected.end) == compacted);
  CHECK(member.Calls() == 1);
}

TEST_CASE("A watch that was cancelled by its owner tells no end", "[client][watch]") {
  FakeMember member;
  absl::Notification created;
  member.watch = [&](int /*number*/, WatchStream* stream) {
    ReadStart(stream);
    created.Notify();
    return UntilClosed(stream);
  };
  const auto client = ConnectTo({member.Endpoint()});
  Collected collected;
  auto watcher = client->Watch(WatchOf("a", 1), collected.Callbacks());
  created.WaitForNotification();

  watcher.reset();

  CHECK_FALSE(collected.ended.HasBeenNotified());
}

TEST_CASE("A renewal of an unknown lease is NOT_FOUND", "[client][lease]") {
  FakeMember member;
  member.ttl = [](int /*call*/) { return 0; };
  const auto client = ConnectTo({member.Endpoint()});

  KEELSON_CHECK_ERROR(client->LeaseKeepAliveOnce(1), StatusCode::kNotFound,
                      "etcdserver: requested lease not found");
}

TEST_CASE("A kept lease is renewed until the server no longer knows it", "[client][lease]") {
  FakeMember member;
  member.ttl = [](int call) { return call < 2 ? 1 : 0; };
  const auto client = ConnectTo({member.Endpoint()});
  std::vector<int64_t> ttls;
  absl::Notification lost;
  absl::Status reason;
  const auto keep_alive = client->KeepLeaseAlive(
      7, absl::Seconds(1),
      {.on_renewed = [&](const auto& response) { ttls.push_back(response.ttl()); },
       .on_lost =
           [&](const absl::Status& status) {
             reason = status;
             lost.Notify();
           }});

  REQUIRE(lost.WaitForNotificationWithTimeout(absl::Seconds(20)));
  CHECK(ttls == std::vector<int64_t>{1, 1});
  KEELSON_CHECK_ERROR(reason, StatusCode::kNotFound, "lease not found");
}

TEST_CASE("A lease that cannot be renewed for its whole TTL is lost", "[client][lease]") {
  ConnectOptions options;
  options.endpoints = {DeadEndpoint()};
  options.dial_timeout = absl::Milliseconds(50);
  const auto client = Connect(options);
  KEELSON_REQUIRE_OK(client);
  absl::Notification lost;
  absl::Status reason;
  const auto keep_alive = (*client)->KeepLeaseAlive(
      7, absl::Milliseconds(300), {.on_renewed = nullptr, .on_lost = [&](const absl::Status& s) {
                                     reason = s;
                                     lost.Notify();
                                   }});

  REQUIRE(lost.WaitForNotificationWithTimeout(absl::Seconds(20)));
  KEELSON_CHECK_ERROR(reason, StatusCode::kUnavailable, "cannot connect");
}

TEST_CASE("Endpoints are read with and without a scheme", "[client][endpoint]") {
  struct Row {
    std::string endpoint, address;
    bool tls_by_default, tls;
  };
  const auto row = GENERATE(values<Row>({
      {"127.0.0.1:2379", "127.0.0.1:2379", false, false},
      {"127.0.0.1:2379", "127.0.0.1:2379", true, true},
      {"http://h:1", "h:1", true, false},
      {"https://h.example:65535/", "h.example:65535", false, true},
      {"[::1]:2379", "[::1]:2379", false, false},
      {"unix:///run/kv.sock", "unix:/run/kv.sock", false, false},
  }));
  const auto target = client_internal::ParseEndpoint(row.endpoint, row.tls_by_default);
  INFO(row.endpoint);
  KEELSON_REQUIRE_OK(target);
  CHECK(target->address == row.address);
  CHECK(target->tls == row.tls);
}

TEST_CASE("A malformed endpoint is refused and named", "[client][endpoint]") {
  const std::string endpoint =
      GENERATE("", "host", "host:", ":2379", "host:port", "host:123456", "ftp://host:1",
               "http://host:1/path", "http://", "unix://", "host:1/x");
  const absl::Status status = client_internal::ParseEndpoint(endpoint, false).status();
  KEELSON_CHECK_ERROR(status, StatusCode::kInvalidArgument, "'" + endpoint + "'");
}

TEST_CASE("Connect refuses what cannot work", "[client][endpoint]") {
  ConnectOptions options;
  SECTION("no endpoint") {
    options.endpoints.clear();
    KEELSON_CHECK_ERROR(Connect(options), StatusCode::kInvalidArgument, "no available endpoints");
  }
  SECTION("half a key pair") {
    options.tls.cert_file = "cert.pem";
    KEELSON_CHECK_ERROR(Connect(options), StatusCode::kInvalidArgument, "cert.pem");
  }
  SECTION("authorities that are not there") {
    options.tls.ca_file = "/nonexistent/ca.pem";
    KEELSON_CHECK_ERROR(Connect(options), StatusCode::kNotFound, "'/nonexistent/ca.pem'");
  }
}

TEST_CASE("The end of a prefix is the first key behind all that begin with it", "[client][range]") {
  const std::string all(1, '\0');
  CHECK(PrefixEnd("a") == "b");
  CHECK(PrefixEnd("a/") == "a0");
  CHECK(PrefixEnd("a\xff") == "b");
  CHECK(PrefixEnd("\xff\xff") == all);
  CHECK(PrefixEnd("") == all);
  CHECK(RangeOfPrefix("").key() == all);
  CHECK(DeleteOfPrefix("x").range_end() == "y");
}

}  // namespace keelson::kvstore
