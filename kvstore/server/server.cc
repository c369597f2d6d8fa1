#include "kvstore/server/server.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/burst.h"
#include "kvstore/errors.h"
#include "kvstore/server/command_codec.h"

namespace keelson::kvstore {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(100);
constexpr absl::Duration kLeaseScan = absl::Milliseconds(500);
constexpr absl::Duration kSpaceCheck = absl::Seconds(1);
constexpr absl::Duration kTokenCheck = absl::Seconds(10);

// A read of one key is not worth a change of threads.
bool IsCheap(const etcdserverpb::RangeRequest& request) { return request.range_end().empty(); }

}  // namespace

Server::Server(const Options& options, Env env)
    : options_(options),
      env_(std::move(env)),
      // kvstore.md 1.10: for everything that goes through consensus.
      request_timeout_(absl::Seconds(5) + 2 * options.election_timeout),
      pending_(options.member_id, env_.clock->Now()),
      space_(options.space, env_.file_system),
      rates_(options.user_requests_per_second),
      started_(env_.clock->Now()),
      leader_since_(absl::ToUnixNanos(started_)),
      tokens_(options.auth_token_ttl),
      leases_({.election_timeout = options.election_timeout}),
      random_(env_.random.Stream("lease ids")),
      heard_of_(options.known_members),
      compactor_(options.compaction) {}

Server::~Server() = default;

void Server::SetStore(Store* store) {
  store_ = store;
  hub_ = std::make_unique<WatchHub>(
      WatchHub::Options{.cluster_id = options_.cluster_id,
                        .member_id = options_.member_id,
                        .progress_interval = options_.watch_progress_interval,
                        .fragment_bytes = options_.max_request_bytes + (512 << 10)},
      WatchHub::Env{.store = store,
                    .clock = env_.clock,
                    .delivery = env_.delivery,
                    .catch_up = env_.catch_up,
                    .term = [this] { return term_.load(std::memory_order_relaxed); }});
  absl::MutexLock lock(&mu_);
  leases_.Reset(env_.clock->Monotonic(), store->Leases());
}

void Server::Start(raft::Node* node) {
  node_.store(node);
  space_.Check(*store_);
  env_.timers->Post([this] { Tick(); });
}

void Server::Stop() {
  stopped_.store(true);
  pending_.FailAll(errors::Stopped());
  FailMembershipWaiters(errors::Stopped());
}

void Server::OnRoleChange(const raft::SoftState& soft_state, raft::Term term) {
  term_.store(term);
  const raft::NodeId before = leader_.exchange(soft_state.leader);
  if (before != soft_state.leader && soft_state.leader != raft::kNoNode) {
    counters_.leader_changes.fetch_add(1);
    leader_since_.store(absl::ToUnixNanos(env_.clock->Now()));
  }
  const bool leads = soft_state.role == raft::Role::kLeader;
  // Reading all leases may take a while, which the caller's loop has not got.
  env_.timers->Post([this, leads, term] {
    absl::MutexLock lock(&mu_);
    if (leads == leases_.leading() && (!leads || term == lease_term_)) return;
    if (leads) {
      lease_term_ = term;
      // Under the lock: a grant that is applied meanwhile is counted after this.
      leases_.Promote(env_.clock->Monotonic(), store_->Leases());
    } else {
      leases_.Demote();
    }
  });
}

Server::Tenure Server::tenure() const {
  return {.started = started_,
          .leader = leader_.load(),
          .since = absl::FromUnixNanos(leader_since_.load())};
}

void Server::FillHeader(etcdserverpb::ResponseHeader* header) const {
  header->set_cluster_id(options_.cluster_id);
  header->set_member_id(options_.member_id);
  header->set_raft_term(term_.load(std::memory_order_relaxed));
}

void Server::FillHeaderAndRevision(etcdserverpb::ResponseHeader* header) const {
  FillHeader(header);
  if (header->revision() == 0) header->set_revision(store_->Revision());
}

// --- Proposals ---

absl::Status Server::CheckProposal() const {
  if (stopped_.load(std::memory_order_relaxed)) return errors::Stopped();
  const raft::Node::Snapshot peek = Peek();
  if (peek.commit > peek.applied + options_.max_apply_lag) return errors::TooManyRequests();
  return absl::OkStatus();
}

template <typename Operation, typename Response>
void Server::Propose(const Operation& operation, const Origin& who, Response* response, Done done) {
  ProposeFor(operation, who, [this, response, done = std::move(done)](CommandResult result) {
    if (result.status.ok()) {
      response->Swap(&std::get<Response>(result.response));
      FillHeaderAndRevision(response->mutable_header());
    }
    done(result.status);
  });
}

template <typename Operation>
void Server::ProposeFor(const Operation& operation, const Origin& who,
                        std::function<void(CommandResult)> finish) {
  if (const absl::Status status = CheckProposal(); !status.ok()) {
    CommandResult result;
    result.status = status;
    return finish(std::move(result));
  }
  const uint64_t id = pending_.Add(env_.clock->Monotonic() + request_timeout_,
                                   [this, finish = std::move(finish)](CommandResult result) {
                                     if (absl::IsUnavailable(result.status))
                                       counters_.proposals_failed.fetch_add(1);
                                     finish(std::move(result));
                                   });
  Submit(id, EncodeCommand(id, operation) + EncodeOrigin(who));
}

void Server::Submit(uint64_t id, std::string bytes) {
  if (bytes.size() > options_.max_request_bytes) {
    pending_.Fail(id, errors::RequestTooLarge());
    return;
  }
  node_.load()->Propose(raft::Payload(std::move(bytes)), [this, id](const absl::Status& refused) {
    if (absl::IsResourceExhausted(refused)) {
      pending_.Fail(id, errors::TooManyRequests());
    } else if (absl::IsCancelled(refused)) {
      pending_.Fail(id, errors::Stopped());
    } else {
      pending_.Fail(id, errors::NoLeader());
    }
  });
}

// For server_leases.cc.
template void Server::Propose(const etcdserverpb::LeaseGrantRequest&, const Origin&,
                              etcdserverpb::LeaseGrantResponse*, Done);
template void Server::Propose(const etcdserverpb::LeaseRevokeRequest&, const Origin&,
                              etcdserverpb::LeaseRevokeResponse*, Done);
// For server_maintenance.cc.
template void Server::Propose(const etcdserverpb::AlarmRequest&, const Origin&,
                              etcdserverpb::AlarmResponse*, Done);
// For server_members.cc.
template void Server::ProposeFor(const MemberChange&, const Origin&,
                                 std::function<void(CommandResult)>);
// For server_auth.cc.
template void Server::ProposeFor(const AuthCommand&, const Origin&,
                                 std::function<void(CommandResult)>);

void Server::Put(const etcdserverpb::PutRequest& request, etcdserverpb::PutResponse* response,
                 Done done, const Origin& who) {
  if (const absl::Status status = ValidatePut(request); !status.ok()) return done(status);
  if (const absl::Status status = store_->Auth()->CheckPut(who, request); !status.ok()) {
    return done(status);
  }
  if (!space_.Allows(EstimatedBytes(request))) return RefuseForSpace(done);
  counters_.puts.fetch_add(1, std::memory_order_relaxed);
  Propose(request, who, response, std::move(done));
}

void Server::DeleteRange(const etcdserverpb::DeleteRangeRequest& request,
                         etcdserverpb::DeleteRangeResponse* response, Done done,
                         const Origin& who) {
  if (const absl::Status status = ValidateDeleteRange(request); !status.ok()) return done(status);
  if (const absl::Status status = store_->Auth()->CheckDelete(who, request); !status.ok()) {
    return done(status);
  }
  counters_.deletes.fetch_add(1, std::memory_order_relaxed);
  Propose(request, who, response, std::move(done));
}

void Server::Txn(const etcdserverpb::TxnRequest& request, etcdserverpb::TxnResponse* response,
                 Done done, const Origin& who) {
  const absl::Status status = ValidateTxn(request, options_.max_txn_ops);
  if (!status.ok()) return done(status);
  counters_.txns.fetch_add(1, std::memory_order_relaxed);
  if (!IsReadOnly(request)) {
    const absl::Status allowed = store_->Auth()->CheckTxn(who, request);
    if (!allowed.ok()) return done(allowed);
    if (HasPut(request) && !space_.Allows(EstimatedBytes(request))) return RefuseForSpace(done);
    return Propose(request, who, response, std::move(done));
  }
  auto read = [this, &request, response, done = std::move(done), who](const absl::Status& ready) {
    if (!ready.ok()) return done(ready);
    // As of now, not as of the question: rights may have been taken away meanwhile.
    const absl::Status allowed = store_->Auth()->CheckTxn(who, request);
    if (!allowed.ok()) return done(allowed);
    RunRead(false, [this, &request, response, done] {
      const absl::Status result = store_->ReadTxn(request, response);
      FillHeaderAndRevision(response->mutable_header());
      done(result);
    });
  };
  if (IsSerializable(request)) return read(absl::OkStatus());
  Linearizable(std::move(read));
}

void Server::Compact(const etcdserverpb::CompactionRequest& request,
                     etcdserverpb::CompactionResponse* response, Done done, const Origin& who) {
  Propose(request, who, response, std::move(done));
}

// --- Reads ---

void Server::Linearizable(std::function<void(absl::Status)> read) {
  if (stopped_.load(std::memory_order_relaxed)) return read(errors::Stopped());
  node_.load()->ReadBarrier(request_timeout_,
                            [this, read = std::move(read)](const absl::Status& status) {
                              if (status.ok()) return read(status);
                              counters_.read_barriers_failed.fetch_add(1);
                              read(ReadError(status));
                            });
}

absl::Status Server::ReadError(const absl::Status& status) const {
  switch (status.code()) {
    case absl::StatusCode::kCancelled:
      return errors::Stopped();
    case absl::StatusCode::kUnavailable:
      return HasLeader() ? errors::LeaderChanged() : errors::NoLeader();
    default:
      return errors::Timeout();
  }
}

void Server::RunRead(bool cheap, std::function<void()> read) {
  if (cheap || env_.readers.empty()) return read();
  const uint64_t turn = next_reader_.fetch_add(1, std::memory_order_relaxed);
  env_.readers[turn % env_.readers.size()]->Post(std::move(read));
}

void Server::ReadKeys(const etcdserverpb::RangeRequest& request,
                      etcdserverpb::RangeResponse* response, Done done, const Origin& who,
                      std::function<absl::Status()> read) {
  counters_.ranges.fetch_add(1, std::memory_order_relaxed);
  auto start = [this, &request, response, done = std::move(done), who,
                read = std::move(read)](const absl::Status& ready) {
    if (!ready.ok()) return done(ready);
    const absl::Status allowed =
        store_->Auth()->CheckKeys(who, request.key(), request.range_end(), auth::Access::kRead);
    if (!allowed.ok()) return done(allowed);
    RunRead(IsCheap(request), [this, response, done, read] {
      const absl::Status result = read();
      FillHeaderAndRevision(response->mutable_header());
      done(result);
    });
  };
  if (request.serializable()) return start(absl::OkStatus());
  Linearizable(std::move(start));
}

void Server::Range(const etcdserverpb::RangeRequest& request, etcdserverpb::RangeResponse* response,
                   Done done, const Origin& who) {
  if (const absl::Status status = ValidateRange(request); !status.ok()) return done(status);
  ReadKeys(request, response, std::move(done), who,
           [this, &request, response] { return store_->Range(request, response); });
}

void Server::EncodeRange(const etcdserverpb::RangeRequest& request, EncodedRange* response,
                         Done done, const Origin& who) {
  if (const absl::Status status = ValidateRange(request); !status.ok()) return done(status);
  ReadKeys(request, &response->rest, std::move(done), who, [this, &request, response] {
    return store_->EncodeRange(request, &response->rest, &response->pairs);
  });
}

void Server::RangeChunk(const etcdserverpb::RangeRequest& request, size_t max_bytes,
                        etcdserverpb::RangeResponse* response, Done done, const Origin& who) {
  ReadKeys(request, response, std::move(done), who, [this, &request, max_bytes, response] {
    return store_->RangeChunk(request, max_bytes, response);
  });
}

void Server::CheckRead(bool serializable, Done done) {
  if (serializable) {
    etcdserverpb::RangeRequest request;
    request.set_key(std::string(1, '\0'));
    request.set_keys_only(true);
    etcdserverpb::RangeResponse response;
    return done(store_->Range(request, &response));
  }
  Linearizable(std::move(done));
}

// --- Maintenance ---

void Server::GetStatus(etcdserverpb::StatusResponse* response) {
  const raft::Node::Snapshot peek = Peek();
  const Store::Sizes sizes = store_->GetSizes();
  FillHeaderAndRevision(response->mutable_header());
  response->set_version(options_.version);
  response->set_storageversion(options_.version);
  response->set_dbsize(sizes.disk_bytes);
  response->set_dbsizeinuse(sizes.in_use_bytes);
  response->set_dbsizequota(static_cast<int64_t>(options_.space.quota_bytes));
  response->set_leader(leader_.load());
  response->set_islearner(IsLearner());
  response->set_raftindex(peek.commit);
  response->set_raftappliedindex(peek.applied);
  response->set_raftterm(peek.term);
  if (!HasLeader()) response->add_errors(std::string(errors::NoLeader().message()));
  for (const Store::RaisedAlarm& alarm : Alarms()) {
    response->add_errors(absl::StrCat("memberID:", alarm.member_id,
                                      " alarm:", etcdserverpb::AlarmType_Name(alarm.type), " "));
  }
}

void Server::MoveLeader(const etcdserverpb::MoveLeaderRequest& request,
                        etcdserverpb::MoveLeaderResponse*, Done done) {
  if (!IsLeader()) return done(errors::NotLeader());
  const uint64_t target = request.targetid();
  const MemberTable members = store_->Members();
  const Store::MemberAttributes* const member = FindMember(members, target);
  if (member == nullptr || member->is_learner) return done(errors::BadLeaderTransferee());
  if (target == options_.member_id) return done(absl::OkStatus());
  node_.load()->TransferLeadership(target);
  AwaitLeader(target, env_.clock->Monotonic() + request_timeout_, std::move(done));
}

void Server::AwaitLeader(uint64_t target, absl::Duration deadline, Done done) {
  if (leader_.load() == target) return done(absl::OkStatus());
  if (stopped_.load()) return done(errors::Stopped());
  if (env_.clock->Monotonic() >= deadline) return done(errors::LeaderTransferTimeout());
  env_.timers->PostAfter(kTick, [this, target, deadline, done = std::move(done)] {
    AwaitLeader(target, deadline, done);
  });
}

// --- ApplyListener ---

void Server::OnChanges(std::vector<Store::Change> changes) {
  key_waiters_.Notify(changes);
  hub_->Publish(std::move(changes));
}

void Server::OnLeases(std::vector<LeaseChange> changes) {
  const absl::Duration now = env_.clock->Monotonic();
  absl::MutexLock lock(&mu_);
  for (const LeaseChange& change : changes) {
    switch (change.kind) {
      case LeaseChange::Kind::kGranted:
        leases_.Granted(now, change.id, change.ttl_seconds);
        counters_.leases_granted.fetch_add(1, std::memory_order_relaxed);
        break;
      case LeaseChange::Kind::kRevoked:
        leases_.Revoked(change.id);
        counters_.leases_revoked.fetch_add(1, std::memory_order_relaxed);
        break;
      case LeaseChange::Kind::kCheckpointed:
        leases_.Checkpointed(now, change.id, change.ttl_seconds);
        break;
    }
  }
}

void Server::OnResults(std::vector<CommandResult> results) {
  Burst burst;  // The threads that answer the clients are woken once.
  for (CommandResult& result : results) (void)pending_.Complete(std::move(result));
}

void Server::OnRestored() {
  hub_->Restored();
  key_waiters_.NotifyAll();
  absl::MutexLock lock(&mu_);
  leases_.Reset(env_.clock->Monotonic(), store_->Leases());
}

// --- Timers ---

void Server::Tick() {
  if (stopped_.load()) return;
  const absl::Duration now = env_.clock->Monotonic();
  (void)pending_.FailExpired(now, errors::Timeout());
  hub_->Tick();
  if (now >= next_lease_scan_) {
    next_lease_scan_ = now + kLeaseScan;
    ExpireLeases();
    ExpireV2();
  }
  if (now >= next_space_check_) {
    next_space_check_ = now + kSpaceCheck;
    space_.Check(*store_);
    UpdateSpaceAlarm(now);
  }
  if (now >= next_leader_check_) {
    next_leader_check_ = now + options_.election_timeout;
    leader_monitor_.Check(HasLeader());
    peer_times_.Take(Traffic());
  }
  if (now >= next_token_check_) {
    next_token_check_ = now + kTokenCheck;
    tokens_.Expire(now);
  }
  TickMembership();
  if (!published_ && HasLeader()) PublishAttributes();
  AutoCompact();
  env_.timers->PostAfter(kTick, [this] { Tick(); });
}

void Server::AutoCompact() {
  if (!IsLeader()) return compactor_.Reset();
  const std::optional<int64_t> revision =
      compactor_.Tick(env_.clock->Monotonic(), store_->Revision());
  if (!revision.has_value()) return;
  etcdserverpb::CompactionRequest request;
  request.set_revision(*revision);
  // Nobody waits: when it gets lost, the next one does its work.
  node_.load()->Propose(
      raft::Payload(EncodeCommand(pending_.NextId(), request) + EncodeOrigin(Itself())), nullptr);
}

bool Server::AttributesAreKnown() const {
  const std::vector<Store::MemberAttributes> members = store_->Members();
  return std::any_of(members.begin(), members.end(), [this](const Store::MemberAttributes& member) {
    return member.id == options_.member_id && member.name == options_.name &&
           member.client_urls == options_.client_urls;
  });
}

void Server::PublishAttributes() {
  if (AttributesAreKnown()) {
    published_ = true;
    if (published_callback_) published_callback_();
    return;
  }
  if (publishing_.exchange(true)) return;
  MemberAttributes attributes;
  attributes.set_id(options_.member_id);
  attributes.set_name(options_.name);
  for (const std::string& url : options_.client_urls) attributes.add_client_urls(url);
  const uint64_t id = pending_.Add(env_.clock->Monotonic() + request_timeout_,
                                   [this](const CommandResult&) { publishing_.store(false); });
  node_.load()->Propose(
      raft::Payload(EncodeCommand(id, attributes)),
      [this, id](const absl::Status& refused) { (void)pending_.Fail(id, refused); });
}

}  // namespace keelson::kvstore
