// What the parts of the transport share: the sink, counters, troubles, the loop, executors,
// and the count of what is still alive.
#ifndef KEELSON_RAFT_TRANSPORT_INTERNAL_HUB_H_
#define KEELSON_RAFT_TRANSPORT_INTERNAL_HUB_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "base/event_loop.h"
#include "base/executor.h"
#include "base/net/resolver.h"
#include "base/tls.h"
#include "raft/transport.h"
#include "raft/transport/peer_transport.h"

namespace keelson::raft::transport {

// Counters of one peer; see PeerTransport::PeerStats.
struct PeerCounters {
  std::atomic<bool> connected{false};
  std::atomic<uint64_t> sent_bytes{0};
  std::atomic<uint64_t> sent_messages{0};
  std::atomic<uint64_t> sent_batches{0};
  std::atomic<uint64_t> dropped_messages{0};
  std::atomic<uint64_t> received_bytes{0};
  std::atomic<uint64_t> received_messages{0};
  std::atomic<uint64_t> snapshots_sent{0};
  std::atomic<uint64_t> snapshots_failed{0};
  std::atomic<uint64_t> snapshots_received{0};
  std::atomic<uint64_t> snapshots_resumed{0};
  std::atomic<int64_t> round_trip_nanos{0};
};

// Null: plain text.
struct TlsContexts {
  std::shared_ptr<const TlsServerContext> server;
  std::shared_ptr<const TlsClientContext> client;
};

// Thread-safe.
class Hub {
 public:
  Hub(PeerTransport::Options options, TlsContexts tls);

  [[nodiscard]] const PeerTransport::Options& options() const { return options_; }

  [[nodiscard]] bool stores_snapshots() const {
    return options_.snapshots != nullptr || options_.snapshots_of != nullptr;
  }
  // The snapshots of `group`; null if there are none.
  [[nodiscard]] std::shared_ptr<SnapshotStore> SnapshotsOf(GroupId group) const {
    if (options_.snapshots_of) return options_.snapshots_of(group);
    // Not owned.
    return {std::shared_ptr<SnapshotStore>(), options_.snapshots};
  }

  [[nodiscard]] const TlsContexts& tls() const { return tls_; }
  // Where the sockets are.
  EventLoop& loop() { return *loop_; }
  net::Resolver& resolver() { return resolver_; }
  // Blocking reads and writes of snapshots.
  Executor& disk() { return disk_; }

  // While one exists, Close waits: whoever calls the sink holds one.
  class Pass {
   public:
    Pass() = default;
    explicit Pass(Hub* hub) : hub_(hub) {}
    Pass(Pass&& other) noexcept : hub_(std::exchange(other.hub_, nullptr)) {}
    Pass& operator=(Pass&& other) noexcept {
      std::swap(hub_, other.hub_);
      return *this;
    }
    ~Pass() {
      if (hub_ != nullptr) hub_->Leave();
    }
    explicit operator bool() const { return hub_ != nullptr; }

   private:
    Hub* hub_ = nullptr;
  };

  void Open(MessageSink& sink) ABSL_LOCKS_EXCLUDED(mu_);
  // An empty pass before Open and after Close.
  Pass Enter() ABSL_LOCKS_EXCLUDED(mu_);
  // From now on Enter fails. Close, then cancel what has a pass, then WaitUntilEmpty.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);
  void WaitUntilEmpty() ABSL_LOCKS_EXCLUDED(mu_);
  void StopExecutors();

  // Only with a pass.
  MessageSink& sink() { return *sink_.load(std::memory_order_acquire); }

  // Counters of `peer`, made when first asked for. The number of peers is bounded: ids come
  // from the network. All beyond share one set.
  std::shared_ptr<PeerCounters> Counters(NodeId peer) ABSL_LOCKS_EXCLUDED(mu_);
  std::map<NodeId, std::shared_ptr<PeerCounters>> AllCounters() const ABSL_LOCKS_EXCLUDED(mu_);

  // Tells Options::on_trouble, once for each text until IsWell.
  void Trouble(NodeId peer, const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  void IsWell(NodeId peer) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Leave() ABSL_LOCKS_EXCLUDED(mu_);
  bool Empty() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return passes_ == 0; }

  const PeerTransport::Options options_;
  const TlsContexts tls_;
  std::atomic<MessageSink*> sink_{nullptr};
  mutable absl::Mutex mu_;
  bool open_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t passes_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<NodeId, std::shared_ptr<PeerCounters>> counters_ ABSL_GUARDED_BY(mu_);
  std::map<NodeId, std::set<std::string>> troubles_ ABSL_GUARDED_BY(mu_);
  net::Resolver resolver_;
  std::unique_ptr<EventLoop> own_loop_;
  EventLoop* loop_;
  ThreadExecutor disk_{"raft-snapshot"};
};

}  // namespace keelson::raft::transport

#endif  // KEELSON_RAFT_TRANSPORT_INTERNAL_HUB_H_
