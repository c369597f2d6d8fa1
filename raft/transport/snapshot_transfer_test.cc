// Transfers of snapshots over connections that break and bytes that change on the way.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "base/unique_fd.h"
#include "raft/snapshot_store.h"
#include "raft/transport/internal/pacer.h"
#include "raft/transport/internal/partial_snapshots.h"
#include "raft/transport/peer_transport.h"

namespace keelson::raft {
namespace {

using transport::Pacer;
using transport::PartialSnapshots;

constexpr absl::Duration kLong = absl::Seconds(60);  // A bound for a broken test.
constexpr size_t kStateBytes = (6 << 20) + 123;

// What the bytes to a server go through: counts them on each connection, and does something once.
class Proxy {
 public:
  // Called with bytes [begin, begin + size) of a connection, which it may change; false: cut it.
  using Meddler = std::function<bool(uint64_t begin, char* bytes, size_t size)>;

  Proxy(int target_port, Meddler meddler) : target_(target_port), meddler_(std::move(meddler)) {
    listener_ = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address = Loopback(0);
    REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener_.get(), 16) == 0);
    socklen_t size = sizeof address;
    REQUIRE(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    threads_.emplace_back([this] { Accept(); });
  }
  ~Proxy() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    threads_.front().join();
    {
      absl::MutexLock lock(&mu_);
      for (const auto& socket : sockets_) ::shutdown(socket->get(), SHUT_RDWR);
    }
    for (size_t i = 1; i < threads_.size(); ++i) threads_[i].join();
  }
  [[nodiscard]] std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

 private:
  static sockaddr_in Loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }

  void Accept() {
    while (true) {
      auto client = std::make_shared<UniqueFd>(::accept4(listener_.get(), nullptr, nullptr, 0));
      if (client->get() < 0) return;
      auto server = std::make_shared<UniqueFd>(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_in address = Loopback(target_);
      if (::connect(server->get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
        continue;
      }
      absl::MutexLock lock(&mu_);
      sockets_.push_back(client);
      sockets_.push_back(server);
      threads_.emplace_back([this, client, server] { Pump(*client, *server, meddler_); });
      threads_.emplace_back([client, server] { Pump(*server, *client, nullptr); });
    }
  }

  static void Pump(const UniqueFd& from, const UniqueFd& to, const Meddler& meddler) {
    std::array<char, 16384> buffer{};
    uint64_t passed = 0;
    while (true) {
      const ssize_t n = ::recv(from.get(), buffer.data(), buffer.size(), 0);
      if (n <= 0) break;
      const auto size = static_cast<size_t>(n);
      if (meddler && !meddler(passed, buffer.data(), size)) break;
      passed += size;
      size_t sent = 0;
      while (sent < size) {
        const ssize_t m = ::send(to.get(), buffer.data() + sent, size - sent, MSG_NOSIGNAL);
        if (m <= 0) break;
        sent += static_cast<size_t>(m);
      }
      if (sent < size) break;
    }
    ::shutdown(from.get(), SHUT_RDWR);
    ::shutdown(to.get(), SHUT_RDWR);
  }

  const int target_;
  const Meddler meddler_;
  UniqueFd listener_;
  int port_ = 0;
  absl::Mutex mu_;
  std::vector<std::shared_ptr<UniqueFd>> sockets_;
  std::vector<std::thread> threads_;  // the first accepts; the others are added by it
};

class Sink final : public MessageSink {
 public:
  void Receive(std::vector<Message> messages) override {
    absl::MutexLock lock(&mu_);
    for (Message& message : messages) received_.push_back(std::move(message));
  }
  void ReportUnreachable(NodeId) override {}
  void ReportSnapshot(NodeId, bool ok) override {
    absl::MutexLock lock(&mu_);
    reports_.push_back(ok);
  }
  std::vector<bool> WaitForReports(size_t count) {
    absl::MutexLock lock(&mu_);
    const auto enough = [&] { return reports_.size() >= count; };
    REQUIRE(mu_.AwaitWithTimeout(absl::Condition(&enough), kLong));
    return reports_;
  }
  size_t received() {
    absl::MutexLock lock(&mu_);
    return received_.size();
  }

 private:
  absl::Mutex mu_;
  std::vector<Message> received_;
  std::vector<bool> reports_;
};

SnapshotMetadata At(Index index) {
  SnapshotMetadata metadata{.index = index, .term = 3, .conf_state = {}};
  metadata.conf_state.voters = {1, 2};
  return metadata;
}

struct End {
  explicit End(NodeId self, uint64_t bytes_per_second = 0) : fs(Random(self), {}) {
    KEELSON_ASSIGN_OR_FAIL(store, SnapshotStore::Open(fs, "snap"));
    PeerTransport::Options options;
    options.self = self;
    options.cluster_id = 0xc1;
    options.listen_address = "127.0.0.1:0";
    options.snapshots = store.get();
    options.snapshot_bytes_per_second = bytes_per_second;
    options.on_trouble = [this](NodeId, const absl::Status& status) {
      absl::MutexLock lock(&mu);
      troubles += absl::StrCat(status.ToString(), "\n");
    };
    KEELSON_ASSIGN_OR_FAIL(transport, PeerTransport::Create(std::move(options)));
    KEELSON_REQUIRE_OK(transport->Start(sink));
  }
  ~End() { transport->Stop(); }

  PeerTransport::PeerStats StatsOf(NodeId peer) const {
    for (const auto& stats : transport->GetStats()) {
      if (stats.id == peer) return stats;
    }
    return {};
  }
  std::string Troubles() {
    absl::MutexLock lock(&mu);
    return troubles;
  }

  SimFileSystem fs;
  std::unique_ptr<SnapshotStore> store;
  Sink sink;
  absl::Mutex mu;
  std::string troubles;
  std::unique_ptr<PeerTransport> transport;
};

std::string MakeState() {
  std::string state(kStateBytes, '\0');
  for (size_t i = 0; i < state.size(); ++i) state[i] = static_cast<char>(i * 31 + i / 997);
  return state;
}

void Store(SnapshotStore& store, Index index, const std::string& state) {
  KEELSON_ASSIGN_OR_FAIL(const auto writer, store.Create(At(index)));
  KEELSON_REQUIRE_OK(writer->Append(state));
  KEELSON_REQUIRE_OK(writer->Commit());
}

std::string Load(SnapshotStore& store, Index index) {
  KEELSON_ASSIGN_OR_FAIL(const auto reader, store.OpenSnapshot(index, 3));
  std::string state;
  while (true) {
    KEELSON_ASSIGN_OR_FAIL(const std::string chunk, reader->Next());
    if (chunk.empty()) return state;
    state += chunk;
  }
}

void Send(End& from, Index index) {
  Message message;
  message.type = MessageType::kSnap;
  message.from = 1;
  message.to = 2;
  message.term = 5;
  message.snapshot.emplace();
  message.snapshot->metadata = At(index);
  std::vector<Message> messages;
  messages.push_back(std::move(message));
  from.transport->Send(std::move(messages));
}

// True once: when the range holds byte `place` of a connection.
bool Holds(uint64_t begin, size_t size, uint64_t place) {
  return begin <= place && place < begin + size;
}

TEST_CASE("A transfer that breaks goes on behind what has arrived",
          "[raft][transport][snapshot][resume]") {
  const std::string state = MakeState();
  End a(1);
  End b(2);
  std::atomic<int> cuts{2};
  Proxy proxy(b.transport->port(), [&cuts](uint64_t begin, char*, size_t size) {
    return !(Holds(begin, size, 3 << 20) && cuts.fetch_sub(1) > 0);
  });
  a.transport->AddPeer(2, proxy.address());
  Store(*a.store, 9, state);
  Send(a, 9);

  INFO(a.Troubles() << b.Troubles());
  CHECK(a.sink.WaitForReports(1) == std::vector<bool>{true});
  CHECK(b.sink.received() == 1);
  CHECK((Load(*b.store, 9) == state));
  CHECK(b.StatsOf(1).snapshots_resumed >= 1);
  // What had arrived was not sent again.
  CHECK(b.StatsOf(1).received_bytes < kStateBytes + (1 << 20));
}

TEST_CASE("A chunk that is damaged on the way is sent again, and no other",
          "[raft][transport][snapshot][resume]") {
  const std::string state = MakeState();
  End a(1);
  End b(2);
  std::atomic<bool> done{false};
  Proxy proxy(b.transport->port(), [&done](uint64_t begin, char* bytes, size_t size) {
    // A byte that the state holds there: not one of gRPC's own.
    constexpr uint64_t kPlace = (7 << 19) + 5;
    if (Holds(begin, size, kPlace) && !done.exchange(true)) bytes[kPlace - begin] ^= 1;
    return true;
  });
  a.transport->AddPeer(2, proxy.address());
  Store(*a.store, 9, state);
  Send(a, 9);

  CHECK(a.sink.WaitForReports(1) == std::vector<bool>{true});
  CHECK((Load(*b.store, 9) == state));
  INFO(b.Troubles());
  CHECK(b.Troubles().find("is damaged") != std::string::npos);
  CHECK(b.StatsOf(1).snapshots_resumed == 1);
  CHECK(b.StatsOf(1).received_bytes < kStateBytes + (1 << 20));
}

TEST_CASE("A transfer that always breaks is given up, and the next one goes on",
          "[raft][transport][snapshot][resume]") {
  const std::string state = MakeState();
  End a(1);
  End b(2);
  std::atomic<bool> broken{true};
  Proxy proxy(b.transport->port(), [&broken](uint64_t begin, char*, size_t size) {
    return !(broken && Holds(begin, size, 900'000));
  });
  a.transport->AddPeer(2, proxy.address());
  Store(*a.store, 9, state);
  Send(a, 9);
  CHECK(a.sink.WaitForReports(1) == std::vector<bool>{false});
  CHECK(b.sink.received() == 0);
  broken = false;
  Send(a, 9);
  CHECK(a.sink.WaitForReports(2) == std::vector<bool>{false, true});
  CHECK((Load(*b.store, 9) == state));
}

TEST_CASE("What is left of a transfer is not mixed with another snapshot",
          "[raft][transport][snapshot][resume]") {
  const std::string state = MakeState();
  End a(1);
  End b(2);
  std::atomic<bool> broken{true};
  Proxy proxy(b.transport->port(), [&broken](uint64_t begin, char*, size_t size) {
    return !(Holds(begin, size, 3 << 20) && broken.exchange(false));
  });
  a.transport->AddPeer(2, proxy.address());
  SECTION("of another index") {
    Store(*a.store, 9, state);
    Store(*a.store, 10, "short");
    Send(a, 10);
    CHECK(a.sink.WaitForReports(1) == std::vector<bool>{true});
    CHECK((Load(*b.store, 10) == "short"));
  }
  SECTION("of the same index, made anew with other bytes") {
    Store(*a.store, 9, state);
    Send(a, 9);
    CHECK(a.sink.WaitForReports(1) == std::vector<bool>{true});
    const std::string other = std::string(100, 'x') + state;
    Store(*a.store, 9, other);
    broken = true;
    Send(a, 9);
    CHECK(a.sink.WaitForReports(2) == std::vector<bool>{true, true});
    CHECK((Load(*b.store, 9) == other));
  }
}

TEST_CASE("A slow transfer arrives whole, and Stop does not wait for it",
          "[raft][transport][snapshot][pace]") {
  const std::string state = MakeState();
  SECTION("fast enough to finish") {
    End a(1, 40 << 20);
    End b(2);
    a.transport->AddPeer(2, absl::StrCat("127.0.0.1:", b.transport->port()));
    Store(*a.store, 9, state);
    Send(a, 9);
    CHECK(a.sink.WaitForReports(1) == std::vector<bool>{true});
    CHECK((Load(*b.store, 9) == state));
  }
  SECTION("a week long") {
    End a(1, 10);
    End b(2);
    a.transport->AddPeer(2, absl::StrCat("127.0.0.1:", b.transport->port()));
    Store(*a.store, 9, state);
    Send(a, 9);
    while (b.StatsOf(1).received_bytes == 0) std::this_thread::yield();
    a.transport->Stop();
    CHECK(b.sink.received() == 0);
  }
}

TEST_CASE("The pacer lets bytes go at their rate", "[raft][transport][pace]") {
  Pacer pacer(1000);
  const absl::Duration start = absl::Seconds(100);
  CHECK(pacer.Delay(start, 500) == absl::ZeroDuration());
  CHECK(pacer.Delay(start, 2000) == absl::Milliseconds(500));
  CHECK(pacer.Delay(start + absl::Seconds(1), 1) == absl::Milliseconds(1500));
  // Time in which nothing went is not made up for.
  CHECK(pacer.Delay(start + absl::Seconds(60), 3000) == absl::ZeroDuration());
  CHECK(pacer.Delay(start + absl::Seconds(60), 1) == absl::Seconds(3));
  Pacer free(0);
  CHECK(free.Delay(start, 1 << 30) == absl::ZeroDuration());
  CHECK(free.Delay(start, 1) == absl::ZeroDuration());
}

TEST_CASE("Parts of snapshots are kept for their sender, one each, a few in all",
          "[raft][transport][resume]") {
  const auto part = [](NodeId from, Index index, uint64_t chunks) {
    PartialSnapshots::Partial partial;
    partial.from = from;
    partial.index = index;
    partial.term = 3;
    partial.chunks = chunks;
    return partial;
  };
  PartialSnapshots partials;
  partials.Keep(part(1, 9, 2));
  CHECK(partials.Peek(part(1, 9, 0)).chunks == 2);
  CHECK(partials.Peek(part(2, 9, 0)).chunks == 0);
  CHECK(partials.Peek(part(1, 8, 0)).chunks == 0);
  partials.Keep(part(1, 10, 5));  // In place of the other one.
  CHECK(partials.Peek(part(1, 9, 0)).chunks == 0);
  CHECK_FALSE(partials.Take(part(1, 9, 0)).has_value());  // And of no use any more.
  CHECK_FALSE(partials.Take(part(1, 10, 0)).has_value());
  for (NodeId from = 1; from <= 5; ++from) partials.Keep(part(from, 9, from));
  CHECK(partials.Peek(part(1, 9, 0)).chunks == 0);
  CHECK(partials.Take(part(5, 9, 0))->chunks == 5);
}

}  // namespace
}  // namespace keelson::raft
