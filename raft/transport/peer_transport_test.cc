#include "raft/transport/peer_transport.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/event_loop.h"
#include "base/rpc/listener.h"
#include "base/rpc/server.h"
#include "base/testing/certificates.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/snapshot_store.h"
#include "raft/transport/codec.h"
#include "raft/transport/raft.grpc.pb.h"

namespace keelson::raft {
namespace {

// Waits are bounded only so that a defect ends the test; nothing depends on their length.
constexpr absl::Duration kLong = absl::Seconds(60);

class TestSink final : public MessageSink {
 public:
  void Receive(std::vector<Message> messages) override {
    if (on_receive) on_receive(messages);
    absl::MutexLock lock(&mu_);
    for (Message& message : messages) messages_.push_back(std::move(message));
  }
  void ReportUnreachable(NodeId peer) override {
    absl::MutexLock lock(&mu_);
    unreachable_.push_back(peer);
  }
  void ReportSnapshot(NodeId peer, bool ok) override {
    absl::MutexLock lock(&mu_);
    snapshots_.emplace_back(peer, ok);
  }

  // True once there are so many.
  bool WaitForMessages(size_t count, absl::Duration timeout = kLong) {
    absl::MutexLock lock(&mu_);
    const auto enough = [&] { return messages_.size() >= count; };
    return mu_.AwaitWithTimeout(absl::Condition(&enough), timeout);
  }
  bool WaitForUnreachable() {
    absl::MutexLock lock(&mu_);
    const auto some = [&] { return !unreachable_.empty(); };
    return mu_.AwaitWithTimeout(absl::Condition(&some), kLong);
  }
  bool WaitForSnapshots(size_t count) {
    absl::MutexLock lock(&mu_);
    const auto enough = [&] { return snapshots_.size() >= count; };
    return mu_.AwaitWithTimeout(absl::Condition(&enough), kLong);
  }

  std::vector<Message> messages() {
    absl::MutexLock lock(&mu_);
    return messages_;
  }
  std::vector<NodeId> unreachable() {
    absl::MutexLock lock(&mu_);
    return unreachable_;
  }
  std::vector<std::pair<NodeId, bool>> snapshots() {
    absl::MutexLock lock(&mu_);
    return snapshots_;
  }

  // Set before Start. Runs on the transport's thread before the messages count as received.
  std::function<void(const std::vector<Message>&)> on_receive;

 private:
  absl::Mutex mu_;
  std::vector<Message> messages_;
  std::vector<NodeId> unreachable_;
  std::vector<std::pair<NodeId, bool>> snapshots_;
};

// Remembers troubles.
class Troubles {
 public:
  std::function<void(NodeId, const absl::Status&)> Recorder() {
    return [this](NodeId peer, const absl::Status& status) {
      absl::MutexLock lock(&mu_);
      texts_.push_back(absl::StrCat(peer, ": ", status.ToString()));
    };
  }
  bool WaitFor(const std::string& text) {
    absl::MutexLock lock(&mu_);
    const auto found = [&] { return Count(text) > 0; };
    return mu_.AwaitWithTimeout(absl::Condition(&found), kLong);
  }
  size_t CountOf(const std::string& text) {
    absl::MutexLock lock(&mu_);
    return Count(text);
  }
  std::string All() {
    absl::MutexLock lock(&mu_);
    std::string all;
    for (const std::string& text : texts_) all += text + "\n";
    return all;
  }

 private:
  size_t Count(const std::string& text) const {
    size_t n = 0;
    for (const std::string& each : texts_) n += each.find(text) != std::string::npos ? 1 : 0;
    return n;
  }

  absl::Mutex mu_;
  std::vector<std::string> texts_;
};

PeerTransport::Options MakeOptions(NodeId self) {
  PeerTransport::Options options;
  options.self = self;
  options.cluster_id = 0xc1;
  options.listen_address = "127.0.0.1:0";
  return options;
}

// A transport with its sink.
struct Member {
  explicit Member(PeerTransport::Options options) {
    options.on_trouble = troubles.Recorder();
    KEELSON_ASSIGN_OR_FAIL(transport, PeerTransport::Create(std::move(options)));
  }
  ~Member() {
    if (transport != nullptr) transport->Stop();
  }
  void Start() { KEELSON_REQUIRE_OK(transport->Start(sink)); }
  [[nodiscard]] std::string address() const {
    return absl::StrCat("127.0.0.1:", transport->port());
  }
  PeerTransport::PeerStats StatsOf(NodeId peer) {
    for (const auto& stats : transport->GetStats()) {
      if (stats.id == peer) return stats;
    }
    return {};
  }

  TestSink sink;
  Troubles troubles;
  std::unique_ptr<PeerTransport> transport;
};

Message MakeMessage(MessageType type, NodeId from, NodeId to, Index index = 0) {
  Message message;
  message.type = type;
  message.from = from;
  message.to = to;
  message.term = 5;
  message.index = index;
  return message;
}

// An App with one entry of `bytes` bytes.
Message MakeApp(NodeId from, NodeId to, Index index, size_t bytes) {
  Message message = MakeMessage(MessageType::kApp, from, to, index);
  message.entries.push_back(
      {.term = 5, .index = index + 1, .data = Payload(std::string(bytes, 'e'))});
  return message;
}

void SendOne(Member& from, Message message) {
  std::vector<Message> messages;
  messages.push_back(std::move(message));
  from.transport->Send(std::move(messages));
}

// Two started members that know each other: 1 and 2.
struct Pair {
  explicit Pair(const std::function<void(PeerTransport::Options&)>& change = nullptr)
      : a(Changed(1, change)), b(Changed(2, change)) {}

  void Start() {
    a.Start();
    b.Start();
    a.transport->AddPeer(2, b.address());
    b.transport->AddPeer(1, a.address());
  }
  static PeerTransport::Options Changed(
      NodeId self, const std::function<void(PeerTransport::Options&)>& change) {
    PeerTransport::Options options = MakeOptions(self);
    if (change) change(options);
    return options;
  }

  Member a;
  Member b;
};

TEST_CASE("Messages of every kind arrive whole, in both directions", "[raft][transport]") {
  Pair pair;
  pair.Start();
  std::vector<Message> sent = {MakeApp(1, 2, 7, 10000), MakeMessage(MessageType::kHeartbeat, 1, 2),
                               MakeMessage(MessageType::kVote, 1, 2, 9)};
  sent[1].context = "ctx";
  for (const Message& message : sent) SendOne(pair.a, message);
  SendOne(pair.b, MakeMessage(MessageType::kAppResp, 2, 1, 8));

  REQUIRE(pair.b.sink.WaitForMessages(3));
  REQUIRE(pair.a.sink.WaitForMessages(1));
  std::vector<Message> got = pair.b.sink.messages();
  for (const Message& message : sent) {
    CHECK(std::find(got.begin(), got.end(), message) != got.end());
  }
  CHECK(pair.a.sink.messages()[0] == MakeMessage(MessageType::kAppResp, 2, 1, 8));
  const auto out = pair.a.StatsOf(2);
  const auto in = pair.b.StatsOf(1);
  CHECK(out.sent_messages == 3);
  CHECK(in.received_messages == 3);
  CHECK(out.sent_bytes == in.received_bytes);
  CHECK(out.sent_bytes > 10000);
}

TEST_CASE("Appends arrive in the order sent, in far fewer batches", "[raft][transport]") {
  Pair pair;
  pair.Start();
  constexpr Index kCount = 3000;
  for (Index index = 1; index <= kCount; index += 10) {
    std::vector<Message> messages;
    for (Index i = index; i < index + 10; ++i) {
      // Without entries, too: those must not overtake.
      messages.push_back(i % 3 == 0 ? MakeMessage(MessageType::kApp, 1, 2, i)
                                    : MakeApp(1, 2, i, 50));
    }
    pair.a.transport->Send(std::move(messages));
  }
  REQUIRE(pair.b.sink.WaitForMessages(kCount));

  const std::vector<Message> got = pair.b.sink.messages();
  bool in_order = true;
  for (Index i = 0; i < kCount; ++i) in_order &= got[i].index == i + 1;
  CHECK(in_order);
  CHECK(pair.a.StatsOf(2).sent_batches <= kCount / 10);
}

TEST_CASE("A peer that restarts on its port is found again", "[raft][transport][reconnect]") {
  Member a(MakeOptions(1));
  a.Start();
  auto b = std::make_unique<Member>(MakeOptions(2));
  b->Start();
  const std::string address = b->address();
  a.transport->AddPeer(2, address);
  SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, 2));
  REQUIRE(b->sink.WaitForMessages(1));

  b.reset();
  REQUIRE(a.sink.WaitForUnreachable());
  PeerTransport::Options options = MakeOptions(2);
  options.listen_address = address;
  Member again(options);
  again.Start();

  // As Raft does: again and again.
  const auto both_lanes = [&] {
    bool urgent = false;
    bool bulk = false;
    for (const Message& message : again.sink.messages()) {
      (message.type == MessageType::kApp ? bulk : urgent) = true;
    }
    return urgent && bulk && a.StatsOf(2).connected;
  };
  for (int i = 0; i < 1000 && !both_lanes(); ++i) {
    SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, 2));
    SendOne(a, MakeApp(1, 2, 1, 10));
    (void)a.sink.WaitForMessages(1, absl::Milliseconds(20));  // passes the time
  }
  CHECK(both_lanes());
}

TEST_CASE("What does not fit the queue is dropped and reported", "[raft][transport][queue]") {
  Pair pair([](PeerTransport::Options& options) { options.max_queued_messages = 4; });
  pair.Start();
  std::vector<Message> messages;
  for (Index index = 1; index <= 10; ++index) messages.push_back(MakeApp(1, 2, index, 10));
  pair.a.transport->Send(std::move(messages));

  REQUIRE(pair.b.sink.WaitForMessages(4));
  CHECK(pair.a.StatsOf(2).dropped_messages == 6);
  CHECK(pair.a.sink.unreachable() == std::vector<NodeId>{2});  // once for each call
  CHECK(pair.b.sink.messages().back().index == 4);
}

TEST_CASE("The queue is bounded in bytes, too, but one message always fits",
          "[raft][transport][queue]") {
  Pair pair([](PeerTransport::Options& options) { options.max_queued_bytes = 1000; });
  pair.Start();
  std::vector<Message> messages;
  for (Index index = 1; index <= 3; ++index) messages.push_back(MakeApp(1, 2, index, 5000));
  pair.a.transport->Send(std::move(messages));

  REQUIRE(pair.b.sink.WaitForMessages(1));
  CHECK(pair.a.StatsOf(2).dropped_messages == 2);
}

TEST_CASE("Nobody there: reported as unreachable, and said once", "[raft][transport]") {
  // A port that was free a moment ago.
  std::string address;
  {
    Member other(MakeOptions(2));
    other.Start();
    address = other.address();
  }
  Member a(MakeOptions(1));
  a.Start();
  a.transport->AddPeer(2, address);
  for (int i = 0; i < 50 && a.sink.unreachable().size() < 3; ++i) {
    SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, 2));
    (void)a.sink.WaitForMessages(1, absl::Milliseconds(20));  // passes the time
  }
  REQUIRE(a.sink.WaitForUnreachable());
  CHECK(a.troubles.WaitFor("stream to node 2"));
  INFO(a.troubles.All());
  CHECK(a.troubles.CountOf("stream to node 2") <= 8);
  CHECK(!a.StatsOf(2).connected);
}

TEST_CASE("A message to a stranger is unreachable at once", "[raft][transport]") {
  Member a(MakeOptions(1));
  a.Start();
  SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, 9));
  CHECK(a.sink.unreachable() == std::vector<NodeId>{9});
  SendOne(a, MakeMessage(MessageType::kSnap, 1, 9));
  CHECK(a.sink.snapshots() == std::vector<std::pair<NodeId, bool>>{{9, false}});
}

TEST_CASE("A removed peer gets nothing more", "[raft][transport]") {
  Pair pair;
  pair.Start();
  SendOne(pair.a, MakeMessage(MessageType::kHeartbeat, 1, 2));
  REQUIRE(pair.b.sink.WaitForMessages(1));
  pair.a.transport->RemovePeer(2);
  pair.a.transport->RemovePeer(3);  // unknown
  SendOne(pair.a, MakeMessage(MessageType::kHeartbeat, 1, 2));
  CHECK(pair.a.sink.unreachable() == std::vector<NodeId>{2});
}

TEST_CASE("A call of another cluster or for another node is refused, and both sides say why",
          "[raft][transport][identity]") {
  struct Row {
    std::string name;
    uint64_t cluster;
    NodeId called_as;
    std::string text;
  };
  const auto row = GENERATE(values<Row>(
      {{"cluster", 0xc2, 2, "node 2 of cluster c1 was called as node 2 of cluster c2 by node 1"},
       {"node", 0xc1, 3, "node 2 of cluster c1 was called as node 3 of cluster c1 by node 1"}}));
  DYNAMIC_SECTION(row.name) {
    PeerTransport::Options options = MakeOptions(1);
    options.cluster_id = row.cluster;
    Member a(options);
    a.Start();
    Member b(MakeOptions(2));
    b.Start();
    a.transport->AddPeer(row.called_as, b.address());
    SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, row.called_as));

    CHECK(a.troubles.WaitFor(row.text));
    CHECK(b.troubles.WaitFor(row.text));
    CHECK(a.sink.WaitForUnreachable());
    CHECK(b.sink.messages().empty());
  }
}

TEST_CASE("The application may refuse a caller", "[raft][transport][identity]") {
  Member a(MakeOptions(1));
  a.Start();
  PeerTransport::Options options = MakeOptions(2);
  options.authorize = [](NodeId from, const std::vector<std::string>&) {
    return absl::PermissionDeniedError(absl::StrCat("not you, ", from));
  };
  Member b(options);
  b.Start();
  a.transport->AddPeer(2, b.address());
  SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, 2));

  CHECK(a.troubles.WaitFor("may not speak for node 1: not you, 1"));
  CHECK(b.sink.messages().empty());
}

// Opens a stream by hand and writes `bytes`; returns how it ended.
absl::Status StreamBytes(const std::string& address, const std::string& bytes,
                         const std::vector<std::pair<std::string, std::string>>& metadata) {
  const auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  const auto stub = transport::v1::RaftTransport::NewStub(channel);
  grpc::ClientContext context;
  for (const auto& [key, value] : metadata) context.AddMetadata(key, value);
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> generic(channel);
  grpc::CompletionQueue queue;
  const auto call =
      generic.PrepareCall(&context, "/keelson.raft.transport.v1.RaftTransport/Stream", &queue);
  const auto next = [&] {
    void* tag = nullptr;
    bool ok = false;
    REQUIRE(queue.Next(&tag, &ok));
  };
  call->StartCall(nullptr);
  next();
  const grpc::Slice slice(bytes);
  call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  next();
  call->WritesDone(nullptr);
  next();
  grpc::Status status;
  call->Finish(&status, nullptr);
  next();
  queue.Shutdown();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

std::string BatchBytes(const Message& message) {
  std::string bytes;
  for (const WirePiece& piece : EncodeBatch({&message, 1}, 0).pieces) bytes += piece.view();
  return bytes;
}

TEST_CASE("Hostile bytes end the stream and reach nobody", "[raft][transport][hostile]") {
  using absl::StatusCode;
  Member b(MakeOptions(2));
  b.Start();
  const std::vector<std::pair<std::string, std::string>> good = {
      {"keelson-cluster", "c1"}, {"keelson-from", "1"}, {"keelson-to", "2"}};
  const std::string heartbeat = BatchBytes(MakeMessage(MessageType::kHeartbeat, 1, 2));

  KEELSON_CHECK_ERROR(StreamBytes(b.address(), heartbeat, {}), StatusCode::kInvalidArgument,
                      "does not say which node");
  KEELSON_CHECK_ERROR(
      StreamBytes(b.address(), heartbeat,
                  {{"keelson-cluster", "c1"}, {"keelson-from", "1x"}, {"keelson-to", "2"}}),
      StatusCode::kInvalidArgument, "does not say which node");
  auto twice = good;
  twice.emplace_back("keelson-from", "3");
  KEELSON_CHECK_ERROR(StreamBytes(b.address(), heartbeat, twice), StatusCode::kInvalidArgument,
                      "does not say which node");
  KEELSON_CHECK_ERROR(StreamBytes(b.address(), "garbage", good), StatusCode::kInvalidArgument,
                      "not a batch");
  KEELSON_CHECK_ERROR(
      StreamBytes(b.address(), BatchBytes(MakeMessage(MessageType::kHeartbeat, 3, 2)), good),
      StatusCode::kInvalidArgument, "a message from node 3 to node 2 came here");
  KEELSON_CHECK_ERROR(
      StreamBytes(b.address(), BatchBytes(MakeMessage(MessageType::kHeartbeat, 1, 3)), good),
      StatusCode::kInvalidArgument, "a message from node 1 to node 3 came here");
  KEELSON_CHECK_ERROR(
      StreamBytes(b.address(), BatchBytes(MakeMessage(MessageType::kStorageAppend, 1, 2)), good),
      StatusCode::kInvalidArgument, "cannot come from a peer");
  CHECK(b.sink.messages().empty());

  KEELSON_REQUIRE_OK(StreamBytes(b.address(), heartbeat, good));
  CHECK(b.sink.WaitForMessages(1));
}

TEST_CASE("A message longer than allowed ends the stream", "[raft][transport][hostile]") {
  Pair pair([](PeerTransport::Options& options) { options.max_receive_bytes = 100000; });
  pair.Start();
  SendOne(pair.a, MakeApp(1, 2, 1, 200000));
  CHECK(pair.a.troubles.WaitFor("stream to node 2"));
  CHECK(pair.b.sink.messages().empty());
}

TEST_CASE("Probes measure the round trip", "[raft][transport]") {
  Pair pair;
  pair.Start();
  for (int i = 0; i < 1000 && pair.a.StatsOf(2).round_trip == absl::ZeroDuration(); ++i) {
    SendOne(pair.a, MakeMessage(MessageType::kHeartbeat, 1, 2));
    (void)pair.a.sink.WaitForMessages(1, absl::Milliseconds(5));  // passes the time
  }
  CHECK(pair.a.StatsOf(2).round_trip > absl::ZeroDuration());
}

TEST_CASE("The service runs on a server of the caller's", "[raft][transport]") {
  Member a(MakeOptions(1));
  a.Start();
  PeerTransport::Options options = MakeOptions(2);
  options.listen_address.clear();
  Member b(options);
  EventLoop loop("test");
  const std::unique_ptr<rpc::Server> server = rpc::Server::Create({.loops = {&loop}});
  b.transport->RegisterOn(*server);
  server->Start();
  KEELSON_ASSIGN_OR_FAIL(const auto listener,
                         rpc::Listener::Open(loop, *server, "127.0.0.1:0", false));
  const std::string address = absl::StrCat("127.0.0.1:", listener->port());
  a.transport->AddPeer(2, address);
  CHECK(a.troubles.WaitFor("this node is not ready"));

  b.Start();
  CHECK(b.transport->port() == 0);
  for (int i = 0; i < 1000 && !b.sink.WaitForMessages(1, absl::Milliseconds(20)); ++i) {
    SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, 2));
  }
  CHECK(!b.sink.messages().empty());

  b.transport->Stop();
  const size_t before = b.sink.messages().size();
  SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, 2));
  a.transport->Stop();
  CHECK(b.sink.messages().size() == before);
  // The streams have been ended, so this does not take its time.
  server->Stop(kLong);
}

// The same protocol, spoken by gRPC itself.
class GrpcPeer final : public transport::v1::RaftTransport::Service {
 public:
  GrpcPeer() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
  }
  [[nodiscard]] std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

  grpc::Status Stream(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<transport::v1::Ack, transport::v1::Batch>* stream) override {
    context->AddInitialMetadata("keelson-accepted", "1");
    stream->SendInitialMetadata();
    transport::v1::Batch batch;
    while (stream->Read(&batch)) {
      if (on_batch) on_batch(batch);
      messages += batch.messages_size();
      for (const auto& message : batch.messages()) entries += message.entries_size();
      if (batch.probe() == 0) continue;
      transport::v1::Ack ack;
      ack.set_probe(batch.probe());
      stream->Write(ack);
    }
    return grpc::Status::OK;
  }

  // Set before anyone calls. On the thread of the stream, which it may block.
  std::function<void(const transport::v1::Batch&)> on_batch;
  std::atomic<int> messages{0};
  std::atomic<int> entries{0};

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST_CASE("A peer that is served by gRPC C++ is sent the same", "[raft][transport][grpc]") {
  GrpcPeer peer;
  PeerTransport::Options options = MakeOptions(1);
  options.peers = {{2, peer.address()}};
  Member a(options);
  a.Start();
  SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, 2));
  for (Index index = 1; index <= 50; ++index) SendOne(a, MakeApp(1, 2, index, 100'000));
  while (peer.messages < 51 || a.StatsOf(2).round_trip == absl::ZeroDuration()) {
    REQUIRE(a.sink.unreachable().empty());
    std::this_thread::yield();
  }
  CHECK(peer.entries == 50);
  CHECK(a.StatsOf(2).connected);
}

// The receiver does not take an append before the heartbeats have come. With one queue or
// one stream for both that would never end.
TEST_CASE("Heartbeats do not wait for 64 MiB of appends", "[raft][transport]") {
  constexpr int kHeartbeats = 10;
  GrpcPeer peer;
  absl::Mutex mu;
  int heartbeats = 0;
  bool timed_out = false;
  peer.on_batch = [&](const transport::v1::Batch& batch) {
    absl::MutexLock lock(&mu);
    for (const auto& message : batch.messages()) {
      heartbeats += message.type() == static_cast<uint32_t>(MessageType::kHeartbeat) ? 1 : 0;
    }
    if (batch.messages(0).entries_size() == 0) return;
    const auto enough = [&] { return heartbeats >= kHeartbeats; };
    timed_out |= !mu.AwaitWithTimeout(absl::Condition(&enough), kLong);
  };
  PeerTransport::Options options = MakeOptions(1);
  options.peers = {{2, peer.address()}};
  options.max_queued_bytes = 128 << 20;
  Member a(options);
  a.Start();
  for (Index index = 1; index <= 64; ++index) SendOne(a, MakeApp(1, 2, index, 1 << 20));
  for (int i = 0; i < kHeartbeats; ++i) SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, 2));

  while (peer.messages < 64 + kHeartbeats) std::this_thread::yield();
  absl::MutexLock lock(&mu);
  CHECK(!timed_out);
}

TEST_CASE("Impossible options and a taken port are refused", "[raft][transport][options]") {
  using absl::StatusCode;
  PeerTransport::Options options = MakeOptions(0);
  KEELSON_CHECK_ERROR(PeerTransport::Create(options), StatusCode::kInvalidArgument, "node id 0");
  options = MakeOptions(1);
  options.peers = {{1, "127.0.0.1:1"}};
  KEELSON_CHECK_ERROR(PeerTransport::Create(options), StatusCode::kInvalidArgument, "peer id 1");
  options.peers = {{2, ""}};
  KEELSON_CHECK_ERROR(PeerTransport::Create(options), StatusCode::kInvalidArgument, "no address");
  options = MakeOptions(1);
  options.max_batch_bytes = 0;
  KEELSON_CHECK_ERROR(PeerTransport::Create(options), StatusCode::kInvalidArgument, "limit");

  Member first(MakeOptions(1));
  first.Start();
  options = MakeOptions(2);
  options.listen_address = first.address();
  Member second(options);
  KEELSON_CHECK_ERROR(second.transport->Start(second.sink), StatusCode::kUnavailable,
                      "cannot listen for peers on '" + first.address() + "'");
  KEELSON_CHECK_ERROR(first.transport->Start(first.sink), StatusCode::kFailedPrecondition,
                      "started before");
}

PeerTransport::Tls MakeTls(const testing::TestAuthority& authority, const std::string& name) {
  const testing::IssuedCertificate issued = authority.Issue(name, "DNS:" + name + ",IP:127.0.0.1");
  return {.ca = authority.ca_pem(), .certificate = issued.cert_pem, .key = issued.key_pem};
}

TEST_CASE("Members prove themselves by certificates", "[raft][transport][tls]") {
  const testing::TestAuthority authority;
  PeerTransport::Options options = MakeOptions(2);
  options.tls = MakeTls(authority, "member2");
  absl::Mutex mu;
  std::vector<std::string> seen;
  options.authorize = [&](NodeId, const std::vector<std::string>& names) {
    absl::MutexLock lock(&mu);
    seen = names;
    return absl::OkStatus();
  };
  Member b(options);
  b.Start();

  SECTION("of the same authority: welcome, and their names are known") {
    PeerTransport::Options caller = MakeOptions(1);
    caller.tls = MakeTls(authority, "member1");
    Member a(caller);
    a.Start();
    a.transport->AddPeer(2, b.address());
    SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, 2));
    REQUIRE(b.sink.WaitForMessages(1));
    absl::MutexLock lock(&mu);
    CHECK(std::find(seen.begin(), seen.end(), "member1") != seen.end());
  }
  SECTION("of another authority or without one: no connection") {
    const testing::TestAuthority stranger("Another authority");
    PeerTransport::Options caller = MakeOptions(1);
    const bool with_certificate = GENERATE(true, false);
    if (with_certificate) caller.tls = MakeTls(stranger, "member1");
    if (with_certificate) caller.tls->ca = authority.ca_pem();
    Member a(caller);
    a.Start();
    a.transport->AddPeer(2, b.address());
    SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, 2));
    CHECK(a.sink.WaitForUnreachable());
    CHECK(a.troubles.WaitFor("stream to node 2"));
    CHECK(b.sink.messages().empty());
  }
}

TEST_CASE("A peer that is called must have one of the names that are asked for",
          "[raft][transport][tls]") {
  const testing::TestAuthority authority;
  PeerTransport::Options options = MakeOptions(2);
  options.tls = MakeTls(authority, "member2");
  Member b(options);
  b.Start();
  PeerTransport::Options caller = MakeOptions(1);
  caller.tls = MakeTls(authority, "member1");

  SECTION("it has") {
    caller.tls->policy.allowed_common_names = {"member1", "member2"};
    Member a(caller);
    a.Start();
    a.transport->AddPeer(2, b.address());
    SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, 2));
    CHECK(b.sink.WaitForMessages(1));
  }
  SECTION("it has not") {
    caller.tls->policy.allowed_common_names = {"member1", "member3"};
    Member a(caller);
    a.Start();
    a.transport->AddPeer(2, b.address());
    SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, 2));
    CHECK(a.sink.WaitForUnreachable());
    CHECK(b.sink.messages().empty());
  }
}

// As etcd's --peer-auto-tls has it.
TEST_CASE("Members whose certificates nobody knows talk if they agree not to verify",
          "[raft][transport][tls]") {
  const testing::TestAuthority authority;
  const testing::TestAuthority stranger("Another authority");
  // Neither names an address.
  const auto tls_of = [](const testing::IssuedCertificate& issued, bool verify_peers) {
    return PeerTransport::Tls{
        .certificate = issued.cert_pem, .key = issued.key_pem, .verify_peers = verify_peers};
  };
  PeerTransport::Options options = MakeOptions(2);
  options.tls = tls_of(authority.Issue("etcd", ""), false);
  Member b(options);
  b.Start();
  PeerTransport::Options caller = MakeOptions(1);

  SECTION("both: welcome") {
    caller.tls = tls_of(stranger.Issue("etcd", ""), false);
    Member a(caller);
    a.Start();
    a.transport->AddPeer(2, b.address());
    SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, 2));
    CHECK(b.sink.WaitForMessages(1));
  }
  SECTION("a caller that verifies does not talk to it") {
    caller.tls = MakeTls(stranger, "member1");
    Member a(caller);
    a.Start();
    a.transport->AddPeer(2, b.address());
    SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, 2));
    CHECK(a.sink.WaitForUnreachable());
    CHECK(b.sink.messages().empty());
  }
  SECTION("plain text is no TLS") {
    Member a(caller);
    a.Start();
    a.transport->AddPeer(2, b.address());
    SendOne(a, MakeMessage(MessageType::kHeartbeat, 1, 2));
    CHECK(a.sink.WaitForUnreachable());
    CHECK(b.sink.messages().empty());
  }
}

// ---- Snapshots.

SnapshotMetadata MakeMetadata(Index index) {
  SnapshotMetadata metadata = {.index = index, .term = 3, .conf_state = {}};
  metadata.conf_state.voters = {1, 2};
  return metadata;
}

Message MakeSnap(Index index) {
  Message message = MakeMessage(MessageType::kSnap, 1, 2);
  message.snapshot.emplace();
  message.snapshot->metadata = MakeMetadata(index);
  return message;
}

std::string ReadAll(SnapshotStore& store, Index index) {
  KEELSON_ASSIGN_OR_FAIL(const auto reader, store.OpenSnapshot(index, 3));
  std::string state;
  while (true) {
    KEELSON_ASSIGN_OR_FAIL(const std::string chunk, reader->Next());
    if (chunk.empty()) return state;
    state += chunk;
  }
}

// Two members with a store each; member 1 has a snapshot at index 9.
struct SnapshotPair {
  explicit SnapshotPair(const SimFileSystem::Options& b_disk = {})
      : a_fs(Random(1), {}), b_fs(Random(2), b_disk) {
    KEELSON_ASSIGN_OR_FAIL(a_store, SnapshotStore::Open(a_fs, "snap"));
    KEELSON_ASSIGN_OR_FAIL(b_store, SnapshotStore::Open(b_fs, "snap"));
    for (size_t i = 0; i < state.size(); ++i) state[i] = static_cast<char>(i * 31 + i / 997);
    KEELSON_ASSIGN_OR_FAIL(const auto writer, a_store->Create(MakeMetadata(9)));
    KEELSON_REQUIRE_OK(writer->Append(state));
    KEELSON_REQUIRE_OK(writer->Commit());
    pair = std::make_unique<Pair>([this](PeerTransport::Options& options) {
      options.snapshots = options.self == 1 ? a_store.get() : b_store.get();
    });
    pair->Start();
  }
  ~SnapshotPair() { pair.reset(); }

  SimFileSystem a_fs;
  SimFileSystem b_fs;
  std::unique_ptr<SnapshotStore> a_store;
  std::unique_ptr<SnapshotStore> b_store;
  std::string state = std::string((5 << 20) + 123, '\0');
  std::unique_ptr<Pair> pair;
};

using Reports = std::vector<std::pair<NodeId, bool>>;

TEST_CASE("A snapshot is durable at the peer before its message is delivered",
          "[raft][transport][snapshot]") {
  SnapshotPair t;
  t.pair->b.sink.on_receive = [&](const std::vector<Message>&) {
    const auto list = t.b_store->List();
    CHECK(list.ok());
    CHECK(list->size() == 1);
  };
  SendOne(t.pair->a, MakeSnap(9));

  REQUIRE(t.pair->a.sink.WaitForSnapshots(1));
  REQUIRE(t.pair->b.sink.WaitForMessages(1));
  CHECK(t.pair->a.sink.snapshots() == Reports{{2, true}});
  CHECK(t.pair->b.sink.messages() == std::vector<Message>{MakeSnap(9)});
  t.b_fs.PowerLoss();
  KEELSON_ASSIGN_OR_FAIL(const auto store, SnapshotStore::Open(t.b_fs, "snap"));
  CHECK((ReadAll(*store, 9) == t.state));
  CHECK(t.pair->a.StatsOf(2).snapshots_sent == 1);
  CHECK(t.pair->b.StatsOf(1).snapshots_received == 1);
}

TEST_CASE("A transfer that fails is reported, delivers nothing and can be repeated",
          "[raft][transport][snapshot]") {
  SnapshotPair t;
  SECTION("the receiver's disk fails") {
    t.b_fs.FailNext(GENERATE(SimOperation::kName, SimOperation::kWrite, SimOperation::kSync),
                    "snap");
  }
  SECTION("the sender's file cannot be read") { t.a_fs.FailNext(SimOperation::kRead, "snap"); }
  SendOne(t.pair->a, MakeSnap(9));
  REQUIRE(t.pair->a.sink.WaitForSnapshots(1));
  CHECK(t.pair->a.sink.snapshots() == Reports{{2, false}});
  CHECK(t.pair->b.sink.messages().empty());
  CHECK(t.pair->a.troubles.WaitFor("snapshot to node 2: "));
  CHECK(t.pair->a.StatsOf(2).snapshots_failed == 1);
  KEELSON_ASSIGN_OR_FAIL(const auto names, t.b_fs.List("snap"));
  CHECK(names.empty());

  SendOne(t.pair->a, MakeSnap(9));
  REQUIRE(t.pair->b.sink.WaitForMessages(1));
  CHECK((ReadAll(*t.b_store, 9) == t.state));
}

TEST_CASE("A damaged snapshot is not sent", "[raft][transport][snapshot]") {
  SnapshotPair t;
  KEELSON_REQUIRE_OK(
      t.a_fs.FlipBit("snap/0000000000000003-0000000000000009.snap", (2 << 20) + 500, 1));
  SendOne(t.pair->a, MakeSnap(9));
  REQUIRE(t.pair->a.sink.WaitForSnapshots(1));
  CHECK(t.pair->a.sink.snapshots() == Reports{{2, false}});
  CHECK(t.pair->a.troubles.WaitFor("a chunk is damaged"));
  CHECK(t.pair->b.sink.messages().empty());
  KEELSON_ASSIGN_OR_FAIL(const auto list, t.b_store->List());
  CHECK(list.empty());
}

TEST_CASE("A snapshot that is not in the store fails", "[raft][transport][snapshot]") {
  SnapshotPair t;
  SendOne(t.pair->a, MakeSnap(10));
  REQUIRE(t.pair->a.sink.WaitForSnapshots(1));
  CHECK(t.pair->a.sink.snapshots() == Reports{{2, false}});
}

TEST_CASE("A transfer cut in the middle leaves nothing that anyone could take for a snapshot",
          "[raft][transport][snapshot]") {
  // The receiver's disk makes the cut happen: with its third operation on the snapshot.
  std::atomic<int> countdown{-1};
  std::function<void()> cut;
  SimFileSystem::Options disk;
  disk.faults.operation_latency = absl::Milliseconds(1);
  disk.on_latency = [&](absl::Duration) {
    if (countdown.load() >= 0 && countdown.fetch_sub(1) == 0) cut();
  };
  SnapshotPair t(disk);
  cut = [&] { t.pair->a.transport->RemovePeer(2); };
  countdown = 3;
  SendOne(t.pair->a, MakeSnap(9));

  REQUIRE(t.pair->a.sink.WaitForSnapshots(1));
  CHECK(t.pair->a.sink.snapshots() == Reports{{2, false}});
  CHECK(t.pair->b.troubles.WaitFor("it ends early"));
  CHECK(t.pair->b.sink.messages().empty());
  KEELSON_ASSIGN_OR_FAIL(const auto list, t.b_store->List());
  CHECK(list.empty());
  t.pair.reset();  // With the transport goes what it has kept for another try.
  KEELSON_ASSIGN_OR_FAIL(const auto names, t.b_fs.List("snap"));
  CHECK(names.empty());
}

TEST_CASE("Stop in the middle of everything ends it all", "[raft][transport][stop]") {
  SnapshotPair t;
  for (Index index = 1; index <= 20; ++index) SendOne(t.pair->a, MakeApp(1, 2, index, 1 << 20));
  SendOne(t.pair->a, MakeSnap(9));
  t.pair->a.transport->Stop();
  t.pair->a.transport->Stop();  // Idempotent.
  const size_t reports = t.pair->a.sink.snapshots().size();
  SendOne(t.pair->a, MakeMessage(MessageType::kHeartbeat, 1, 2));
  t.pair->a.transport->AddPeer(3, "127.0.0.1:1");
  CHECK(t.pair->a.sink.snapshots().size() == reports);
}

}  // namespace
}  // namespace keelson::raft
