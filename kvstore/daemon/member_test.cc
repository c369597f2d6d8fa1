// Whole members in this process, on loopback ports that the system chooses.
#include "kvstore/daemon/member.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "base/http/client.h"
#include "base/net/address.h"
#include "base/rpc/reflection.pb.h"
#include "base/testing/status_matchers.h"
#include "kvstore/api/services.grpc.pb.h"
#include "kvstore/auth/rights.h"

using namespace keelson;
using namespace keelson::kvstore;
using etcdserverpb::KV;
using etcdserverpb::Lease;
using etcdserverpb::LeaseGrantRequest;
using etcdserverpb::LeaseGrantResponse;
using etcdserverpb::LeaseKeepAliveRequest;
using etcdserverpb::LeaseKeepAliveResponse;
using etcdserverpb::LeaseRevokeRequest;
using etcdserverpb::LeaseRevokeResponse;
using etcdserverpb::PutRequest;
using etcdserverpb::PutResponse;
using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::Watch;
using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;

namespace {

using Words = std::vector<std::string>;
constexpr absl::Duration kPatience = absl::Seconds(60);

// A folder of its own for each test.
class Scratch {
 public:
  Scratch() {
    const char* root = std::getenv("TEST_TMPDIR");
    std::string pattern = std::string(root == nullptr ? "/tmp" : root) + "/member-XXXXXX";
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Scratch() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::string data_dir() const { return path_ + "/data"; }

 private:
  std::string path_;
};

Options OptionsOf(const Scratch& scratch, Words more = {}) {
  Words arguments = {"--name=m", "--data-dir=" + scratch.data_dir(),
                     "--listen-client-urls=http://127.0.0.1:0",
                     "--listen-peer-urls=http://127.0.0.1:0",
                     // Nobody connects to these.
                     "--advertise-client-urls=http://127.0.0.1:1",
                     "--initial-advertise-peer-urls=http://127.0.0.1:2", "--heartbeat-interval=20",
                     "--election-timeout=200"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const auto line = ParseCommandLine(arguments, Words{});
  KEELSON_REQUIRE_OK(line.status());
  return line->options;
}

// A cluster of three whose other members do not run: it never has a leader.
Words Lonely() {
  return {"--initial-cluster=m=http://127.0.0.1:2,x=http://127.0.0.1:3,y=http://127.0.0.1:4"};
}

struct Running {
  explicit Running(const Options& options) {
    absl::Notification ready;
    auto started = Member::Start(
        options, {.on_ready = [&ready] { ready.Notify(); },
                  .on_fatal = [](const absl::Status& status) { FAIL(status.ToString()); }});
    KEELSON_REQUIRE_OK(started.status());
    member = *std::move(started);
    address = member->client_addresses().front();
    channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
    kv = KV::NewStub(channel);
    if (options.initial_cluster.size() == 1) {
      REQUIRE(ready.WaitForNotificationWithTimeout(kPatience));
    }
  }

  http::Response Get(const std::string& path) const {
    auto client = http::Client::Create({});
    KEELSON_REQUIRE_OK(client.status());
    auto response = (*client)->FetchBlocking({.url = "http://" + address + path});
    KEELSON_REQUIRE_OK(response.status());
    return *std::move(response);
  }
  int64_t Put(const std::string& key, const std::string& value) const {
    grpc::ClientContext context;
    PutRequest request;
    request.set_key(key);
    request.set_value(value);
    PutResponse response;
    const grpc::Status status = kv->Put(&context, request, &response);
    INFO(status.error_message());
    REQUIRE(status.ok());
    return response.header().revision();
  }
  std::string Read(const std::string& key) const {
    grpc::ClientContext context;
    RangeRequest request;
    request.set_key(key);
    RangeResponse response;
    const grpc::Status status = kv->Range(&context, request, &response);
    INFO(status.error_message());
    REQUIRE(status.ok());
    return response.kvs_size() == 0 ? "" : response.kvs(0).value();
  }
  uint64_t Term() {
    etcdserverpb::RangeRequest request;
    request.set_key("x");
    etcdserverpb::RangeResponse response;
    grpc::ClientContext context;
    REQUIRE(kv->Range(&context, request, &response).ok());
    return response.header().raft_term();
  }

  std::unique_ptr<Member> member;
  std::string address;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<KV::Stub> kv;
};

}  // namespace

TEST_CASE("A single member serves reads and writes and keeps them over a restart",
          "[kvstore][member]") {
  Scratch scratch;
  const Options options = OptionsOf(scratch);
  {
    Running running(options);
    CHECK(running.Put("a", "1") == 2);
    CHECK(running.Read("a") == "1");
    CHECK(running.Term() == 1);  // One election is enough.
    running.member->Stop();
  }
  Running again(options);
  CHECK(again.Read("a") == "1");
  CHECK(again.Term() == 2);
  CHECK(again.Put("a", "2") == 3);
}

TEST_CASE("HTTP and gRPC share the client port", "[kvstore][member]") {
  Scratch scratch;
  Running running(OptionsOf(scratch));
  CHECK(running.Get("/health").status == 200);
  CHECK(running.Get("/health").body == R"({"health":"true","reason":""})");
  CHECK(running.Get("/version").body ==
        R"({"etcdserver":"3.6.0","etcdcluster":"3.6.0","storage":"3.6.0"})");
  CHECK(running.Get("/debug/vars").body.starts_with(R"({"raft.status":{"id":")"));
  CHECK(running.Get("/livez").body == "ok\n");
  CHECK(running.Get("/readyz/linearizable_read?verbose").body == "[+]linearizable_read ok\nok\n");
  CHECK(running.Get("/nowhere").status == 404);
  (void)running.Put("a", "1");
  const std::string metrics = running.Get("/metrics").body;
  CHECK(metrics.find("\netcd_server_has_leader 1\n") != std::string::npos);
  CHECK(metrics.find("\netcd_mvcc_put_total 1\n") != std::string::npos);
  CHECK(metrics.find("\netcd_debugging_mvcc_keys_total 1\n") != std::string::npos);
  CHECK(metrics.find("\netcd_server_client_requests_total{client_api_version=\"unknown\","
                     "type=\"unary\"} 1\n") != std::string::npos);
  CHECK(metrics.find("grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\","
                     "grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1") !=
        std::string::npos);
  for (const char* answer : {"transfer", "step_down"}) {
    CHECK(metrics.find(absl::StrCat("\nraft_disk_stalls_total{answer=\"", answer, "\"} 0\n")) !=
          std::string::npos);
  }
}

TEST_CASE("A watch over gRPC sees changes, is cancelled, and ends with the client's side",
          "[kvstore][member]") {
  Scratch scratch;
  Running running(OptionsOf(scratch));
  (void)running.Put("a", "0");
  const auto stub = Watch::NewStub(running.channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoSeconds(kPatience));
  const auto stream = stub->Watch(&context);
  WatchRequest request;
  request.mutable_create_request()->set_key("a");
  request.mutable_create_request()->set_start_revision(2);
  REQUIRE(stream->Write(request));
  WatchResponse response;
  REQUIRE(stream->Read(&response));
  CHECK(response.created());
  REQUIRE(stream->Read(&response));
  CHECK(response.events(0).kv().value() == "0");

  (void)running.Put("a", std::string(100000, 'x'));
  REQUIRE(stream->Read(&response));
  CHECK(response.events(0).kv().value().size() == 100000);

  request.mutable_cancel_request()->set_watch_id(0);
  REQUIRE(stream->Write(request));
  REQUIRE(stream->Read(&response));
  CHECK(response.canceled());
  REQUIRE(stream->WritesDone());
  CHECK_FALSE(stream->Read(&response));
  CHECK(stream->Finish().ok());
}

TEST_CASE("A range that is larger than a message comes as a stream", "[kvstore][member]") {
  Scratch scratch;
  Running running(OptionsOf(scratch));
  constexpr int kKeys = 60;
  for (int i = 0; i < kKeys; ++i) (void)running.Put(absl::StrCat("k", i), std::string(100000, 'x'));
  RangeRequest request;
  request.set_key("k");
  request.set_range_end("l");
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoSeconds(kPatience));
  const auto stream = running.kv->RangeStream(&context, request);
  etcdserverpb::RangeStreamResponse piece;
  etcdserverpb::RangeStreamResponse merged;
  int pieces = 0;
  while (stream->Read(&piece)) {
    ++pieces;
    merged.MergeFrom(piece);
  }
  const grpc::Status status = stream->Finish();
  INFO(status.error_message());
  REQUIRE(status.ok());
  CHECK(pieces == kKeys / 3);  // 256 KiB each
  CHECK(merged.range_response().kvs_size() == kKeys);
  CHECK(merged.range_response().count() == kKeys);
  CHECK(merged.range_response().header().revision() == kKeys + 1);

  grpc::ClientContext refused;
  request.set_sort_order(RangeRequest::DESCEND);
  CHECK(running.kv->RangeStream(&refused, request)->Finish().error_code() ==
        grpc::StatusCode::UNIMPLEMENTED);
}

TEST_CASE("A lease over gRPC is kept alive and answers TTL 0 once revoked", "[kvstore][member]") {
  Scratch scratch;
  Running running(OptionsOf(scratch));
  const auto stub = Lease::NewStub(running.channel);
  LeaseGrantRequest grant;
  grant.set_ttl(60);
  LeaseGrantResponse granted;
  grpc::ClientContext grant_context;
  REQUIRE(stub->LeaseGrant(&grant_context, grant, &granted).ok());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoSeconds(kPatience));
  const auto stream = stub->LeaseKeepAlive(&context);
  LeaseKeepAliveRequest keep;
  keep.set_id(granted.id());
  LeaseKeepAliveResponse kept;
  REQUIRE(stream->Write(keep));
  REQUIRE(stream->Read(&kept));
  CHECK(kept.ttl() == 60);

  LeaseRevokeRequest revoke;
  revoke.set_id(granted.id());
  LeaseRevokeResponse revoked;
  grpc::ClientContext revoke_context;
  REQUIRE(stub->LeaseRevoke(&revoke_context, revoke, &revoked).ok());
  REQUIRE(stream->Write(keep));
  REQUIRE(stream->Read(&kept));
  CHECK(kept.ttl() == 0);
  REQUIRE(stream->WritesDone());
  CHECK(stream->Finish().ok());
}

TEST_CASE("Requests above the limits are refused by us, then by gRPC", "[kvstore][member]") {
  Scratch scratch;
  Running running(OptionsOf(scratch, {"--max-request-bytes=1000"}));
  const auto put = [&](size_t bytes) {
    grpc::ClientContext context;
    PutRequest request;
    request.set_key("a");
    request.set_value(std::string(bytes, 'x'));
    PutResponse response;
    return running.kv->Put(&context, request, &response);
  };
  CHECK(put(500).ok());
  CHECK(put(1000).error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(put(1000).error_message() == "etcdserver: request is too large");
  CHECK(put(600 << 10).error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_CASE("A user above its rate is refused, and told so", "[kvstore][member]") {
  Scratch scratch;
  Running running(OptionsOf(scratch, {"--user-requests-per-second=1"}));
  RangeRequest request;
  request.set_key("a");
  grpc::Status refused;
  for (int n = 0; n < 100 && refused.ok(); ++n) {
    grpc::ClientContext context;
    RangeResponse response;
    refused = running.kv->Range(&context, request, &response);
  }
  CHECK(refused.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(refused.error_message() ==
        "etcdserver: too many requests: '127.0.0.1' may make 1 a second");
  // Health and metrics are no user's.
  CHECK(running.Get("/health").status == 200);
}

TEST_CASE("Statistics tell of the member and its leader", "[kvstore][member]") {
  Scratch scratch;
  Running running(OptionsOf(scratch));
  const std::string self = running.Get("/v2/stats/self").body;
  CHECK(self.starts_with("{\"name\":\"m\",\"id\":\""));
  CHECK(self.find("\"state\":\"StateLeader\"") != std::string::npos);
  CHECK(running.Get("/v2/stats/leader").body.find("\"followers\":{}}") != std::string::npos);

  Scratch other;
  Running lonely(OptionsOf(other, Lonely()));
  const http::Response refused = lonely.Get("/v2/stats/leader");
  CHECK(refused.status == 403);
  CHECK(refused.body == "{\"message\":\"not current leader\"}");
  CHECK(lonely.Get("/v2/stats/self").body.find("\"leaderInfo\":{\"leader\":\"\"") !=
        std::string::npos);
}

TEST_CASE("What is not there yet is unimplemented", "[kvstore][member]") {
  Scratch scratch;
  Running running(OptionsOf(scratch));
  grpc::ClientContext context;
  PutRequest request;
  PutResponse response;
  grpc::Status status;
  absl::Notification answered;
  grpc::TemplatedGenericStub<PutRequest, PutResponse> stub(running.channel);
  stub.UnaryCall(&context, "/etcdserverpb.Cluster/MemberRename", {}, &request, &response,
                 [&](grpc::Status answer) {
                   status = std::move(answer);
                   answered.Notify();
                 });
  answered.WaitForNotification();
  CHECK(status.error_code() == grpc::StatusCode::UNIMPLEMENTED);
}

TEST_CASE("Reflection tells of every method that is served, if it is wanted", "[kvstore][member]") {
  Scratch scratch;
  const bool wanted = GENERATE(false, true);
  Running running(OptionsOf(scratch, {absl::StrCat("--enable-grpc-reflection=", wanted)}));
  grpc::GenericStub stub(running.channel);
  const auto ask = [&](const grpc::reflection::v1::ServerReflectionRequest& request,
                       grpc::reflection::v1::ServerReflectionResponse* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoSeconds(kPatience));
    grpc::CompletionQueue queue;
    const auto call = stub.PrepareCall(
        &context, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &queue);
    void* tag = nullptr;
    bool ok = false;
    const auto wait = [&] { return queue.Next(&tag, &ok) && ok; };
    call->StartCall(nullptr);
    if (!wait()) return false;
    const std::string bytes = request.SerializeAsString();
    const grpc::Slice slice(bytes);
    call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    if (!wait()) return false;
    grpc::ByteBuffer answer;
    call->Read(&answer, nullptr);
    if (!wait()) return false;
    std::vector<grpc::Slice> slices;
    REQUIRE(answer.Dump(&slices).ok());
    std::string joined;
    for (const grpc::Slice& each : slices) joined.append(each.begin(), each.end());
    REQUIRE(response->ParseFromString(joined));
    context.TryCancel();
    queue.Shutdown();
    while (queue.Next(&tag, &ok)) {
    }
    return true;
  };
  grpc::reflection::v1::ServerReflectionRequest request;
  grpc::reflection::v1::ServerReflectionResponse response;
  request.set_list_services("*");
  REQUIRE(ask(request, &response) == wanted);
  if (!wanted) return;
  std::set<std::string> services;
  for (const auto& service : response.list_services_response().service()) {
    services.insert(service.name());
    request.set_file_containing_symbol(service.name());
    grpc::reflection::v1::ServerReflectionResponse file;
    REQUIRE(ask(request, &file));
    CAPTURE(service.name());
    CHECK(file.file_descriptor_response().file_descriptor_proto_size() > 0);
  }
  CHECK(services.size() == 9);
  for (const auth::Rule& rule : auth::Rules()) {
    request.set_file_containing_symbol(std::string(rule.service) + "." + std::string(rule.method));
    CAPTURE(request.file_containing_symbol());
    grpc::reflection::v1::ServerReflectionResponse file;
    REQUIRE(ask(request, &file));
    CHECK(file.file_descriptor_response().file_descriptor_proto_size() > 0);
  }
}

TEST_CASE("Without a leader a member says so and answers what it can", "[kvstore][member]") {
  Scratch scratch;
  Running running(OptionsOf(scratch, Lonely()));
  CHECK(running.Get("/health").status == 503);
  CHECK(running.Get("/health").body == R"({"health":"false","reason":"RAFT NO LEADER"})");
  CHECK(running.Get("/health?serializable=true").status == 200);
  CHECK(running.Get("/livez").status == 200);

  RangeRequest request;
  request.set_key("a");
  request.set_serializable(true);
  RangeResponse response;
  grpc::ClientContext plain;
  CHECK(running.kv->Range(&plain, request, &response).ok());
  grpc::ClientContext wants_leader;
  wants_leader.AddMetadata("hasleader", "true");
  const grpc::Status status = running.kv->Range(&wants_leader, request, &response);
  CHECK(status.error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(status.error_message() == "etcdserver: no leader");

  grpc::ClientContext watch_context;
  watch_context.AddMetadata("hasleader", "true");
  const auto stream = Watch::NewStub(running.channel)->Watch(&watch_context);
  WatchResponse none;
  CHECK_FALSE(stream->Read(&none));
  CHECK(stream->Finish().error_message() == "etcdserver: no leader");
}

TEST_CASE("A member stops though calls and watches are open", "[kvstore][member]") {
  Scratch scratch;
  Running running(OptionsOf(scratch, Lonely()));
  grpc::ClientContext watch_context;
  const auto stream = Watch::NewStub(running.channel)->Watch(&watch_context);
  WatchRequest request;
  request.mutable_create_request()->set_key("a");
  REQUIRE(stream->Write(request));
  WatchResponse response;
  REQUIRE(stream->Read(&response));

  grpc::ClientContext put_context;
  PutRequest put;
  put.set_key("a");
  PutResponse put_response;
  grpc::Status put_status;
  absl::Notification answered;
  running.kv->async()->Put(&put_context, &put, &put_response, [&](grpc::Status status) {
    put_status = std::move(status);
    answered.Notify();
  });

  running.member->Stop();

  answered.WaitForNotification();
  CHECK_FALSE(put_status.ok());
  CHECK_FALSE(stream->Read(&response));
  CHECK_FALSE(stream->Finish().ok());
}

TEST_CASE("A member that cannot start says why and leaves things alone", "[kvstore][member]") {
  Scratch scratch;
  const auto start = [](const Options& options) {
    return Member::Start(options, {.on_ready = [] {}, .on_fatal = [](const absl::Status&) {}})
        .status();
  };
  SECTION("a port in use") {
    KEELSON_ASSIGN_OR_FAIL(const net::Listener taken, net::Listen("127.0.0.1:0"));
    const std::string url = "http://" + taken.address;
    KEELSON_CHECK_ERROR(start(OptionsOf(scratch, {"--listen-client-urls=" + url})),
                        absl::StatusCode::kAlreadyExists, taken.address);
    KEELSON_CHECK_ERROR(start(OptionsOf(scratch, {"--listen-peer-urls=" + url})),
                        absl::StatusCode::kAlreadyExists, taken.address);
    CHECK_FALSE(std::filesystem::exists(scratch.data_dir()));
  }
  SECTION("the only member of a cluster that is said to exist") {
    KEELSON_CHECK_ERROR(start(OptionsOf(scratch, {"--initial-cluster-state=existing"})),
                        absl::StatusCode::kFailedPrecondition, "names no other member");
    CHECK_FALSE(std::filesystem::exists(scratch.data_dir() + "/member"));
  }
  SECTION("the data of another cluster") {
    { Running running(OptionsOf(scratch)); }
    // As an earlier version left it: the flags must name the cluster that the log is of.
    std::filesystem::remove(scratch.data_dir() + "/member/identity");
    KEELSON_CHECK_ERROR(start(OptionsOf(scratch, {"--initial-cluster-token=other"})),
                        absl::StatusCode::kFailedPrecondition, "cluster");
    { Running again(OptionsOf(scratch, {"--initial-cluster-state=existing"})); }
    // From then on it knows by itself.
    Running again(OptionsOf(scratch, {"--initial-cluster-token=other"}));
    CHECK(again.Put("a", "1") >= 2);
  }
  SECTION("a database without its log") {
    { Running running(OptionsOf(scratch)); }
    std::filesystem::remove_all(scratch.data_dir() + "/member/wal");
    KEELSON_CHECK_ERROR(start(OptionsOf(scratch)), absl::StatusCode::kFailedPrecondition,
                        "is --wal-dir right?");
  }
  SECTION("a data directory in use") {
    Running running(OptionsOf(scratch));
    KEELSON_CHECK_ERROR(start(OptionsOf(scratch)), absl::StatusCode::kFailedPrecondition, "lock");
  }
  SECTION("a certificate that is not there") {
    KEELSON_CHECK_ERROR(start(OptionsOf(scratch, {"--cert-file=/none", "--key-file=/none"})),
                        absl::StatusCode::kNotFound, "/none");
  }
}

TEST_CASE("Metrics have a port of their own when asked for", "[kvstore][member]") {
  Scratch scratch;
  KEELSON_ASSIGN_OR_FAIL(net::Listener chosen, net::Listen("127.0.0.1:0"));
  const std::string address = chosen.address;
  chosen.fd.Reset();
  Running running(OptionsOf(scratch, {"--listen-metrics-urls=http://" + address}));
  running.address = address;
  CHECK(running.Get("/metrics").status == 200);
  CHECK(running.Get("/health").status == 200);
}
