#include "raft/sim/sim_network.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/sim/sim_executor.h"

namespace keelson::raft::sim {
namespace {

struct Sink final : public MessageSink {
  void Receive(std::vector<Message> messages) override {
    for (Message& message : messages) received.push_back(std::move(message));
  }
  void ReportUnreachable(NodeId peer) override { unreachable.push_back(peer); }
  void ReportSnapshot(NodeId peer, bool ok) override { snapshots.emplace_back(peer, ok); }

  std::vector<Message> received;
  std::vector<NodeId> unreachable;
  std::vector<std::pair<NodeId, bool>> snapshots;
};

// Three attached nodes.
class Fixture {
 public:
  struct Host {
    explicit Host(SimWorld& world, NodeId id)
        : disk(Random(id), {}), background(world, Random(id), {}) {
      auto store = SnapshotStore::Open(disk, "snap");
      KEELSON_REQUIRE_OK(store.status());
      snapshots = std::move(store).value();
    }
    SimFileSystem disk;
    SimExecutor background;
    std::unique_ptr<SnapshotStore> snapshots;
    Sink sink;
    bool alive = true;
    Transport* transport = nullptr;
  };

  explicit Fixture(const SimNetwork::Faults& faults) : world(1), network(world) {
    network.SetFaults(faults);
    for (NodeId id = 1; id <= 3; ++id) {
      hosts.push_back(std::make_unique<Host>(world, id));
      Attach(id);
    }
  }

  void Attach(NodeId id) {
    Host& host = At(id);
    host.transport = &network.Attach(id, {.sink = &host.sink,
                                          .snapshots = host.snapshots.get(),
                                          .background = &host.background,
                                          .alive = [&host] { return host.alive; }});
  }
  Host& At(NodeId id) { return *hosts[id - 1]; }
  void Send(NodeId from, NodeId to, Index index, MessageType type = MessageType::kApp) {
    Message message;
    message.type = type;
    message.from = from;
    message.to = to;
    message.index = index;
    At(from).transport->Send({message});
  }
  void SendSnapshot(NodeId from, NodeId to, Index index) {
    Message message;
    message.type = MessageType::kSnap;
    message.from = from;
    message.to = to;
    message.snapshot =
        Snapshot{.metadata = {.index = index, .term = 1, .conf_state = {}}, .data = {}};
    At(from).transport->Send({message});
  }
  void MakeSnapshot(NodeId id, Index index) {
    auto writer = At(id).snapshots->Create({.index = index, .term = 1, .conf_state = {}});
    KEELSON_REQUIRE_OK(writer.status());
    KEELSON_REQUIRE_OK((*writer)->Append("state"));
    KEELSON_REQUIRE_OK((*writer)->Commit());
  }
  void Run() {
    while (world.Step()) {
    }
  }
  std::vector<Index> Received(NodeId id) {
    std::vector<Index> indexes;
    for (const Message& message : At(id).sink.received) indexes.push_back(message.index);
    return indexes;
  }

  SimWorld world;
  SimNetwork network;
  std::vector<std::unique_ptr<Host>> hosts;
};

TEST_CASE("Without faults everything arrives once, in order, after a delay",
          "[raft][sim][network]") {
  Fixture fixture({});
  std::vector<Index> want;
  for (Index i = 1; i <= 100; ++i) {
    fixture.Send(1, 2, i);
    want.push_back(i);
  }
  CHECK(fixture.Received(2).empty());

  fixture.Run();

  CHECK(fixture.Received(2) == want);
  CHECK(fixture.Received(3).empty());
  CHECK(fixture.world.now() >= SimNetwork::Faults().min_delay);
}

TEST_CASE("With reordering, messages overtake each other", "[raft][sim][network]") {
  SimNetwork::Faults faults;
  faults.reorder = true;
  Fixture fixture(faults);
  for (Index i = 1; i <= 100; ++i) fixture.Send(1, 2, i);

  fixture.Run();

  std::vector<Index> received = fixture.Received(2);
  CHECK(received.size() == 100);
  CHECK_FALSE(std::is_sorted(received.begin(), received.end()));
}

TEST_CASE("Messages are lost and doubled at the given rates", "[raft][sim][network]") {
  SimNetwork::Faults faults;
  faults.drop = 0.2;
  faults.duplicate = 0.3;
  faults.report_loss = 0.5;
  Fixture fixture(faults);
  constexpr int kMessages = 5000;
  for (Index i = 1; i <= kMessages; ++i) fixture.Send(1, 2, i);

  fixture.Run();

  const SimNetwork::Counters& counters = fixture.network.counters();
  CHECK(counters.sent == kMessages);
  CHECK(counters.dropped == Approx(0.2 * kMessages).epsilon(0.1));
  CHECK(counters.duplicated == Approx(0.8 * 0.3 * kMessages).epsilon(0.1));
  CHECK(fixture.Received(2).size() == kMessages - counters.dropped + counters.duplicated);
  CHECK(fixture.At(1).sink.unreachable.size() == Approx(0.1 * kMessages).epsilon(0.2));
}

TEST_CASE("A cut link stops one direction until it heals", "[raft][sim][network]") {
  Fixture fixture({});
  fixture.network.SetLink(1, 2, false);
  fixture.Send(1, 2, 1);
  fixture.Send(2, 1, 2);
  fixture.Send(1, 3, 3);
  fixture.Run();
  CHECK(fixture.Received(2).empty());
  CHECK(fixture.Received(1) == std::vector<Index>{2});
  CHECK(fixture.Received(3) == std::vector<Index>{3});
  CHECK(fixture.network.counters().blocked == 1);

  fixture.network.HealLinks();
  fixture.Send(1, 2, 4);
  fixture.Run();
  CHECK(fixture.Received(2) == std::vector<Index>{4});
}

TEST_CASE("A dead node receives nothing; its next life does", "[raft][sim][network]") {
  Fixture fixture({});
  fixture.Send(1, 2, 1);
  fixture.network.Detach(2);
  fixture.Run();
  CHECK(fixture.Received(2).empty());

  fixture.Attach(2);
  fixture.Send(1, 2, 2);
  fixture.Run();
  CHECK(fixture.Received(2) == std::vector<Index>{2});
}

TEST_CASE("What was sent before a crash still arrives; what its power cut kept back does not",
          "[raft][sim][network]") {
  Fixture fixture({});
  fixture.Send(1, 2, 1);
  fixture.world.After(absl::Microseconds(1), [&] {
    fixture.world.Spend(absl::Seconds(1));
    fixture.Send(1, 2, 2);  // leaves in one second
  });
  fixture.world.After(absl::Microseconds(2), [&] { fixture.network.Detach(1); });
  fixture.At(3).alive = false;
  fixture.Send(3, 2, 3);

  fixture.Run();

  CHECK(fixture.Received(2) == std::vector<Index>{1});
}

TEST_CASE("A snapshot is in the receiver's store before its message arrives",
          "[raft][sim][network]") {
  Fixture fixture({});
  fixture.MakeSnapshot(1, 7);
  fixture.SendSnapshot(1, 2, 7);

  fixture.Run();

  REQUIRE(fixture.At(2).sink.received.size() == 1);
  CHECK(fixture.At(2).sink.received[0].type == MessageType::kSnap);
  fixture.At(2).disk.PowerLoss();
  KEELSON_REQUIRE_OK(fixture.At(2).snapshots->OpenSnapshot(7, 1).status());
  CHECK(fixture.At(1).sink.snapshots == std::vector<std::pair<NodeId, bool>>{{2, true}});
}

TEST_CASE("A snapshot that cannot be delivered is reported, whatever the reason",
          "[raft][sim][network]") {
  SimNetwork::Faults faults;
  SECTION("chance") {
    faults.snapshot_failure = 1;
    Fixture fixture(faults);
    fixture.MakeSnapshot(1, 7);
    fixture.SendSnapshot(1, 2, 7);
    fixture.Run();
    CHECK(fixture.At(1).sink.snapshots == std::vector<std::pair<NodeId, bool>>{{2, false}});
    CHECK(fixture.At(2).sink.received.empty());
  }
  Fixture fixture(faults);
  SECTION("it is not in the sender's store") { fixture.SendSnapshot(1, 2, 7); }
  SECTION("the link is cut") {
    fixture.MakeSnapshot(1, 7);
    fixture.network.SetLink(1, 2, false);
    fixture.SendSnapshot(1, 2, 7);
  }
  SECTION("the receiver's disk is full") {
    fixture.MakeSnapshot(1, 7);
    fixture.At(2).disk.SetCapacity(1);
    fixture.SendSnapshot(1, 2, 7);
  }
  SECTION("the receiver dies while it waits to be stored") {
    fixture.MakeSnapshot(1, 7);
    fixture.At(2).background.PauseUntil(absl::Seconds(1));
    fixture.SendSnapshot(1, 2, 7);
    fixture.world.After(absl::Milliseconds(500), [&] {
      fixture.At(2).background.Kill();
      fixture.network.Detach(2);
    });
  }
  fixture.Run();
  if (fixture.network.counters().sent > 0) {
    CHECK(fixture.At(1).sink.snapshots == std::vector<std::pair<NodeId, bool>>{{2, false}});
    CHECK(fixture.At(2).sink.received.empty());
  }
}

TEST_CASE("The observer sees what leaves, the mutator changes what arrives",
          "[raft][sim][network]") {
  Fixture fixture({});
  std::vector<Index> seen;
  fixture.network.OnSend([&](const Message& message) { seen.push_back(message.index); });
  fixture.network.SetMutator([](Message& message) { message.index += 10; });
  fixture.Send(1, 2, 1);

  fixture.Run();

  CHECK(seen == std::vector<Index>{1});
  CHECK(fixture.Received(2) == std::vector<Index>{11});
}

}  // namespace
}  // namespace keelson::raft::sim
