// The request path of one member: validates requests, proposes them, answers reads, keeps
// lease time and feeds watchers. Everything between the wire (gRPC, HTTP) and raft plus store.
//
//   Server server(options, env);                                      // is the ApplyListener
//   auto machine = StateMachine::Open(machine_options, &server);
//   server.SetStore(&machine->store());
//   auto node = raft::Node::Start({.on_role_change = ... server.OnRoleChange ...}, ...);
//   server.Start(node);
//   server.Put(request, &response, [](absl::Status status) { ... });
//
// Calls: `request` and `response` stay valid until `done` runs. `done` runs exactly once,
// perhaps inside the call, and must not block; its status carries etcd's code and text. Headers
// are filled in (kvstore.md 1.8).
//
// Threading: thread-safe after Start.
#ifndef KEELSON_KVSTORE_SERVER_SERVER_H_
#define KEELSON_KVSTORE_SERVER_SERVER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/file_system.h"
#include "base/random.h"
#include "kvstore/api/auth.pb.h"
#include "kvstore/api/cluster.pb.h"
#include "kvstore/api/command.pb.h"
#include "kvstore/api/maintenance.pb.h"
#include "kvstore/api/rpc.pb.h"
#include "kvstore/auth/auth_store.h"
#include "kvstore/auth/jwt.h"
#include "kvstore/auth/rights.h"
#include "kvstore/auth/token_table.h"
#include "kvstore/server/auto_compactor.h"
#include "kvstore/server/key_waiters.h"
#include "kvstore/server/leader_monitor.h"
#include "kvstore/server/lease_clock.h"
#include "kvstore/server/lease_forwarder.h"
#include "kvstore/server/membership.h"
#include "kvstore/server/peer_calls.h"
#include "kvstore/server/peer_times.h"
#include "kvstore/server/pending_table.h"
#include "kvstore/server/rate_limiter.h"
#include "kvstore/server/space_guard.h"
#include "kvstore/server/watch_hub.h"
#include "kvstore/state_machine.h"
#include "kvstore/v2/tree.h"
#include "raft/node.h"

namespace keelson::kvstore {

// A member as clients are told.
void FillMember(const Store::MemberAttributes& member, etcdserverpb::Member* out);

// The answer to a range as it goes to a client.
struct EncodedRange {
  etcdserverpb::RangeResponse rest;  // without kvs
  std::string pairs;                 // the kvs, as of Store::EncodeRange

  // Takes what is here.
  std::string SerializeAsString() {
    KEELSON_CHECK(rest.AppendToString(&pairs)) << "the answer to a range cannot be encoded";
    return std::move(pairs);
  }
};

class Server final : public ApplyListener {
 public:
  using Done = std::function<void(absl::Status)>;

  struct Options {
    uint64_t cluster_id = 0;
    uint64_t member_id = 0;
    std::string name;
    std::vector<std::string> client_urls;                // published to the cluster
    std::vector<Store::MemberAttributes> founders;       // before the first entry of the log
    std::vector<Store::MemberAttributes> known_members;  // others, before the log tells of them
    bool strict_reconfig_check = true;
    uint32_t max_learners = 1;
    std::string version = "3.6.0";  // etcd's version that we are compatible with
    absl::Duration election_timeout = absl::Seconds(1);
    size_t max_txn_ops = 128;
    size_t max_request_bytes = 1572864;
    // Proposals are refused while more entries than this are committed but not applied.
    uint64_t max_apply_lag = 5000;
    absl::Duration watch_progress_interval = absl::Minutes(10);
    int bcrypt_cost = 10;
    absl::Duration auth_token_ttl = absl::Seconds(300);
    std::shared_ptr<const auth::Jwt> jwt;   // signs and knows tokens; null: simple ones
    bool client_cert_auth = false;          // users may be known by their certificate's name
    uint64_t user_requests_per_second = 0;  // of one user; 0: as many as it likes
    SpaceGuard::Options space;
    // NOSPACE ends by itself when there has been space for this long; infinite: as with etcd,
    // somebody has to disarm it.
    absl::Duration alarm_clears_after = absl::Seconds(5);
    AutoCompactor::Options compaction;
  };

  // All borrowed; they outlive the server. Stop the executors before destroying it.
  struct Env {
    Clock* clock = nullptr;
    FileSystem* file_system = nullptr;
    Executor* timers = nullptr;           // deadlines, lease expiry, checks
    Executor* delivery = nullptr;         // wakes watch streams
    Executor* catch_up = nullptr;         // history for watchers
    std::vector<Executor*> readers;       // larger reads; empty: they run where they are
    Executor* backups = nullptr;          // snapshots for clients; null: they are refused
    LeaseForwarder* forwarder = nullptr;  // to the leader; null: a follower answers NotLeader
    PeerCalls* peers = nullptr;           // null: nobody can be asked
    Random random{0};
  };

  Server(const Options& options, Env env);
  ~Server() override;

  // Before the node starts. Borrowed.
  void SetStore(Store* store);
  // Takes requests from now on. `node` is borrowed until Stop.
  void Start(raft::Node* node);
  // Fails what is pending and all later requests with "server stopped".
  void Stop();

  // For raft::Node::Options::on_role_change.
  void OnRoleChange(const raft::SoftState& soft_state, raft::Term term);
  // For StateMachine::Options::on_stall.
  void OnStall(const absl::Status& status) { space_.SetStalled(!status.ok()); }
  // Calls `published` once, on the timers executor, when the cluster knows this member's
  // attributes: it has been seen to work. Set before Start.
  void SetPublished(std::function<void()> published) { published_callback_ = std::move(published); }

  // --- KV ---
  // `who` is copied. An empty one has no rights when authentication is on.
  void Range(const etcdserverpb::RangeRequest& request, etcdserverpb::RangeResponse* response,
             Done done, const Origin& who = {});
  void EncodeRange(const etcdserverpb::RangeRequest& request, EncodedRange* response, Done done,
                   const Origin& who);
  // As Range, of Store::RangeChunk.
  void RangeChunk(const etcdserverpb::RangeRequest& request, size_t max_bytes,
                  etcdserverpb::RangeResponse* response, Done done, const Origin& who);
  void Put(const etcdserverpb::PutRequest& request, etcdserverpb::PutResponse* response, Done done,
           const Origin& who = {});
  void DeleteRange(const etcdserverpb::DeleteRangeRequest& request,
                   etcdserverpb::DeleteRangeResponse* response, Done done, const Origin& who = {});
  void Txn(const etcdserverpb::TxnRequest& request, etcdserverpb::TxnResponse* response, Done done,
           const Origin& who = {});
  void Compact(const etcdserverpb::CompactionRequest& request,
               etcdserverpb::CompactionResponse* response, Done done, const Origin& who = {});

  // --- Lease ---
  void LeaseGrant(const etcdserverpb::LeaseGrantRequest& request,
                  etcdserverpb::LeaseGrantResponse* response, Done done, const Origin& who = {});
  void LeaseRevoke(const etcdserverpb::LeaseRevokeRequest& request,
                   etcdserverpb::LeaseRevokeResponse* response, Done done, const Origin& who = {});
  // A follower asks the leader, through Env::forwarder, unless `forwarded` already.
  void LeaseKeepAlive(const etcdserverpb::LeaseKeepAliveRequest& request, bool forwarded,
                      etcdserverpb::LeaseKeepAliveResponse* response, Done done);
  void LeaseTimeToLive(const etcdserverpb::LeaseTimeToLiveRequest& request, bool forwarded,
                       etcdserverpb::LeaseTimeToLiveResponse* response, Done done);
  // With authentication on, `who` must be allowed to read every key that is attached to a lease.
  absl::Status LeaseLeases(const Origin& who, etcdserverpb::LeaseLeasesResponse* response);

  // --- Version 2 keys ---
  // `done` gets the outcome where the status is OK, else null.
  void ProposeV2(const V2Request& request,
                 std::function<void(const absl::Status&, const v2::Outcome*)> done);

  // --- Cluster ---
  void MemberList(const etcdserverpb::MemberListRequest& request,
                  etcdserverpb::MemberListResponse* response, Done done);
  // The changes are done when Raft's membership is as decided (membership.h).
  void MemberAdd(const etcdserverpb::MemberAddRequest& request,
                 etcdserverpb::MemberAddResponse* response, Done done, const Origin& who);
  void MemberRemove(const etcdserverpb::MemberRemoveRequest& request,
                    etcdserverpb::MemberRemoveResponse* response, Done done, const Origin& who);
  void MemberUpdate(const etcdserverpb::MemberUpdateRequest& request,
                    etcdserverpb::MemberUpdateResponse* response, Done done, const Origin& who);
  void MemberPromote(const etcdserverpb::MemberPromoteRequest& request,
                     etcdserverpb::MemberPromoteResponse* response, Done done, const Origin& who);
  // For a member that was asked and does not lead. NotLeader when this one does not either.
  void PromoteAsLeader(uint64_t id, const Origin& who, Done done);
  void DescribeCluster(ClusterDescription* description) const;
  [[nodiscard]] bool IsLearner() const { return is_learner_.load(std::memory_order_relaxed); }

  struct MemberHooks {
    // Who there is a connection to now. Must not block.
    std::function<std::vector<raft::NodeId>()> connected;
    // The traffic with each other member. May be null.
    std::function<std::vector<PeerTraffic>()> traffic;
    // The members to talk to have changed. On the timers executor.
    std::function<void(const std::vector<Store::MemberAttributes>& peers)> on_peers;
    // This member has been removed for good: it should stop. Once, on the timers executor.
    std::function<void()> on_removed;
  };
  void SetMemberHooks(MemberHooks hooks) { member_hooks_ = std::move(hooks); }  // before Start

  // --- Maintenance ---
  void GetStatus(etcdserverpb::StatusResponse* response);
  // --- server_maintenance.cc ---
  void Alarm(const etcdserverpb::AlarmRequest& request, etcdserverpb::AlarmResponse* response,
             Done done, const Origin& who);
  // Nothing needs it but a quota that is used up: then what compaction has freed is given back
  // before the answer.
  void Defragment(const etcdserverpb::DefragmentRequest& request,
                  etcdserverpb::DefragmentResponse* response, Done done);
  void Hash(const etcdserverpb::HashRequest& request, etcdserverpb::HashResponse* response,
            Done done);
  void HashKV(const etcdserverpb::HashKVRequest& request, etcdserverpb::HashKVResponse* response,
              Done done);
  void Downgrade(const etcdserverpb::DowngradeRequest& request,
                 etcdserverpb::DowngradeResponse* response, Done done);
  // Runs `task`, which may take long and wait for a client, where it disturbs nobody but other
  // backups.
  void RunBackup(Executor::Task task);
  // Runs `task`, which takes CPU time, on a reader.
  void RunOnReader(std::function<void()> task) { RunRead(/*cheap=*/false, std::move(task)); }
  // Runs `task` soon on the timers executor.
  void RunLater(Executor::Task task) { env_.timers->Post(std::move(task)); }
  // Waits for changes on this member.
  [[nodiscard]] KeyWaiters& key_waiters() { return key_waiters_; }
  // Every alarm: those of the cluster, and this member's own that it has not been told yet.
  [[nodiscard]] std::vector<Store::RaisedAlarm> Alarms() const;
  [[nodiscard]] bool HasAlarm(etcdserverpb::AlarmType type) const;

  // Ends when the target leads. Only the leader takes it.
  void MoveLeader(const etcdserverpb::MoveLeaderRequest& request,
                  etcdserverpb::MoveLeaderResponse* response, Done done);

  // --- Auth ---
  // Who sends a request with this token: nobody without one or with authentication off.
  // UNAUTHENTICATED when the token is not known, or not valid.
  absl::StatusOr<Origin> Identify(std::string_view token);
  // The user of a verified certificate's common name: nobody without one, with authentication off, or
  // unless the server insists on certificates.
  Origin IdentifyByCertificate(std::string_view common_name) const;
  // Counts a request of `who`, who called from `address`. RESOURCE_EXHAUSTED when the user, or without
  // one the address, has made too many; root may make any number.
  [[nodiscard]] absl::Status CheckRate(const Origin& who, std::string_view address);
  // What can be said without looking at the request.
  [[nodiscard]] absl::Status CheckRight(auth::Right right, const Origin& who) const;
  [[nodiscard]] absl::Status CheckRange(const etcdserverpb::RangeRequest& request,
                                        const Origin& who) const;
  [[nodiscard]] absl::Status CheckWatch(const etcdserverpb::WatchCreateRequest& request,
                                        const Origin& who) const;
  // With authentication on: that `who` is somebody, with the right to all keys that are attached to a lease.
  [[nodiscard]] absl::Status CheckLeaseKeys(int64_t lease, const Origin& who,
                                            auth::Access access) const;
  void Authenticate(const etcdserverpb::AuthenticateRequest& request,
                    etcdserverpb::AuthenticateResponse* response, Done done);
  void UserAdd(const etcdserverpb::AuthUserAddRequest& request,
               etcdserverpb::AuthUserAddResponse* response, Done done, const Origin& who);
  void UserChangePassword(const etcdserverpb::AuthUserChangePasswordRequest& request,
                          etcdserverpb::AuthUserChangePasswordResponse* response, Done done,
                          const Origin& who);
  // The other changes, all of which answer with a header only.
  void ChangeAuth(const AuthCommand& command, const Origin& who,
                  etcdserverpb::ResponseHeader* header, Done done);
  // Runs `read` on the store as of now, linearizably.
  void ReadAuth(etcdserverpb::ResponseHeader* header,
                std::function<absl::Status(const auth::AuthStore&)> read, Done done);
  void FillWatchHeader(etcdserverpb::ResponseHeader* header) const {
    FillHeaderAndRevision(header);
  }
  void AuthStatus(etcdserverpb::AuthStatusResponse* response) const;

  // --- For endpoints and metrics ---
  [[nodiscard]] bool HasLeader() const { return leader_.load() != raft::kNoNode; }
  [[nodiscard]] bool IsLeader() const { return leader_.load() == options_.member_id; }
  [[nodiscard]] raft::NodeId leader() const { return leader_.load(); }
  // Whether a read works, through the leader or locally.
  void CheckRead(bool serializable, Done done);

  struct Tenure {
    absl::Time started;  // this member
    raft::NodeId leader = raft::kNoNode;
    absl::Time since;  // when this member heard of that leader
  };
  [[nodiscard]] Tenure tenure() const;
  [[nodiscard]] const PeerTimes& peer_times() const { return peer_times_; }
  [[nodiscard]] std::vector<PeerTraffic> Traffic() const {
    return member_hooks_.traffic ? member_hooks_.traffic() : std::vector<PeerTraffic>();
  }

  struct Counters {
    std::atomic<uint64_t> ranges{0}, puts{0}, deletes{0}, txns{0};
    std::atomic<uint64_t> proposals_failed{0}, read_barriers_failed{0}, leader_changes{0};
    std::atomic<uint64_t> leases_granted{0}, leases_revoked{0}, leases_renewed{0};
    std::atomic<uint64_t> leases_expired{0}, health_successes{0}, health_failures{0};
  };
  [[nodiscard]] Counters& counters() { return counters_; }
  [[nodiscard]] WatchHub& watch_hub() { return *hub_; }
  [[nodiscard]] LeaderMonitor& leader_monitor() { return leader_monitor_; }
  [[nodiscard]] const Store& store() const { return *store_; }
  [[nodiscard]] raft::Node::Snapshot Peek() const { return node_.load()->Peek(); }
  [[nodiscard]] size_t pending_proposals() const { return pending_.size(); }
  [[nodiscard]] const Options& options() const { return options_; }

  // --- ApplyListener ---
  bool IsWaiting(uint64_t request_id) override { return pending_.Contains(request_id); }
  void OnChanges(std::vector<Store::Change> changes) override;
  void OnLeases(std::vector<LeaseChange> changes) override;
  void OnAuth(std::vector<AuthChange> changes) override;
  // Call it also before Start, with what the store holds.
  void OnMembership(const raft::ConfState& in_force) override;
  void OnResults(std::vector<CommandResult> results) override;
  void OnRestored() override;

 private:
  // Proposes `operation` and hands the Response of its result to `response`.
  template <typename Operation, typename Response>
  void Propose(const Operation& operation, const Origin& who, Response* response, Done done);
  // Proposes `operation` for `who` and hands its result on.
  template <typename Operation>
  void ProposeFor(const Operation& operation, const Origin& who,
                  std::function<void(CommandResult)> finish);
  void AssignToken(const std::string& user, uint64_t auth_revision,
                   etcdserverpb::AuthenticateResponse* response, Done done);
  void AwaitLeader(uint64_t target, absl::Duration deadline, Done done);
  // Hands a command to the log; what is pending as `id` hears of a refusal.
  void Submit(uint64_t id, std::string bytes);
  // Why nothing can be proposed now.
  [[nodiscard]] absl::Status CheckProposal() const;
  // Runs `read` when the state machine has caught up with the leader.
  void Linearizable(std::function<void(absl::Status)> read);
  // Runs `read`, which fills `response`, when it may be: linearizably if `request` asks for that, and
  // for those who have the right.
  void ReadKeys(const etcdserverpb::RangeRequest& request, etcdserverpb::RangeResponse* response,
                Done done, const Origin& who, std::function<absl::Status()> read);
  // Runs `read` here if it is `cheap`, else on a reader.
  void RunRead(bool cheap, std::function<void()> read);
  [[nodiscard]] absl::Status ReadError(const absl::Status& status) const;

  // --- Membership: server_members.cc ---
  using InForce = std::function<bool(const raft::ConfState&)>;
  struct MembershipWaiter {
    absl::Duration deadline;
    InForce in_force;
    Done done;
  };
  template <typename Response>
  void FillMembers(Response* response) const;
  template <typename Check>
  absl::Status CheckStrictly(Check check) ABSL_LOCKS_EXCLUDED(members_mu_);
  void ChangeMembers(const MemberChange& change, const Origin& who, InForce in_force, Done done);
  // `done` when Raft's membership is as `in_force` wants it.
  void AwaitMembership(InForce in_force, Done done) ABSL_LOCKS_EXCLUDED(members_mu_);
  void TickMembership() ABSL_LOCKS_EXCLUDED(members_mu_);
  void TellPeers(const MemberTable& members, const raft::ConfState& in_force);
  // Remembers where members are that the log has not told of yet.
  void LearnPeers(const MemberTable& members);
  void ProposeNextChange(const MemberTable& members, const raft::ConfState& in_force,
                         absl::Duration now);
  void AnswerMembershipWaiters(const raft::ConfState& in_force, absl::Duration now)
      ABSL_LOCKS_EXCLUDED(members_mu_);
  void FailMembershipWaiters(const absl::Status& status) ABSL_LOCKS_EXCLUDED(members_mu_);
  void WatchForRemoval(const MemberTable& members, const raft::ConfState& in_force,
                       absl::Duration now);
  // What another member said when this one was in doubt.
  void TakeAdvice(const ClusterDescription& cluster);
  void NoteRemoval(absl::Duration now);

  void FillHeader(etcdserverpb::ResponseHeader* header) const;
  // As FillHeader, with the store's revision where none is set.
  void FillHeaderAndRevision(etcdserverpb::ResponseHeader* header) const;

  void Tick();
  void ExpireLeases();
  void ExpireV2();
  void PublishAttributes();
  void AutoCompact();
  // Raises or clears this member's NOSPACE as its disks ask for it.
  void UpdateSpaceAlarm(absl::Duration now);
  void ProposeOwnAlarm(etcdserverpb::AlarmRequest::AlarmAction action);
  // Fails a request that does not fit. Where alarms stay until they are disarmed the first one raises
  // it, as in etcd.
  void RefuseForSpace(const Done& done);
  [[nodiscard]] bool HasRaisedOwnAlarm() const;
  [[nodiscard]] bool AttributesAreKnown() const;
  int64_t NewLeaseId() ABSL_LOCKS_EXCLUDED(mu_);

  const Options options_;
  const Env env_;
  const absl::Duration request_timeout_;

  Store* store_ = nullptr;  // constant after SetStore
  std::unique_ptr<WatchHub> hub_;
  std::atomic<raft::Node*> node_{nullptr};
  std::atomic<bool> stopped_{false};
  std::atomic<raft::NodeId> leader_{raft::kNoNode};
  std::atomic<raft::Term> term_{0};
  std::atomic<uint64_t> next_reader_{0};

  PendingTable pending_;
  KeyWaiters key_waiters_;
  SpaceGuard space_;
  LeaderMonitor leader_monitor_;
  RateLimiter rates_;
  PeerTimes peer_times_;
  const absl::Time started_;
  std::atomic<int64_t> leader_since_;  // nanoseconds of the Unix epoch
  auth::TokenTable tokens_;
  Counters counters_;

  absl::Mutex mu_;
  LeaseClock leases_ ABSL_GUARDED_BY(mu_);
  raft::Term lease_term_ ABSL_GUARDED_BY(mu_) = 0;  // in which this member counts their time
  Random random_ ABSL_GUARDED_BY(mu_);

  mutable absl::Mutex members_mu_;
  raft::ConfState conf_state_ ABSL_GUARDED_BY(members_mu_);  // Raft's membership
  PeerContacts contacts_ ABSL_GUARDED_BY(members_mu_);
  std::vector<MembershipWaiter> membership_waiters_ ABSL_GUARDED_BY(members_mu_);
  MemberHooks member_hooks_;  // constant after Start
  std::atomic<bool> is_learner_{false};
  std::atomic<bool> peers_changed_{false};

  // Used on the timers executor only.
  MemberTable heard_of_;  // members that others told of; those that the store knows do not count
  std::optional<raft::ConfChange> proposed_change_;
  absl::Duration propose_again_;
  absl::Duration doubtful_since_;
  absl::Duration next_peer_question_;
  std::optional<absl::Duration> removed_at_;
  bool removal_told_ = false;
  std::function<void()> published_callback_;
  bool published_ = false;
  std::atomic<bool> publishing_{false};
  std::atomic<bool> expiring_v2_{false};
  std::atomic<bool> changing_alarm_{false};
  absl::Duration space_was_short_;
  AutoCompactor compactor_;
  absl::Duration next_lease_scan_;
  absl::Duration next_space_check_;
  absl::Duration next_token_check_;
  absl::Duration next_leader_check_;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_SERVER_H_
