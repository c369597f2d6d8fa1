// Snapshots between hosts of many groups: each group has a store of its own at both ends.
#include <catch2/catch.hpp>

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/snapshot_store.h"
#include "raft/transport/peer_transport.h"

namespace keelson::raft {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);  // Never waited out.

class GroupSink final : public MessageSink {
 public:
  using Report = std::tuple<GroupId, NodeId, bool>;

  void Receive(std::vector<Message> messages) override {
    absl::MutexLock lock(&mu_);
    for (const Message& message : messages) groups_.push_back(message.group);
  }
  void ReportUnreachable(NodeId /*peer*/) override {}
  void ReportSnapshot(NodeId /*peer*/, bool /*ok*/) override { FAIL("a report without a group"); }
  void ReportGroupSnapshot(GroupId group, NodeId peer, bool ok) override {
    absl::MutexLock lock(&mu_);
    reports_.emplace_back(group, peer, ok);
  }

  Report WaitForReport() {
    absl::MutexLock lock(&mu_);
    const auto some = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !reports_.empty(); };
    REQUIRE(mu_.AwaitWithTimeout(absl::Condition(&some), kPatience));
    Report first = reports_.front();
    reports_.erase(reports_.begin());
    return first;
  }
  std::vector<GroupId> groups() {
    absl::MutexLock lock(&mu_);
    return groups_;
  }

 private:
  absl::Mutex mu_;
  std::vector<GroupId> groups_ ABSL_GUARDED_BY(mu_);
  std::vector<Report> reports_ ABSL_GUARDED_BY(mu_);
};

struct End {
  explicit End(NodeId node) : id(node) {}

  void AddStore(GroupId group) {
    KEELSON_ASSIGN_OR_FAIL(auto store, SnapshotStore::Open(fs, std::to_string(group)));
    stores[group] = std::move(store);
  }
  void Start(std::map<NodeId, std::string> peers) {
    KEELSON_ASSIGN_OR_FAIL(
        transport, PeerTransport::Create({.self = id,
                                          .cluster_id = 7,
                                          .listen_address = "127.0.0.1:0",
                                          .peers = std::move(peers),
                                          .snapshots_of = [this](GroupId group) {
                                            const auto found = stores.find(group);
                                            return found == stores.end() ? nullptr : found->second;
                                          }}));
    KEELSON_REQUIRE_OK(transport->Start(sink));
  }

  const NodeId id;
  SimFileSystem fs{Random(id), {}};
  std::map<GroupId, std::shared_ptr<SnapshotStore>> stores;
  GroupSink sink;
  std::unique_ptr<PeerTransport> transport;
};

Message MakeSnap(GroupId group) {
  Message message;
  message.type = MessageType::kSnap;
  message.from = 1;
  message.to = 2;
  message.term = 3;
  message.group = group;
  message.snapshot =
      Snapshot{.metadata = {.index = 9, .term = 3, .conf_state = {.voters = {1, 2}}}, .data = {}};
  return message;
}

}  // namespace

TEST_CASE("A snapshot goes from the store of its group to that of the same group",
          "[raft][transport][snapshot]") {
  End a(1);
  End b(2);
  for (const GroupId group : {5, 6}) {
    a.AddStore(group);
    b.AddStore(group);
    KEELSON_ASSIGN_OR_FAIL(const auto writer,
                           a.stores[group]->Create(MakeSnap(group).snapshot->metadata));
    KEELSON_REQUIRE_OK(writer->Append("state of " + std::to_string(group)));
    KEELSON_REQUIRE_OK(writer->Commit());
  }
  a.AddStore(8);
  b.Start({});
  a.Start({{2, "127.0.0.1:" + std::to_string(b.transport->port())}});

  // Index and term are the same: only the group tells them apart.
  for (const GroupId group : {5, 6}) {
    a.transport->Send({MakeSnap(group)});
    CHECK(a.sink.WaitForReport() == GroupSink::Report{group, 2, true});
    KEELSON_ASSIGN_OR_FAIL(const auto reader, b.stores[group]->OpenSnapshot(9, 3));
    KEELSON_ASSIGN_OR_FAIL(const std::string chunk, reader->Next());
    CHECK(chunk == "state of " + std::to_string(group));
  }
  CHECK(b.sink.groups() == std::vector<GroupId>{5, 6});

  // Neither here, nor without a snapshot, nor unknown there.
  for (const GroupId group : {7, 8}) {
    a.transport->Send({MakeSnap(group)});
    CHECK(a.sink.WaitForReport() == GroupSink::Report{group, 2, false});
  }
  b.stores.erase(6);
  a.transport->Send({MakeSnap(6)});
  CHECK(a.sink.WaitForReport() == GroupSink::Report{6, 2, false});
  a.transport->Stop();
  b.transport->Stop();
}

}  // namespace keelson::raft
