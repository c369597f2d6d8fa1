#include "kvstore/server/coordination_service.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "kvstore/api/v3election.pb.h"
#include "kvstore/api/v3lock.pb.h"
#include "kvstore/server/contest.h"
#include "kvstore/server/service_support.h"

namespace keelson::kvstore {
namespace {

using namespace v3electionpb;  // NOLINT: all of it
using etcdserverpb::RangeRequest;
using v3lockpb::LockRequest;
using v3lockpb::LockResponse;
using v3lockpb::UnlockRequest;
using v3lockpb::UnlockResponse;

constexpr int64_t kOwnLeaseSeconds = 60;

// Serves a call that ends when a contest is won.
template <typename Request, typename Response>
class ContestHandler final
    : public rpc::CallHandler,
      public std::enable_shared_from_this<ContestHandler<Request, Response>> {
 public:
  using Read = std::function<void(const Request&, Contest::Options*)>;
  using Answer = std::function<void(const Request&, const Contest&, Response*)>;

  ContestHandler(Server* server, std::shared_ptr<rpc::Call> call, Read read, Answer answer)
      : server_(server),
        call_(std::move(call)),
        read_(std::move(read)),
        answer_(std::move(answer)) {}

  void OnMessage(std::string_view message) override {
    if (contest_ != nullptr ||
        !request_.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      return call_->Finish(absl::InternalError("the request cannot be decoded"));
    }
    const absl::StatusOr<Origin> who = IdentifyCaller(server_, *call_, auth::Right::kOwnKeys);
    if (!who.ok()) return call_->Finish(who.status());
    Contest::Options options;
    options.who = *who;
    read_(request_, &options);
    contest_ = std::make_shared<Contest>(
        server_, std::move(options), [weak = this->weak_from_this()](const absl::Status& status) {
          if (const auto self = weak.lock()) self->OnEnd(status);
        });
    contest_->Start();
  }

  void OnHalfClose() override {
    if (contest_ == nullptr) call_->Finish(absl::InternalError("a request is missing"));
  }

  void OnDone() override {
    if (contest_ != nullptr) contest_->Cancel();
  }

 private:
  void OnEnd(const absl::Status& status) {
    if (!status.ok()) return call_->Finish(status);
    Response response;
    *response.mutable_header() = contest_->header();
    answer_(request_, *contest_, &response);
    call_->Answer(response.SerializeAsString());
  }

  Server* const server_;
  const std::shared_ptr<rpc::Call> call_;
  const Read read_;
  const Answer answer_;
  Request request_;
  std::shared_ptr<Contest> contest_;
};

// The key under `name` that was made first.
RangeRequest FirstOf(const std::string& name) {
  RangeRequest request;
  request.set_key(name + "/");
  request.set_range_end(name + "0");
  request.set_sort_target(RangeRequest::CREATE);
  request.set_sort_order(RangeRequest::ASCEND);
  request.set_limit(1);
  return request;
}

// Tells who leads, and each change of what the leader says, in order (kvstore.md 8.6).
class ObserveHandler final : public rpc::CallHandler,
                             public std::enable_shared_from_this<ObserveHandler> {
 public:
  ObserveHandler(Server* server, std::shared_ptr<rpc::Call> call)
      : server_(server), call_(std::move(call)) {}

  void OnMessage(std::string_view message) override {
    LeaderRequest request;
    if (waiter_ != 0 || !request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
      return call_->Finish(absl::InternalError("the request cannot be decoded"));
    }
    name_ = request.name();
    waiter_ = server_->key_waiters().Add(name_ + "/", [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->Wake();
    });
    server_->CheckRead(/*serializable=*/false, [self = shared_from_this()](const auto& status) {
      if (!status.ok()) return self->call_->Finish(AsUnknown(status));
      self->Wake();
    });
  }

  void OnHalfClose() override {
    if (waiter_ == 0) call_->Finish(absl::InternalError("a request is missing"));
  }
  void OnRoom() override {
    {
      absl::MutexLock lock(&mu_);
      full_ = false;
    }
    Wake();
  }
  void OnDone() override {
    if (waiter_ != 0) server_->key_waiters().Remove(waiter_);
  }

 private:
  void Wake() {
    server_->RunLater([self = shared_from_this()] { self->Look(); });
  }

  void Look() {
    absl::MutexLock lock(&mu_);
    const absl::StatusOr<Origin> who = IdentifyCaller(server_, *call_, auth::Right::kOwnKeys);
    absl::Status status = who.ok() ? server_->CheckRange(FirstOf(name_), *who) : who.status();
    while (status.ok() && !full_) {
      bool more = false;
      status = key_.empty() ? FindLeader(&more) : Follow(&more);
      if (!more) break;
    }
    if (!status.ok()) call_->Finish(AsUnknown(status));
  }

  absl::Status FindLeader(bool* more) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    etcdserverpb::RangeResponse found;
    const absl::Status status = server_->store().Range(FirstOf(name_), &found);
    if (!status.ok() || found.kvs_size() == 0) return status;
    key_ = found.kvs(0).key();
    next_revision_ = found.header().revision() + 1;
    Send(found.header().revision(), found.kvs(0));
    *more = true;
    return absl::OkStatus();
  }

  // The leader's changes since.
  absl::Status Follow(bool* more) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    constexpr size_t kChanges = 100;
    constexpr size_t kBytes = 1 << 20;
    const absl::StatusOr<Store::History> history = server_->store().ReadHistory(
        {.key = key_, .range_end = ""}, next_revision_, /*prev_kv=*/false, kChanges, kBytes);
    if (!history.ok()) {  // Compacted meanwhile: begin anew.
      key_.clear();
      *more = true;
      return absl::OkStatus();
    }
    *more = !history->changes.empty();
    next_revision_ = history->next_revision;
    for (const Store::Change& change : history->changes) {
      for (const mvccpb::Event& event : change.events) {
        if (event.type() == mvccpb::Event::DELETE) {
          key_.clear();
          *more = true;
          return absl::OkStatus();
        }
        Send(change.revision, event.kv());
      }
    }
    return absl::OkStatus();
  }

  void Send(int64_t revision, const mvccpb::KeyValue& pair) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    LeaderResponse response;
    server_->FillWatchHeader(response.mutable_header());
    response.mutable_header()->set_revision(revision);
    *response.mutable_kv() = pair;
    full_ = !call_->Send(response.SerializeAsString());
  }

  Server* const server_;
  const std::shared_ptr<rpc::Call> call_;
  std::string name_;
  uint64_t waiter_ = 0;

  absl::Mutex mu_;
  std::string key_ ABSL_GUARDED_BY(mu_);  // of the leader; empty: to be found
  int64_t next_revision_ ABSL_GUARDED_BY(mu_) = 0;
  bool full_ ABSL_GUARDED_BY(mu_) = false;
};

// A transaction on the leader's key that holds while it is the leader's.
struct LeaderTxn {
  etcdserverpb::TxnRequest request;
  etcdserverpb::TxnResponse response;
};

std::shared_ptr<LeaderTxn> WhileLeads(const LeaderKey& leader) {
  auto txn = std::make_shared<LeaderTxn>();
  etcdserverpb::Compare& compare = *txn->request.add_compare();
  compare.set_key(leader.key());
  compare.set_target(etcdserverpb::Compare::CREATE);
  compare.set_create_revision(leader.rev());
  return txn;
}

absl::Status LeaderIsMissing() { return absl::UnknownError("\"leader\" field must be provided"); }

void PutValue(Server* server, const Origin& who, const ProclaimRequest& request, int64_t lease,
              ProclaimResponse* response, rpc::Done done) {
  const auto txn = WhileLeads(request.leader());
  etcdserverpb::PutRequest& put = *txn->request.add_success()->mutable_request_put();
  put.set_key(request.leader().key());
  put.set_value(request.value());
  put.set_lease(lease);
  server->Txn(
      txn->request, &txn->response,
      [txn, response, done = std::move(done)](const absl::Status& status) {
        if (!status.ok()) return done(AsUnknown(status));
        if (!txn->response.succeeded()) return done(absl::UnknownError("election: not leader"));
        *response->mutable_header() = txn->response.header();
        done(status);
      },
      who);
}

void Proclaim(Server* server, const Origin& who, const ProclaimRequest& request,
              ProclaimResponse* response, rpc::Done done) {
  if (!request.has_leader()) return done(LeaderIsMissing());
  if (request.leader().lease() != 0) {
    return PutValue(server, who, request, request.leader().lease(), response, std::move(done));
  }
  struct Grant {
    etcdserverpb::LeaseGrantRequest request;
    etcdserverpb::LeaseGrantResponse response;
  };
  const auto grant = std::make_shared<Grant>();
  grant->request.set_ttl(kOwnLeaseSeconds);
  server->LeaseGrant(
      grant->request, &grant->response,
      [grant, server, who, &request, response, done = std::move(done)](const absl::Status& status) {
        if (!status.ok()) return done(AsUnknown(status));
        PutValue(server, who, request, grant->response.id(), response, done);
      },
      who);
}

void Resign(Server* server, const Origin& who, const ResignRequest& request,
            ResignResponse* response, rpc::Done done) {
  if (!request.has_leader()) return done(LeaderIsMissing());
  const auto txn = WhileLeads(request.leader());
  txn->request.add_success()->mutable_request_delete_range()->set_key(request.leader().key());
  server->Txn(
      txn->request, &txn->response,
      [txn, response, done = std::move(done)](const absl::Status& status) {
        if (status.ok()) *response->mutable_header() = txn->response.header();
        done(AsUnknown(status));
      },
      who);
}

void Leader(Server* server, const Origin& who, const LeaderRequest& request,
            LeaderResponse* response, rpc::Done done) {
  struct Find {
    RangeRequest request;
    etcdserverpb::RangeResponse response;
  };
  const auto find = std::make_shared<Find>();
  find->request = FirstOf(request.name());
  server->Range(
      find->request, &find->response,
      [find, response, done = std::move(done)](const absl::Status& status) {
        if (!status.ok()) return done(AsUnknown(status));
        if (find->response.kvs_size() == 0) return done(absl::UnknownError("election: no leader"));
        *response->mutable_header() = find->response.header();
        *response->mutable_kv() = find->response.kvs(0);
        done(status);
      },
      who);
}

void Unlock(Server* server, const Origin& who, const UnlockRequest& request,
            UnlockResponse* response, rpc::Done done) {
  struct Removal {
    etcdserverpb::DeleteRangeRequest request;
    etcdserverpb::DeleteRangeResponse response;
  };
  const auto removal = std::make_shared<Removal>();
  removal->request.set_key(request.key());
  server->DeleteRange(
      removal->request, &removal->response,
      [removal, response, done = std::move(done)](const absl::Status& status) {
        if (status.ok()) *response->mutable_header() = removal->response.header();
        done(AsUnknown(status));
      },
      who);
}

void ReadLock(const LockRequest& request, Contest::Options* options) {
  options->name = request.name();
  options->lease = request.lease();
  options->needs_key = true;
}

void AnswerLock(const LockRequest&, const Contest& contest, LockResponse* response) {
  response->set_key(contest.key());
}

void ReadCampaign(const CampaignRequest& request, Contest::Options* options) {
  options->name = request.name();
  options->lease = request.lease();
  options->value = request.value();
  options->updates_value = true;
}

void AnswerCampaign(const CampaignRequest& request, const Contest& contest,
                    CampaignResponse* response) {
  LeaderKey& leader = *response->mutable_leader();
  leader.set_name(request.name());
  leader.set_key(contest.key());
  leader.set_rev(contest.create_revision());
  leader.set_lease(contest.lease());
}

}  // namespace

void RegisterCoordinationServices(rpc::Server* rpc, Server* server, MetricRegistry* metrics) {
  MethodRegistrar lock(rpc, server, metrics, "v3lockpb.Lock");
  lock.Stream("Lock", [server](const std::shared_ptr<rpc::Call>& call) {
    return std::make_shared<ContestHandler<LockRequest, LockResponse>>(server, call, ReadLock,
                                                                       AnswerLock);
  });
  lock.Unary<UnlockRequest, UnlockResponse>("Unlock", Unlock);

  MethodRegistrar election(rpc, server, metrics, "v3electionpb.Election");
  election.Stream("Campaign", [server](const std::shared_ptr<rpc::Call>& call) {
    return std::make_shared<ContestHandler<CampaignRequest, CampaignResponse>>(
        server, call, ReadCampaign, AnswerCampaign);
  });
  election.Unary<ProclaimRequest, ProclaimResponse>("Proclaim", Proclaim);
  election.Unary<LeaderRequest, LeaderResponse>("Leader", Leader);
  election.Unary<ResignRequest, ResignResponse>("Resign", Resign);
  election.Stream("Observe", [server](const std::shared_ptr<rpc::Call>& call) {
    return std::make_shared<ObserveHandler>(server, call);
  });
}

}  // namespace keelson::kvstore
