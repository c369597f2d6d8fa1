#include "kvstore/daemon/member.h"

#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "base/clock.h"
#include "base/event_loop.h"
#include "base/executor.h"
#include "base/http/router.h"
#include "base/logging.h"
#include "base/metrics.h"
#include "base/notify.h"
#include "base/rpc/server.h"
#include "base/status.h"
#include "base/version.h"
#include "kvstore/auth/jwt.h"
#include "kvstore/config/identity.h"
#include "kvstore/daemon/founders.h"
#include "kvstore/daemon/measured_wal.h"
#include "kvstore/daemon/member_identity.h"
#include "kvstore/daemon/member_tls.h"
#include "kvstore/daemon/ports.h"
#include "kvstore/daemon/storage.h"
#include "kvstore/server/grpc_services.h"
#include "kvstore/server/http_access.h"
#include "kvstore/server/http_endpoints.h"
#include "kvstore/server/json_gateway.h"
#include "kvstore/server/peer_endpoints.h"
#include "kvstore/server/peer_service.h"
#include "kvstore/server/server.h"
#include "kvstore/server/v2_endpoints.h"
#include "raft/transport/peer_transport.h"

namespace keelson::kvstore {
namespace {

constexpr absl::Duration kGrace = absl::Seconds(2);

// The threads of a member. Declared before what runs on them, stopped by hand.
struct Threads {
  EventLoop loop{"raft-loop"};  // And the members' port: what they say is acted upon there.
  ThreadExecutor append{"raft-append"};
  ThreadExecutor apply{"raft-apply"};
  ThreadExecutor background{"raft-snapshot"};
  ThreadExecutor flush{"raft-flush"};
  ThreadExecutor timers{"timers"};
  ThreadExecutor delivery{"watch-delivery"};
  ThreadExecutor catch_up{"watch-catch-up"};
  ThreadExecutor reader_1{"reader-1"};
  ThreadExecutor reader_2{"reader-2"};
  ThreadExecutor gateway{"json-gateway"};
  ThreadExecutor backups{"kv-backup"};

  void Stop() {
    loop.Stop();
    for (ThreadExecutor* thread : {&append, &apply, &background, &flush, &timers, &delivery,
                                   &catch_up, &reader_1, &reader_2, &gateway, &backups}) {
      thread->Stop();
    }
  }
};

constexpr absl::Duration kJoinTimeout = absl::Seconds(5);

// "host:port" of each member.
std::map<raft::NodeId, std::string> AddressesOf(
    const std::vector<Store::MemberAttributes>& members) {
  std::map<raft::NodeId, std::string> addresses;
  for (const Store::MemberAttributes& member : members) {
    if (member.peer_urls.empty()) continue;
    const absl::StatusOr<Url> url = ParseUrl(member.peer_urls.front());
    if (url.ok()) addresses[member.id] = url->HostPort();
  }
  return addresses;
}

absl::StatusOr<std::shared_ptr<const auth::Jwt>> MakeJwt(const Options& options) {
  KEELSON_ASSIGN_OR_RETURN(const auth::TokenSpec spec, auth::ParseTokenSpec(options.auth_token));
  for (const std::string& name : spec.ignored) {
    LogWarning("unknown option of --auth-token, ignoring", {{"option", name}});
  }
  if (!spec.jwt.has_value()) return nullptr;
  return auth::Jwt::Create(*spec.jwt);
}

Server::Options ServerOptionsOf(const Options& options) {
  const DataDir paths = DataDirAt(options.data_dir, options.wal_dir);
  Server::Options server;
  server.cluster_id = options.cluster_id;
  server.member_id = options.member_id;
  server.name = options.name;
  server.client_urls = Texts(options.advertise_client_urls);
  server.founders = FoundersOf(options);
  server.known_members = KnownMembersOf(options);
  server.strict_reconfig_check = options.strict_reconfig_check;
  server.max_learners = static_cast<uint32_t>(options.max_learners);
  server.election_timeout = options.election_timeout;
  server.max_txn_ops = options.max_txn_ops;
  server.max_request_bytes = options.max_request_bytes;
  server.watch_progress_interval = options.watch_progress_interval;
  server.bcrypt_cost = options.bcrypt_cost;
  server.auth_token_ttl = options.auth_token_ttl;
  server.user_requests_per_second = options.user_requests_per_second;
  server.client_cert_auth = options.client_cert_auth;
  server.version = options.etcd_version;
  if (options.strict_space_alarm) server.alarm_clears_after = absl::InfiniteDuration();
  server.space.directories = {paths.member, paths.wal};
  server.space.quota_bytes = options.quota_backend_bytes;
  server.compaction.keep_time = options.compaction_period;
  server.compaction.keep_revisions = options.compaction_keep_revisions;
  return server;
}

class MemberImpl final : public Member {
 public:
  MemberImpl(const Options& options, Hooks hooks) : options_(options), hooks_(std::move(hooks)) {}
  ~MemberImpl() override { Stop(); }

  absl::Status Init() {
    KEELSON_RETURN_IF_ERROR(CheckDataDir(RealFileSystem(), options_.data_dir));
    KEELSON_RETURN_IF_ERROR(BindPorts());
    KEELSON_RETURN_IF_ERROR(FindIdentity());
    KEELSON_ASSIGN_OR_RETURN(storage_, PrepareStorage(RealFileSystem(), options_));
    KEELSON_RETURN_IF_ERROR(MakeServer());
    if (storage_.wal == nullptr) {
      KEELSON_RETURN_IF_ERROR(OpenLog(RealFileSystem(), options_, machine_->Applied(), storage_));
      KEELSON_RETURN_IF_ERROR(RememberIdentity(RealFileSystem(), options_));
    }
    TellWhatWasFound();
    KEELSON_RETURN_IF_ERROR(StartRaft());
    return Serve();
  }

  void Stop() override;

  void RegisterServices(rpc::Server* rpc, MetricRegistry* metrics) override {
    RegisterGrpcServices(rpc, server_.get(), metrics);
  }

  [[nodiscard]] std::vector<std::string> client_addresses() const override {
    return client_ports_->addresses();
  }

 private:
  absl::Status BindPorts();
  absl::Status FindIdentity();
  void TellWhatWasFound() const;
  absl::Status MakeServer();
  absl::Status MakeTransport();
  absl::Status StartRaft();
  absl::Status Serve();
  void OnRoleChange(const raft::SoftState& state, raft::Term term);
  void SetPeers(const std::vector<Store::MemberAttributes>& peers) ABSL_LOCKS_EXCLUDED(peers_mu_);
  [[nodiscard]] std::vector<raft::NodeId> ConnectedPeers() const;
  [[nodiscard]] std::vector<PeerTraffic> Traffic() const;
  void RegisterPeerMetrics(raft::NodeId id);
  void RegisterRaftMetrics();
  void HandOverLeadership();

  Options options_;  // constant after FindIdentity
  const Hooks hooks_;
  MetricRegistry metrics_;
  Threads threads_;
  bool stopped_ = false;
  bool serving_ = false;

  MemberTls tls_;
  bool peers_use_tls_ = false;
  PeerDialing dialing_;  // constant after FindIdentity
  Storage storage_;
  std::unique_ptr<MeasuredWal> wal_;
  std::unique_ptr<NetworkPeerCalls> peer_calls_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<StateMachine> machine_;
  std::unique_ptr<raft::PeerTransport> transport_;
  std::unique_ptr<PeerService> peer_service_;
  std::unique_ptr<raft::Node> node_;
  http::Router router_;
  std::unique_ptr<Ports> peer_ports_;
  std::unique_ptr<Ports> client_ports_;
  std::unique_ptr<Ports> client_http_ports_;
  std::unique_ptr<Ports> metrics_ports_;
  absl::Mutex peers_mu_;
  std::map<raft::NodeId, std::string> peers_ ABSL_GUARDED_BY(peers_mu_);  // "host:port"
  std::set<raft::NodeId> measured_peers_ ABSL_GUARDED_BY(peers_mu_);
  // Touched by the raft loop only.
  raft::Role last_role_ = raft::Role::kFollower;
  raft::NodeId last_leader_ = raft::kNoNode;
  uint64_t last_stalls_ = 0;
};

absl::Status MemberImpl::BindPorts() {
  KEELSON_ASSIGN_OR_RETURN(tls_, LoadMemberTls(RealFileSystem(), options_));
  KEELSON_ASSIGN_OR_RETURN(client_ports_, Ports::Bind(options_.listen_client_urls, tls_.client));
  KEELSON_ASSIGN_OR_RETURN(client_http_ports_,
                           Ports::Bind(options_.listen_client_http_urls, tls_.client));
  KEELSON_ASSIGN_OR_RETURN(peer_ports_, Ports::Bind(options_.listen_peer_urls, tls_.peer));
  KEELSON_ASSIGN_OR_RETURN(metrics_ports_, Ports::Bind(options_.listen_metrics_urls, tls_.client));
  return absl::OkStatus();
}

void MemberImpl::TellWhatWasFound() const {
  if (storage_.recovered.torn_bytes > 0) {
    LogWarning("cut a torn record off the log",
               {{"bytes", storage_.recovered.torn_bytes}, {"dir", storage_.paths.wal}});
  }
  if (storage_.loss.has_value()) {
    LogError("durable data was damaged or lost, recovering from the other members",
             {{"what", storage_.loss->what},
              {"kept_to_entry", storage_.loss->kept},
              {"known_to_entry", storage_.loss->known},
              {"incarnation", FormatId(storage_.loss->incarnation)}});
  } else if (storage_.recovered.hard_state.recovering) {
    LogWarning("going on recovering from a loss of data",
               {{"incarnation", FormatId(storage_.recovered.hard_state.incarnation)}});
  }
  for (const std::string& file : storage_.recovered.moved_aside) {
    LogWarning("moved a damaged log file aside", {{"file", file}});
  }
}

absl::Status MemberImpl::FindIdentity() {
  peers_use_tls_ = options_.advertise_peer_urls.front().tls();
  dialing_.loop = &threads_.loop;
  if (peers_use_tls_) {
    KEELSON_ASSIGN_OR_RETURN(dialing_.tls, tls_.MakeCallerContext());
  }
  KEELSON_RETURN_IF_ERROR(LearnFounders(RealFileSystem(), options_));
  KEELSON_RETURN_IF_ERROR(ResolveIdentity(
      RealFileSystem(),
      [this](const std::string& address) {
        return DescribeClusterAt(address, dialing_, kJoinTimeout);
      },
      options_));
  LogInfo("this is a member of a cluster", {{"member_id", FormatId(options_.member_id)},
                                            {"cluster_id", FormatId(options_.cluster_id)}});
  return absl::OkStatus();
}

absl::Status MemberImpl::MakeServer() {
  peer_calls_ = MakeNetworkPeerCalls(options_.cluster_id, dialing_);
  Server::Options server_options = ServerOptionsOf(options_);
  absl::StatusOr<std::shared_ptr<const auth::Jwt>> jwt = MakeJwt(options_);
  if (!jwt.ok()) return Annotate(jwt.status(), "--auth-token");
  server_options.jwt = *std::move(jwt);
  server_ = std::make_unique<Server>(
      server_options, Server::Env{.clock = &RealClock(),
                                  .file_system = &RealFileSystem(),
                                  .timers = &threads_.timers,
                                  .delivery = &threads_.delivery,
                                  .catch_up = &threads_.catch_up,
                                  .readers = {&threads_.reader_1, &threads_.reader_2},
                                  .backups = &threads_.backups,
                                  .forwarder = peer_calls_.get(),
                                  .peers = peer_calls_.get(),
                                  .random = Random(Random::SeedFromSystem())});
  server_->SetPublished(hooks_.on_ready);
  server_->SetMemberHooks({.connected = [this] { return ConnectedPeers(); },
                           .traffic = [this] { return Traffic(); },
                           .on_peers = [this](const auto& peers) { SetPeers(peers); },
                           .on_removed = hooks_.on_removed});

  StateMachine::Options machine;
  machine.directory = storage_.paths.database;
  machine.max_txn_ops = options_.max_txn_ops;
  machine.initial_conf_state = storage_.founders;
  machine.initial_members = FoundersOf(options_);
  machine.on_stall = [this](const absl::Status& status) {
    if (status.ok()) {
      LogInfo("disk has space again");
    } else {
      LogError("disk is full, waiting for space", {{"err", status}});
    }
    server_->OnStall(status);
  };
  KEELSON_ASSIGN_OR_RETURN(machine_, StateMachine::Open(machine, server_.get()));
  server_->SetStore(&machine_->store());
  RegisterServerMetrics(metrics_, server_.get());
  RegisterProcessMetrics(metrics_);
  return absl::OkStatus();
}

absl::Status MemberImpl::MakeTransport() {
  raft::PeerTransport::Options transport;
  transport.self = options_.member_id;
  transport.cluster_id = options_.cluster_id;
  transport.snapshots = storage_.snapshots.get();
  if (peers_use_tls_) {
    transport.tls = {.ca = tls_.peer_caller.ca_pem,
                     .certificate = tls_.peer_caller.cert_pem,
                     .key = tls_.peer_caller.key_pem,
                     .server_name = "",
                     .verify_peers = tls_.peer_caller.verify_peer,
                     .policy = tls_.called_policy};
  }
  transport.on_trouble = [](raft::NodeId peer, const absl::Status& status) {
    LogWarning("trouble with a peer, trying on", {{"peer", FormatId(peer)}, {"err", status}});
  };
  transport.loop = &threads_.loop;
  rpc::ServerOptions server;
  server.loops = {&threads_.loop};
  server.max_request_bytes = transport.max_receive_bytes;
  // Members ping each other to notice a cut connection.
  server.ping_interval_min = absl::Milliseconds(500);
  if (!tls_.peer.material.cert_pem.empty()) {
    KEELSON_ASSIGN_OR_RETURN(server.tls, tls_.peer.MakeContext(TlsProtocol::kHttp2));
  }
  KEELSON_ASSIGN_OR_RETURN(transport_, raft::PeerTransport::Create(std::move(transport)));
  peer_service_ = std::make_unique<PeerService>(server_.get(), options_.cluster_id);
  std::unique_ptr<rpc::Server> rpc = rpc::Server::Create(server);
  transport_->RegisterOn(*rpc);
  peer_service_->RegisterOn(*rpc);
  http::Router router;
  AddPeerEndpoints(router, server_.get());
  return peer_ports_->Serve({.rpc = std::move(rpc), .http = router});
}

absl::Status MemberImpl::StartRaft() {
  KEELSON_RETURN_IF_ERROR(MakeTransport());
  wal_ = std::make_unique<MeasuredWal>(std::move(storage_.wal), &RealClock(), &metrics_);

  raft::Node::Options node;
  node.core.id = options_.member_id;
  node.core.election_ticks =
      static_cast<int>(options_.election_timeout / options_.heartbeat_interval);
  node.core.pre_vote = options_.pre_vote;
  node.core.forward_conf_changes = false;  // They are derived from the membership in force.
  node.tick_interval = options_.heartbeat_interval;
  node.compact_every_entries = options_.snapshot_count;
  node.keep_entries = options_.snapshot_catchup_entries;
  node.proposal_wait = absl::Seconds(5) + 2 * options_.election_timeout;
  node.on_fatal = [this](const absl::Status& status) { hooks_.on_fatal(status); };
  node.on_role_change = [this](const raft::SoftState& state, raft::Term term) {
    OnRoleChange(state, term);
  };
  // Alone, the loop has nobody to hear from while the disk writes, so it can wait for it: that
  // saves two switches of threads, and lets groups grow.
  const raft::ConfState members = machine_->Applied().conf_state;
  const bool alone = members.voters == std::vector{options_.member_id} && members.learners.empty();
  Executor* append = &threads_.append;
  if (alone) append = &threads_.loop;
  KEELSON_ASSIGN_OR_RETURN(node_, raft::Node::Start(node,
                                                    {.clock = &RealClock(),
                                                     .loop = &threads_.loop,
                                                     .append = append,
                                                     .apply = &threads_.apply,
                                                     .background = &threads_.background,
                                                     .flush = &threads_.flush,
                                                     .transport = transport_.get(),
                                                     .wal = wal_.get(),
                                                     .snapshots = storage_.snapshots.get(),
                                                     .machine = machine_.get(),
                                                     .random = Random(Random::SeedFromSystem())},
                                                    std::move(storage_.recovered)));
  RegisterRaftMetrics();
  // Before the first message is due: Raft reports peers without an address as unreachable.
  server_->OnMembership(members);
  absl::Notification peers_told;
  threads_.timers.Post([&peers_told] { peers_told.Notify(); });
  peers_told.WaitForNotification();
  KEELSON_RETURN_IF_ERROR(transport_->Start(*node_));
  server_->Start(node_.get());
  return absl::OkStatus();
}

absl::Status MemberImpl::Serve() {
  AddHttpEndpoints(router_, server_.get(), &metrics_);
  rpc::ServerOptions rpc_options =
      RpcOptions({.max_request_bytes = options_.max_request_bytes,
                  .max_concurrent_streams = options_.max_concurrent_streams,
                  .keepalive_min_time = options_.keepalive_min_time,
                  .keepalive_interval = options_.keepalive_interval,
                  .keepalive_timeout = options_.keepalive_timeout});
  if (!tls_.client.material.cert_pem.empty()) {
    KEELSON_ASSIGN_OR_RETURN(rpc_options.tls, tls_.client.MakeContext(TlsProtocol::kHttp2));
  }
  std::unique_ptr<rpc::Server> rpc = rpc::Server::Create(rpc_options);
  RegisterGrpcServices(rpc.get(), server_.get(), &metrics_);
  if (options_.enable_reflection) RegisterReflection(rpc.get());
  http::Router client_router = router_;
  if (options_.enable_gateway) {
    AddJsonGateway(client_router, server_.get(), &threads_.gateway,
                   options_.max_concurrent_streams);
  }
  if (options_.enable_v2) AddV2Endpoints(client_router, server_.get(), &RealClock());
  http::Handler http = WithAccess({.hosts = options_.host_whitelist, .origins = options_.cors},
                                  std::move(client_router));
  Ports::Protocols protocols{.rpc = std::move(rpc)};
  if (options_.listen_client_http_urls.empty()) {
    protocols.http = std::move(http);
  } else {
    KEELSON_RETURN_IF_ERROR(client_http_ports_->Serve({.http = std::move(http)}));
  }
  KEELSON_RETURN_IF_ERROR(client_ports_->Serve(std::move(protocols)));
  if (!options_.listen_metrics_urls.empty()) {
    KEELSON_RETURN_IF_ERROR(metrics_ports_->Serve({.http = router_}));
  }
  serving_ = true;
  return absl::OkStatus();
}

void MemberImpl::OnRoleChange(const raft::SoftState& state, raft::Term term) {
  server_->OnRoleChange(state, term);
  if (state.role == raft::Role::kLeader && last_role_ != raft::Role::kLeader) {
    LogInfo("became leader", {{"term", term}});
  } else if (last_role_ == raft::Role::kLeader && state.role != raft::Role::kLeader) {
    const raft::Node::Stats stats = node_->GetStats();
    const uint64_t stalls = stats.stall_transfers + stats.stall_step_downs;
    if (std::exchange(last_stalls_, stalls) != stalls) {
      LogError("stopped leading, since the disk of the log stalls", {{"term", term}});
    } else {
      LogInfo("stopped leading", {{"term", term}});
    }
  }
  if (state.leader != last_leader_) {
    LogInfo(state.leader == raft::kNoNode ? "lost the leader" : "has a leader",
            {{"leader", FormatId(state.leader)}, {"term", term}});
  }
  last_role_ = state.role;
  last_leader_ = state.leader;
  (void)Notify(absl::StrCat("STATUS=",
                            state.role == raft::Role::kLeader ? "leader"
                            : state.leader == raft::kNoNode   ? "without a leader"
                                                              : "follower",
                            " in term ", term));
}

void MemberImpl::SetPeers(const std::vector<Store::MemberAttributes>& peers) {
  std::map<raft::NodeId, std::string> next = AddressesOf(peers);
  std::vector<raft::NodeId> unmeasured;
  {
    absl::MutexLock lock(&peers_mu_);
    for (const auto& [id, address] : peers_) {
      if (!next.contains(id)) transport_->RemovePeer(id);
    }
    for (const auto& [id, address] : next) {
      const auto known = peers_.find(id);
      if (known == peers_.end() || known->second != address) transport_->AddPeer(id, address);
      if (measured_peers_.insert(id).second) unmeasured.push_back(id);
    }
    peers_ = next;
  }
  peer_calls_->SetPeers(next);
  for (const raft::NodeId id : unmeasured) RegisterPeerMetrics(id);
}

std::vector<raft::NodeId> MemberImpl::ConnectedPeers() const {
  std::vector<raft::NodeId> connected;
  for (const raft::PeerTransport::PeerStats& stats : transport_->GetStats()) {
    if (stats.connected) connected.push_back(stats.id);
  }
  return connected;
}

std::vector<PeerTraffic> MemberImpl::Traffic() const {
  std::vector<PeerTraffic> traffic;
  for (const raft::PeerTransport::PeerStats& stats : transport_->GetStats()) {
    traffic.push_back({.id = stats.id,
                       .sent = stats.sent_messages,
                       .dropped = stats.dropped_messages,
                       .received = stats.received_messages,
                       .round_trip = stats.round_trip});
  }
  return traffic;
}

void MemberImpl::RegisterPeerMetrics(raft::NodeId id) {
  using Stats = raft::PeerTransport::PeerStats;
  const auto read = [this](raft::NodeId peer, auto value) {
    return [this, peer, value] {
      for (const Stats& stats : transport_->GetStats()) {
        if (stats.id == peer) return static_cast<double>(value(stats));
      }
      return 0.0;
    };
  };
  const std::string peer = FormatId(id);
  metrics_.SetCallbackCounter("etcd_network_peer_sent_bytes_total", "Bytes sent to peers.",
                              {{"To", peer}},
                              read(id, [](const Stats& s) { return s.sent_bytes; }));
  metrics_.SetCallbackCounter("etcd_network_peer_received_bytes_total",
                              "Bytes received from peers.", {{"From", peer}},
                              read(id, [](const Stats& s) { return s.received_bytes; }));
  metrics_.SetCallbackGauge("etcd_network_active_peers", "Peers that are connected.",
                            {{"Local", FormatId(options_.member_id)}, {"Remote", peer}},
                            read(id, [](const Stats& s) { return s.connected ? 1 : 0; }));
}

void MemberImpl::RegisterRaftMetrics() {
  metrics_.SetCallbackCounter(
      "raft_storage_repairs_total",
      "Starts of this process that found durable data damaged or lost, and repaired it.", {},
      [repairs = storage_.loss.has_value() ? 1.0 : 0.0] { return repairs; });
  metrics_.SetCallbackGauge(
      "raft_recovering",
      "1 while the member gets back what it lost: it gives no votes and counts for no quorum.", {},
      [this] { return node_->Peek().recovering ? 1.0 : 0.0; });
  const auto stalls = [this](const char* answer, auto count) {
    metrics_.SetCallbackCounter("raft_disk_stalls_total",
                                "Times that this member, leading, gave that up since the disk made "
                                "nothing of its log durable.",
                                {{"answer", answer}}, [this, count] {
                                  return static_cast<double>(count(node_->GetStats()));
                                });
  };
  stalls("transfer", [](const raft::Node::Stats& stats) { return stats.stall_transfers; });
  stalls("step_down", [](const raft::Node::Stats& stats) { return stats.stall_step_downs; });
  metrics_.SetCallbackCounter("raft_log_syncs_total", "Syncs of the log.", {},
                              [this] { return static_cast<double>(node_->GetStats().syncs); });
  metrics_.SetCallbackCounter(
      "raft_log_entries_appended_total", "Entries written to the log.", {},
      [this] { return static_cast<double>(node_->GetStats().entries_appended); });
}

void MemberImpl::HandOverLeadership() {
  if (!server_->IsLeader()) return;
  // Shared: the answer may come after we have given up on it.
  struct Answer {
    absl::Notification came;
    raft::NodeId to = raft::kNoNode;
  };
  const auto answer = std::make_shared<Answer>();
  node_->GetStatus([answer, self = options_.member_id](const raft::Status& status) {
    raft::Index best = 0;
    for (const raft::PeerStatus& peer : status.peers) {
      if (peer.id == self || peer.is_learner || !peer.recent_active) continue;
      if (peer.match >= best) {
        best = peer.match;
        answer->to = peer.id;
      }
    }
    answer->came.Notify();
  });
  if (!answer->came.WaitForNotificationWithTimeout(options_.election_timeout)) return;
  const raft::NodeId to = answer->to;
  if (to == raft::kNoNode) return;
  LogInfo("handing leadership over", {{"to", FormatId(to)}});
  node_->TransferLeadership(to);
  const absl::Duration deadline = RealClock().Monotonic() + options_.election_timeout;
  while (server_->IsLeader() && RealClock().Monotonic() < deadline) {
    absl::SleepFor(absl::Milliseconds(5));
  }
}

void MemberImpl::Stop() {
  if (std::exchange(stopped_, true)) return;
  if (serving_) HandOverLeadership();
  if (metrics_ports_ != nullptr) metrics_ports_->Stop(absl::ZeroDuration());
  // Failing what is pending first lets the calls end within the grace.
  if (server_ != nullptr) server_->Stop();
  if (client_http_ports_ != nullptr) client_http_ports_->Stop(kGrace);
  if (client_ports_ != nullptr) client_ports_->Stop(kGrace);
  if (peer_calls_ != nullptr) peer_calls_->Stop();
  if (transport_ != nullptr) transport_->Stop();
  if (peer_ports_ != nullptr) peer_ports_->Stop(kGrace);
  if (node_ != nullptr) node_->Stop();
  if (machine_ != nullptr) machine_->Interrupt();
  threads_.Stop();
  // What is flushed need not be replayed at the next start.
  if (serving_) {
    if (const absl::Status status = machine_->Flush(); !status.ok()) {
      LogWarning("cannot flush the database, ignoring", {{"err", status}});
    }
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Member>> Member::Start(const Options& options, Hooks hooks) {
  auto member = std::make_unique<MemberImpl>(options, std::move(hooks));
  KEELSON_RETURN_IF_ERROR(member->Init());
  return member;
}

}  // namespace keelson::kvstore
