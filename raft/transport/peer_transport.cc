#include "raft/transport/peer_transport.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/rpc/listener.h"
#include "base/rpc/server.h"
#include "base/status.h"
#include "raft/transport/internal/caller.h"
#include "raft/transport/internal/hub.h"
#include "raft/transport/internal/lane.h"
#include "raft/transport/internal/service.h"
#include "raft/transport/internal/snapshot_sender.h"

namespace keelson::raft {
namespace {

using transport::Hub;
using transport::Lane;
using transport::LaneKind;
using transport::SnapshotSender;

// Snapshots to one peer: one at a time.
class SnapshotSlot : public std::enable_shared_from_this<SnapshotSlot> {
 public:
  SnapshotSlot(Hub& hub, NodeId peer, std::string address)
      : hub_(hub), peer_(peer), address_(std::move(address)) {}

  // Needs a pass of the hub.
  void Send(Message message) ABSL_LOCKS_EXCLUDED(mu_) {
    const Index index = message.snapshot.has_value() ? message.snapshot->metadata.index : 0;
    const GroupId group = message.group;
    {
      absl::MutexLock lock(&mu_);
      // Asked again for what is on its way: its outcome will be the answer.
      if (sending_ == index && sending_group_ == group && index != 0) return;
      if (sending_ == 0 && index != 0 && !stopped_) {
        sending_ = index;
        sending_group_ = group;
        sender_ =
            SnapshotSender::Start(hub_, address_, std::move(message),
                                  /*resume=*/index == failed_ && group == failed_group_,
                                  [self = shared_from_this(), group](const absl::Status& status) {
                                    self->Done(group, status);
                                  });
        return;
      }
    }
    hub_.sink().ReportGroupSnapshot(group, peer_, false);
  }

  void Stop() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    stopped_ = true;
    if (const auto sender = sender_.lock()) sender->Cancel();
  }

 private:
  void Done(GroupId group, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_) {
    {
      absl::MutexLock lock(&mu_);
      failed_ = status.ok() ? 0 : sending_;
      failed_group_ = sending_group_;
      sending_ = 0;
    }
    const auto counters = hub_.Counters(peer_);
    (status.ok() ? counters->snapshots_sent : counters->snapshots_failed)
        .fetch_add(1, std::memory_order_relaxed);
    if (!status.ok()) {
      hub_.Trouble(peer_, Annotate(status, absl::StrCat("snapshot to node ", absl::Hex(peer_))));
    }
    hub_.sink().ReportGroupSnapshot(group, peer_, status.ok());
  }

  Hub& hub_;
  const NodeId peer_;
  const std::string address_;
  absl::Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  Index sending_ ABSL_GUARDED_BY(mu_) = 0;  // of the snapshot under way; 0: none
  GroupId sending_group_ ABSL_GUARDED_BY(mu_) = 0;
  Index failed_ ABSL_GUARDED_BY(mu_) = 0;  // of the last one, if it failed
  GroupId failed_group_ ABSL_GUARDED_BY(mu_) = 0;
  std::weak_ptr<SnapshotSender> sender_ ABSL_GUARDED_BY(mu_);
};

struct Peer {
  Peer(Hub& hub, NodeId id, const std::string& address)
      : urgent(std::make_shared<Lane>(hub, id, LaneKind::kUrgent, address)),
        bulk(std::make_shared<Lane>(hub, id, LaneKind::kBulk, address)),
        snapshots(std::make_shared<SnapshotSlot>(hub, id, address)) {}

  void Start() const {
    urgent->Start();
    bulk->Start();
  }
  void Stop() const {
    urgent->Stop();
    bulk->Stop();
    snapshots->Stop();
  }

  const std::shared_ptr<Lane> urgent;
  const std::shared_ptr<Lane> bulk;
  const std::shared_ptr<SnapshotSlot> snapshots;
};

absl::Status CheckPeer(NodeId self, NodeId id, const std::string& address) {
  if (id == kNoNode || id >= kApplyThread || id == self) {
    return absl::InvalidArgumentError(absl::StrCat("peer id ", absl::Hex(id), " is not possible"));
  }
  if (address.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("peer ", absl::Hex(id), " has no address"));
  }
  return absl::OkStatus();
}

}  // namespace

class PeerTransport::Impl {
 public:
  Impl(Options options, transport::TlsContexts tls)
      : hub_(std::move(options), std::move(tls)), service_(hub_) {
    for (const auto& [id, address] : hub_.options().peers) AddPeer(id, address);
  }

  void RegisterOn(rpc::Server& server) { service_.RegisterOn(server); }

  absl::Status Start(MessageSink& sink) ABSL_LOCKS_EXCLUDED(mu_) {
    {
      absl::MutexLock lock(&mu_);
      if (state_ != State::kNew) return absl::FailedPreconditionError("transport started before");
      state_ = State::kRunning;
    }
    hub_.Open(sink);
    if (!hub_.options().listen_address.empty()) {
      if (absl::Status listening = Listen(); !listening.ok()) {
        Stop();
        return listening;
      }
    }
    // Peers added from now on are started by AddPeer, too; the second start does nothing.
    for (const auto& peer : Peers()) peer->Start();
    return absl::OkStatus();
  }

  void Stop() ABSL_LOCKS_EXCLUDED(mu_) {
    {
      absl::MutexLock lock(&mu_);
      if (state_ == State::kStopped) return;
      state_ = State::kStopped;
    }
    hub_.Close();
    for (const auto& peer : Peers()) peer->Stop();
    service_.EndAll();
    listener_.reset();
    if (server_ != nullptr) server_->Stop(absl::ZeroDuration());
    hub_.WaitUntilEmpty();
    hub_.StopExecutors();
  }

  [[nodiscard]] int port() const { return port_.load(std::memory_order_relaxed); }

  void AddPeer(NodeId id, const std::string& address) ABSL_LOCKS_EXCLUDED(mu_) {
    if (!CheckPeer(hub_.options().self, id, address).ok()) return;
    const auto peer = std::make_shared<Peer>(hub_, id, address);
    std::shared_ptr<Peer> old;
    bool running = false;
    {
      absl::MutexLock lock(&mu_);
      if (state_ == State::kStopped) return;
      running = state_ == State::kRunning;
      old = std::exchange(peers_[id], peer);
    }
    if (old != nullptr) old->Stop();
    if (running) peer->Start();
  }

  void RemovePeer(NodeId id) ABSL_LOCKS_EXCLUDED(mu_) {
    std::shared_ptr<Peer> old;
    {
      absl::MutexLock lock(&mu_);
      const auto found = peers_.find(id);
      if (found == peers_.end()) return;
      old = std::move(found->second);
      peers_.erase(found);
    }
    old->Stop();
  }

  void Send(std::vector<Message> messages) ABSL_LOCKS_EXCLUDED(mu_);
  std::vector<PeerStats> GetStats() const;

 private:
  enum class State : uint8_t { kNew, kRunning, kStopped };

  absl::Status Listen() {
    const Options& options = hub_.options();
    server_ = rpc::Server::Create(transport::OwnServerOptions(hub_));
    service_.RegisterOn(*server_);
    server_->Start();
    absl::StatusOr<std::unique_ptr<rpc::Listener>> listener =
        rpc::Listener::Open(hub_.loop(), *server_, options.listen_address, options.tls.has_value());
    if (!listener.ok()) {
      return absl::UnavailableError(absl::StrCat("cannot listen for peers on '",
                                                 options.listen_address,
                                                 "': ", listener.status().message()));
    }
    listener_ = *std::move(listener);
    port_.store(listener_->port(), std::memory_order_relaxed);
    return absl::OkStatus();
  }

  std::vector<std::shared_ptr<Peer>> Peers() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    std::vector<std::shared_ptr<Peer>> peers;
    for (const auto& [id, peer] : peers_) peers.push_back(peer);
    return peers;
  }

  std::shared_ptr<Peer> Find(NodeId id) const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::ReaderMutexLock lock(&mu_);
    const auto found = peers_.find(id);
    return found == peers_.end() ? nullptr : found->second;
  }

  Hub hub_;
  transport::RaftService service_;
  std::unique_ptr<rpc::Server> server_;  // goes before the service
  std::unique_ptr<rpc::Listener> listener_;
  std::atomic<int> port_{0};
  mutable absl::Mutex mu_;
  State state_ ABSL_GUARDED_BY(mu_) = State::kNew;
  std::map<NodeId, std::shared_ptr<Peer>> peers_ ABSL_GUARDED_BY(mu_);
};

void PeerTransport::Impl::Send(std::vector<Message> messages) {
  const Hub::Pass pass = hub_.Enter();
  if (!pass) return;
  std::vector<std::shared_ptr<Lane>> touched;
  std::vector<NodeId> unreachable;
  const auto add = [](auto& to, const auto& value) {
    if (std::find(to.begin(), to.end(), value) == to.end()) to.push_back(value);
  };
  NodeId last = kNoNode;
  std::shared_ptr<Peer> peer;
  for (Message& message : messages) {
    const NodeId to = message.to;
    if (to != last) peer = Find(to);
    last = to;
    if (message.type == MessageType::kSnap) {
      if (peer != nullptr) {
        peer->snapshots->Send(std::move(message));
      } else {
        hub_.sink().ReportGroupSnapshot(message.group, to, false);
      }
      continue;
    }
    if (peer == nullptr) {
      add(unreachable, to);
      continue;
    }
    const auto& lane = transport::LaneOf(message) == LaneKind::kBulk ? peer->bulk : peer->urgent;
    if (lane->Enqueue(std::move(message))) {
      add(touched, lane);
    } else {
      add(unreachable, to);
    }
  }
  for (const auto& lane : touched) lane->Pump();
  for (const NodeId id : unreachable) hub_.sink().ReportUnreachable(id);
}

std::vector<PeerTransport::PeerStats> PeerTransport::Impl::GetStats() const {
  std::vector<PeerStats> stats;
  for (const auto& [id, c] : hub_.AllCounters()) {
    stats.push_back({.id = id,
                     .connected = c->connected,
                     .sent_bytes = c->sent_bytes,
                     .sent_messages = c->sent_messages,
                     .sent_batches = c->sent_batches,
                     .dropped_messages = c->dropped_messages,
                     .received_bytes = c->received_bytes,
                     .received_messages = c->received_messages,
                     .snapshots_sent = c->snapshots_sent,
                     .snapshots_failed = c->snapshots_failed,
                     .snapshots_received = c->snapshots_received,
                     .snapshots_resumed = c->snapshots_resumed,
                     .round_trip = absl::Nanoseconds(c->round_trip_nanos.load())});
  }
  return stats;
}

absl::StatusOr<std::unique_ptr<PeerTransport>> PeerTransport::Create(Options options) {
  if (options.self == kNoNode || options.self >= kApplyThread) {
    return absl::InvalidArgumentError(
        absl::StrCat("node id ", absl::Hex(options.self), " is not possible"));
  }
  for (const auto& [id, address] : options.peers) {
    KEELSON_RETURN_IF_ERROR(CheckPeer(options.self, id, address));
  }
  if (options.max_queued_messages == 0 || options.max_batch_bytes == 0 ||
      options.max_receive_bytes == 0 ||
      options.max_receive_bytes > size_t{std::numeric_limits<int>::max()} ||
      options.snapshot_stall_timeout <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("a limit of the transport is not possible");
  }
  KEELSON_ASSIGN_OR_RETURN(transport::TlsContexts tls, transport::MakeTlsContexts(options));
  return std::unique_ptr<PeerTransport>(
      new PeerTransport(std::make_unique<Impl>(std::move(options), std::move(tls))));
}

PeerTransport::PeerTransport(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PeerTransport::~PeerTransport() { Stop(); }
void PeerTransport::RegisterOn(rpc::Server& server) { impl_->RegisterOn(server); }
absl::Status PeerTransport::Start(MessageSink& sink) { return impl_->Start(sink); }
void PeerTransport::Stop() { impl_->Stop(); }
int PeerTransport::port() const { return impl_->port(); }
void PeerTransport::AddPeer(NodeId id, const std::string& address) { impl_->AddPeer(id, address); }
void PeerTransport::RemovePeer(NodeId id) { impl_->RemovePeer(id); }
void PeerTransport::Send(std::vector<Message> messages) { impl_->Send(std::move(messages)); }
std::vector<PeerTransport::PeerStats> PeerTransport::GetStats() const { return impl_->GetStats(); }

}  // namespace keelson::raft
