#include "kvstore/discovery/registration.h"

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "kvstore/client/session.h"
#include "kvstore/client/txn.h"

namespace keelson::kvstore::discovery {
namespace {

// How often is looked whether something is due, at most; and until the next try to publish.
constexpr absl::Duration kLook = absl::Milliseconds(500);
constexpr absl::Duration kRetryMin = absl::Milliseconds(500);
constexpr absl::Duration kRetryMax = absl::Seconds(10);

// Owned by shared_ptr: tasks and probes may come in after its end.
class Core : public std::enable_shared_from_this<Core> {
 public:
  Core(Registration::Env env, Client& client, RegistrationOptions options,
       etcdserverpb::TxnRequest publish)
      : env_(env),
        client_(client),
        options_(std::move(options)),
        publish_(std::move(publish)),
        judge_(options_.check) {}

  void Begin() {
    {
      absl::MutexLock lock(&mu_);
      next_probe_ = client_.Monotonic();
    }
    env_.executor->Post([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->Tick();
    });
  }

  // Not within a step. Waits for the one that runs.
  void Close() ABSL_LOCKS_EXCLUDED(mu_) {
    {
      absl::MutexLock lock(&mu_);
      closed_ = true;
      const auto idle = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !stepping_; };
      (void)client_.Await(&mu_, absl::Condition(&idle), absl::InfiniteDuration());
    }
    session_.reset();
  }

  void Pass() {
    {
      absl::MutexLock lock(&mu_);
      judge_.OnPass(client_.Monotonic());
    }
    StepSoon();
  }
  void Fail(std::string why) {
    {
      absl::MutexLock lock(&mu_);
      judge_.OnFail(std::move(why));
    }
    StepSoon();
  }
  [[nodiscard]] absl::Status status() const {
    absl::MutexLock lock(&mu_);
    return status_;
  }

 private:
  void StepSoon() {
    env_.executor->Post([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->Step();
    });
  }
  void Tick() {
    Step();
    env_.executor->PostAfter(kLook, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->Tick();
    });
  }

  void Step() ABSL_LOCKS_EXCLUDED(mu_);
  // --- Within a step ---
  void Act(absl::Duration now, const absl::Status& health);
  void Publish(absl::Duration now);
  absl::Status TryToPublish();
  void SetStatus(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  void ProbeIfDue(absl::Duration now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Registration::Env env_;
  Client& client_;
  const RegistrationOptions options_;
  const etcdserverpb::TxnRequest publish_;  // without the lease

  // Of the step that runs.
  absl::Duration next_try_ = -absl::InfiniteDuration();
  absl::Duration retry_pause_ = kRetryMin;
  std::unique_ptr<Session> session_;  // there while published

  mutable absl::Mutex mu_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  // On simulated time a call that waits lets other tasks run: a step within a step.
  bool stepping_ ABSL_GUARDED_BY(mu_) = false;
  bool step_again_ ABSL_GUARDED_BY(mu_) = false;
  bool probing_ ABSL_GUARDED_BY(mu_) = false;
  absl::Duration next_probe_ ABSL_GUARDED_BY(mu_);
  HealthJudge judge_ ABSL_GUARDED_BY(mu_);
  absl::Status status_ ABSL_GUARDED_BY(mu_) = absl::UnavailableError("not published yet");
};

void Core::Step() {
  const absl::Duration now = client_.Monotonic();
  absl::Status health;
  {
    absl::MutexLock lock(&mu_);
    if (closed_) return;
    step_again_ = stepping_;
    if (stepping_) return;
    stepping_ = true;
    ProbeIfDue(now);
    health = judge_.Judge(now);
  }
  Act(now, health);
  absl::MutexLock lock(&mu_);
  stepping_ = false;
  if (std::exchange(step_again_, false)) StepSoon();
}

void Core::Act(absl::Duration now, const absl::Status& health) {
  if (!health.ok()) {
    // Revokes the lease; cannot that be, nobody renews it any more.
    session_.reset();
    return SetStatus(health);
  }
  if (session_ != nullptr && session_->status().ok()) return;
  if (session_ != nullptr) {
    SetStatus(session_->status());
    session_.reset();
  }
  if (now >= next_try_) Publish(now);
}

void Core::ProbeIfDue(absl::Duration now) {
  if (!options_.check.asks() || probing_ || now < next_probe_) return;
  probing_ = true;
  next_probe_ = now + options_.check.interval;
  env_.prober->Probe(options_.check, [weak = weak_from_this(),
                                      executor = env_.executor](const absl::Status& outcome) {
    if (weak.expired()) return;
    executor->Post([weak, outcome] {
      const auto self = weak.lock();
      if (self == nullptr) return;
      {
        absl::MutexLock lock(&self->mu_);
        self->probing_ = false;
        self->judge_.OnProbe(outcome);
      }
      self->Step();
    });
  });
}

void Core::Publish(absl::Duration now) {
  const absl::Status status = TryToPublish();
  SetStatus(status);
  if (status.ok()) {
    retry_pause_ = kRetryMin;
    return;
  }
  session_.reset();
  next_try_ = now + retry_pause_;
  retry_pause_ = std::min(2 * retry_pause_, kRetryMax);
}

absl::Status Core::TryToPublish() {
  KEELSON_ASSIGN_OR_RETURN(
      session_, Session::Create(client_, {.ttl = options_.ttl,
                                          .on_lost = [weak = weak_from_this()](const auto&) {
                                            if (const auto self = weak.lock()) self->StepSoon();
                                          }}));
  etcdserverpb::TxnRequest request = publish_;
  for (etcdserverpb::RequestOp& op : *request.mutable_success()) {
    op.mutable_request_put()->set_lease(session_->lease());
  }
  return client_.Txn(request).status();
}

void Core::SetStatus(const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    if (status_ == status) return;
    const bool was_published = status_.ok();
    status_ = status;
    // Who is not published for another reason than before is still not published.
    if (!was_published && !status.ok()) return;
  }
  if (options_.on_change) options_.on_change(status);
}

class RegistrationImpl final : public Registration {
 public:
  RegistrationImpl(std::shared_ptr<Core> core, std::unique_ptr<ThreadExecutor> executor,
                   std::unique_ptr<Prober> prober)
      : executor_(std::move(executor)), prober_(std::move(prober)), core_(std::move(core)) {
    core_->Begin();
  }
  ~RegistrationImpl() override {
    if (executor_ != nullptr) executor_->Stop();
    core_->Close();
    // A probe that still runs tells nobody.
    prober_.reset();
  }
  void Pass() override { core_->Pass(); }
  void Fail(std::string why) override { core_->Fail(std::move(why)); }
  [[nodiscard]] absl::Status status() const override { return core_->status(); }

 private:
  std::unique_ptr<ThreadExecutor> executor_;  // null: borrowed, as the prober
  std::unique_ptr<Prober> prober_;
  const std::shared_ptr<Core> core_;
};

// The keys and values of the instance.
absl::StatusOr<etcdserverpb::TxnRequest> PublishRequest(const RegistrationOptions& options) {
  if (options.service.empty() || options.service.back() == '/') {
    return absl::InvalidArgumentError("the service's name is empty or ends in a slash");
  }
  if (options.ttl < absl::Seconds(1)) {
    return absl::InvalidArgumentError("the TTL is below a second");
  }
  KEELSON_RETURN_IF_ERROR(ValidateHealthCheck(options.check));
  TxnBuilder txn;
  KEELSON_ASSIGN_OR_RETURN(const std::string value, NamingValue(options.instance));
  txn.Then(PutOf(NamingKey(options.service, options.instance.address), value));
  if (options.dns.has_value()) {
    KEELSON_ASSIGN_OR_RETURN(const std::string dns_key, SkyDnsKey(*options.dns));
    KEELSON_ASSIGN_OR_RETURN(const std::string dns_value,
                             SkyDnsValue(*options.dns, options.instance));
    txn.Then(PutOf(dns_key, dns_value));
  }
  return txn.Build();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Registration>> Registration::StartIn(Env env, Client& client,
                                                                    RegistrationOptions options) {
  KEELSON_ASSIGN_OR_RETURN(etcdserverpb::TxnRequest publish, PublishRequest(options));
  return std::make_unique<RegistrationImpl>(
      std::make_shared<Core>(env, client, std::move(options), std::move(publish)), nullptr,
      nullptr);
}

absl::StatusOr<std::unique_ptr<Registration>> Registration::Start(Client& client,
                                                                  RegistrationOptions options) {
  KEELSON_ASSIGN_OR_RETURN(etcdserverpb::TxnRequest publish, PublishRequest(options));
  auto executor = std::make_unique<ThreadExecutor>("discovery");
  std::unique_ptr<Prober> prober = options.check.asks() ? MakeNetworkProber() : nullptr;
  auto core = std::make_shared<Core>(Env{.executor = executor.get(), .prober = prober.get()},
                                     client, std::move(options), std::move(publish));
  return std::make_unique<RegistrationImpl>(std::move(core), std::move(executor),
                                            std::move(prober));
}

}  // namespace keelson::kvstore::discovery
