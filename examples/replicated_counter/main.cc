// A counter that survives the loss of a member: the smallest whole program around raft/.
//
//   replicated_counter --id=1 --data=/tmp/c1 --peers=1=127.0.0.1:7001,2=127.0.0.1:7002,3=127.0.0.1:7003
//
// Start one for each peer, then type `add 5` or `get` into any of them.
#include <CLI/CLI.hpp>
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/clock.h"
#include "base/event_loop.h"
#include "base/executor.h"
#include "base/file_system.h"
#include "base/status.h"
#include "raft/member_storage.h"
#include "raft/node.h"
#include "raft/transport/peer_transport.h"

namespace {

using namespace keelson;        // NOLINT: an example
using namespace keelson::raft;  // NOLINT

// The application: a sum. An entry is "TICKET AMOUNT"; who proposed it knows it by its ticket.
// The file holds "index term value". The membership never changes here.
class Counter final : public StateMachine {
 public:
  Counter(std::string path, ConfState members) : path_(std::move(path)) {
    at_.conf_state = std::move(members);
    if (const auto text = ReadFile(RealFileSystem(), path_, 100); text.ok()) Parse(*text);
  }

  SnapshotMetadata Applied() override { return at_; }

  absl::Status Apply(std::span<const Entry> entries, const SnapshotMetadata& after) override {
    absl::MutexLock lock(&mu_);
    for (const Entry& entry : entries) {
      uint64_t ticket = 0;  // A leader's first entry is empty, and adds nothing.
      int64_t amount = 0;
      std::istringstream(std::string(entry.data.view())) >> ticket >> amount;
      value_ += amount;
      if (ticket == awaited_) awaited_ = 0;
    }
    at_ = after;
    return absl::OkStatus();
  }

  absl::Status Flush() override { return WriteFileAtomically(RealFileSystem(), path_, Text()); }

  absl::StatusOr<std::unique_ptr<StateCapture>> Capture() override {
    struct Captured final : StateCapture {
      SnapshotMetadata at;
      std::string text;
      const SnapshotMetadata& metadata() const override { return at; }
      absl::Status WriteTo(SnapshotWriter& writer) override { return writer.Append(text); }
    };
    auto captured = std::make_unique<Captured>();
    captured->at = at_;
    captured->text = Text();
    return captured;
  }

  absl::Status Restore(SnapshotReader& reader, const SnapshotMetadata& metadata) override {
    std::string text;
    while (true) {
      KEELSON_ASSIGN_OR_RETURN(const std::string chunk, reader.Next());
      if (chunk.empty()) break;
      text += chunk;
    }
    Parse(text);
    at_ = metadata;
    return Flush();
  }

  int64_t value() const {
    absl::MutexLock lock(&mu_);
    return value_;
  }
  void Expect(uint64_t ticket) {
    absl::MutexLock lock(&mu_);
    awaited_ = ticket;
  }
  // Waits until the expected entry has been applied. It may still be, after a time-out.
  bool Await(absl::Duration timeout) {
    absl::MutexLock lock(&mu_);
    return mu_.AwaitWithTimeout(absl::Condition(
                                    +[](uint64_t* ticket) { return *ticket == 0; }, &awaited_),
                                timeout);
  }

 private:
  std::string Text() const { return absl::StrCat(at_.index, " ", at_.term, " ", value()); }
  void Parse(const std::string& text) {
    absl::MutexLock lock(&mu_);
    std::istringstream(text) >> at_.index >> at_.term >> value_;
  }

  const std::string path_;
  SnapshotMetadata at_;  // of the apply executor
  mutable absl::Mutex mu_;
  int64_t value_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t awaited_ ABSL_GUARDED_BY(mu_) = 0;  // A ticket; 0: none, or its entry has come.
};

std::string Add(Node& node, Counter& counter, uint64_t ticket, const std::string& amount) {
  counter.Expect(ticket);
  node.Propose(Payload(absl::StrCat(ticket, " ", amount)), nullptr);
  return counter.Await(absl::Seconds(5)) ? absl::StrCat(counter.value()) : "no answer in time";
}

// A linearizable read.
std::string Get(Node& node, const Counter& counter) {
  absl::Notification done;
  absl::Status status;
  node.ReadBarrier(absl::Seconds(5), [&](absl::Status result) {
    status = std::move(result);
    done.Notify();
  });
  done.WaitForNotification();
  return status.ok() ? absl::StrCat(counter.value()) : status.ToString();
}

absl::Status Run(NodeId id, const std::string& data, std::map<NodeId, std::string> peers) {
  FileSystem& fs = RealFileSystem();
  KEELSON_RETURN_IF_ERROR(fs.CreateDirectories(data));
  ConfState members;
  for (const auto& [peer, address] : peers) members.voters.push_back(peer);
  Counter counter(data + "/counter", members);

  MemberStorageOptions files{.wal_dir = data + "/wal", .snapshot_dir = data + "/snapshots"};
  files.identity = {.cluster_id = 0xc0, .node_id = id};
  files.random = Random(Random::SeedFromSystem());
  KEELSON_ASSIGN_OR_RETURN(MemberStorage storage, OpenMemberStorage(fs, files, counter.Applied()));
  if (storage.loss) std::cerr << "recovering from a loss: " << storage.loss->what << std::endl;

  std::unique_ptr<Node> node;  // Goes after its executors.
  EventLoop loop("loop");      // The node's and the network's: an answer needs no other thread.
  ThreadExecutor append("append");
  ThreadExecutor apply("apply");
  ThreadExecutor background("background");

  PeerTransport::Options network{.self = id, .cluster_id = files.identity.cluster_id};
  network.listen_address = peers[id];
  peers.erase(id);
  network.peers = std::move(peers);
  network.snapshots = storage.snapshots.get();
  network.loop = &loop;
  KEELSON_ASSIGN_OR_RETURN(const auto transport, PeerTransport::Create(network));

  Node::Options options;
  options.core.id = id;
  options.on_fatal = [](const absl::Status& status) {
    std::cerr << "cannot go on: " << status.ToString() << std::endl;
    std::_Exit(1);
  };
  KEELSON_ASSIGN_OR_RETURN(node, Node::Start(options,
                                             {.clock = &RealClock(),
                                              .loop = &loop,
                                              .append = &append,
                                              .apply = &apply,
                                              .background = &background,
                                              .transport = transport.get(),
                                              .wal = storage.wal.get(),
                                              .snapshots = storage.snapshots.get(),
                                              .machine = &counter,
                                              .random = Random(Random::SeedFromSystem())},
                                             std::move(storage.recovered)));
  KEELSON_RETURN_IF_ERROR(transport->Start(*node));

  Random tickets(Random::SeedFromSystem());
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << (line.starts_with("add ") ? Add(*node, counter, tickets() | 1, line.substr(4))
                                           : Get(*node, counter))
              << std::endl;
  }
  transport->Stop();
  node->Stop();
  loop.Stop();
  for (ThreadExecutor* executor : {&append, &apply, &background}) executor->Stop();
  return counter.Flush();
}

}  // namespace

int main(int argc, char** argv) {
  NodeId id = 0;
  std::string data;
  std::vector<std::string> list;
  CLI::App app("A counter replicated by Raft. Reads `add N` and `get` from standard input.");
  app.add_option("--id", id, "this member, one of --peers")->required();
  app.add_option("--data", data, "folder of this member")->required();
  app.add_option("--peers", list, "ID=HOST:PORT of all members")->required()->delimiter(',');
  CLI11_PARSE(app, argc, argv);

  std::map<NodeId, std::string> peers;
  for (const std::string& peer : list) {
    const size_t equals = peer.find('=');
    NodeId number = 0;
    if (equals == std::string::npos || !absl::SimpleAtoi(peer.substr(0, equals), &number)) {
      std::cerr << "--peers: '" << peer << "' is not ID=HOST:PORT" << std::endl;
      return 2;
    }
    peers[number] = peer.substr(equals + 1);
  }
  if (!peers.contains(id)) {
    std::cerr << "--id: " << id << " is not in --peers" << std::endl;
    return 2;
  }
  const absl::Status status = Run(id, data, peers);
  if (!status.ok()) std::cerr << status.ToString() << std::endl;
  return status.ok() ? 0 : 1;
}
