#include "tests/linearizability/sim_clients.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace keelson::linearizability {
namespace {

using kvstore::Server;

constexpr int kRegisters = 3;
constexpr int kLists = 2;
constexpr size_t kListBytes = 200;
constexpr int kLocks = 2;
constexpr int kSetSize = 20;

bool IsRefusal(const absl::Status& status) {
  return status.code() == absl::StatusCode::kNotFound ||
         status.code() == absl::StatusCode::kInvalidArgument;
}

std::string PrefixEnd(std::string prefix) {
  ++prefix.back();
  return prefix;
}

Reading ReadingOf(const std::string& key, const std::string& range_end,
                  const etcdserverpb::RangeResponse& range) {
  Reading reading{.key = key, .range_end = range_end, .pairs = {}};
  for (const mvccpb::KeyValue& pair : range.kvs()) reading.pairs.push_back(PairOf(pair));
  return reading;
}

}  // namespace

Pair PairOf(const mvccpb::KeyValue& pair) {
  return {.key = pair.key(),
          .value = pair.value(),
          .create_revision = pair.create_revision(),
          .mod_revision = pair.mod_revision(),
          .version = pair.version(),
          .lease = pair.lease()};
}

// --- Clients ---

void SimClient::After(absl::Duration most, std::function<void()> what) {
  scene_.world.After(most * random_.Unit(), std::move(what));
}

void SimClient::Next() {
  if (scene_.stopping) return;
  After(absl::Milliseconds(12), [this] {
    if (!scene_.stopping) Act();
  });
}

SimMember& SimClient::Pick() {
  // Who was added later, or has gone, is asked like any other.
  if (pinned_) return *scene_.members[static_cast<size_t>(number_) % 3];
  if (random_.Bernoulli(0.1) || member_ >= scene_.members.size() ||
      !scene_.members[member_]->running()) {
    member_ = random_.Below(scene_.members.size());
  }
  return *scene_.members[member_];
}

void SimClient::Act() {
  const Then next = [this](const Operation&) { Next(); };
  switch (kind_) {
    case Kind::kRegister: {
      const auto epoch = static_cast<int64_t>(absl::ToDoubleSeconds(scene_.world.now()));
      const std::string key = absl::StrCat("reg/", epoch, "/", random_.Below(kRegisters));
      if (random_.Bernoulli(0.5)) return Read(key, "", next);
      return Put(key, NextValue(), next);
    }
    case Kind::kSet: {
      const std::string value = NextValue();
      const std::string set = absl::StrCat("set/", values_ / kSetSize, "/");
      return Put(set + value, value, [this, set, next](const Operation& put) {
        if (random_.Bernoulli(0.7)) return next(put);
        Read(set, PrefixEnd(set), next);
      });
    }
    case Kind::kAppend:
      return Append();
    case Kind::kLock:
      return Lock();
  }
}

void SimClient::Append() {
  const std::string key = absl::StrCat("list/", random_.Below(kLists));
  Read(key, "", [this, key](const Operation& read) {
    if (read.outcome != Outcome::kDone) return Next();
    const std::vector<Pair>& pairs = read.readings[0].pairs;
    std::string value = pairs.empty() || pairs[0].value.size() > kListBytes
                            ? ""
                            : absl::StrCat(pairs[0].value, ",");
    value += NextValue();
    Swap({.target = Condition::Target::kMod,
          .key = key,
          .revision = pairs.empty() ? 0 : pairs[0].mod_revision},
         {.key = key, .value = value}, [this](const Operation&) { Next(); });
  });
}

void SimClient::Lock() {
  etcdserverpb::LeaseGrantRequest request;
  const int64_t lease = (int64_t{number_} + 1) * 1'000'000 + ++values_;
  request.set_id(lease);
  request.set_ttl(1);
  const int64_t call = scene_.now();
  scene_.Call<etcdserverpb::LeaseGrantRequest, etcdserverpb::LeaseGrantResponse>(
      Pick(),
      [](Server& server, const auto& asked, auto* answer, Server::Done done) {
        server.LeaseGrant(asked, answer, std::move(done));
      },
      request,
      [this, call, lease](const absl::Status& status, const auto& answer) {
        if (!status.ok()) return Next();
        scene_.history.renewals.push_back(
            {.lease = lease, .call = call, .ttl_seconds = answer.ttl()});
        const std::string lock = absl::StrCat("lock/", random_.Below(kLocks));
        Swap({.target = Condition::Target::kCreate, .key = lock, .revision = 0},
             {.key = lock, .value = NextValue(), .lease = lease},
             [this, lock, lease](const Operation& taken) {
               if (!taken.Wrote()) return Leave(lease);
               Guard(lock, taken.revision, lease, random_.Between(1, 12));
             });
      });
}

void SimClient::Guard(const std::string& lock, int64_t revision, int64_t lease, int64_t times) {
  if (times == 0 || scene_.stopping) return Release(lock, revision, lease);
  Swap({.target = Condition::Target::kCreate, .key = lock, .revision = revision},
       {.key = absl::StrCat("guarded/", lock), .value = NextValue()},
       [this, lock, revision, lease, times](const Operation& written) {
         if (written.outcome == Outcome::kDone && !written.held) return Leave(lease);
         After(absl::Milliseconds(300), [this, lock, revision, lease, times] {
           etcdserverpb::LeaseKeepAliveRequest request;
           request.set_id(lease);
           const int64_t call = scene_.now();
           scene_.Call<etcdserverpb::LeaseKeepAliveRequest, etcdserverpb::LeaseKeepAliveResponse>(
               Pick(),
               [](Server& server, const auto& asked, auto* answer, Server::Done done) {
                 server.LeaseKeepAlive(asked, false, answer, std::move(done));
               },
               request,
               [this, call, lock, revision, lease, times](const absl::Status& status,
                                                          const auto& answer) {
                 if (status.ok() && answer.ttl() > 0) {
                   scene_.history.renewals.push_back(
                       {.lease = lease, .call = call, .ttl_seconds = answer.ttl()});
                 }
                 Guard(lock, revision, lease, times - 1);
               });
         });
       });
}

void SimClient::Release(const std::string& lock, int64_t revision, int64_t lease) {
  if (random_.Bernoulli(0.3)) return Leave(lease);
  Swap({.target = Condition::Target::kCreate, .key = lock, .revision = revision},
       {.key = lock, .value = "", .lease = 0, .deletion = true},
       [this, lease](const Operation&) { Leave(lease); });
}

// Some owners vanish: then the lease has to end by itself.
void SimClient::Leave(int64_t lease) {
  if (random_.Bernoulli(0.5)) return Next();
  scene_.history.revoked.insert(lease);
  etcdserverpb::LeaseRevokeRequest request;
  request.set_id(lease);
  scene_.Call<etcdserverpb::LeaseRevokeRequest, etcdserverpb::LeaseRevokeResponse>(
      Pick(),
      [](Server& server, const auto& asked, auto* answer, Server::Done done) {
        server.LeaseRevoke(asked, answer, std::move(done));
      },
      request, [this](const absl::Status&, const auto&) { Next(); });
}

std::string SimClient::NextValue() { return absl::StrCat(number_, ".", ++values_); }

void SimClient::Note(Operation operation, const absl::Status& status, int64_t revision,
                     const Then& then) {
  if (status.ok()) {
    operation.end = scene_.now();
    operation.outcome = Outcome::kDone;
    operation.revision = revision;
  } else if (IsRefusal(status)) {
    operation.outcome = Outcome::kRefused;
  }
  const bool empty = operation.effects.empty() && operation.outcome != Outcome::kDone;
  if (!empty) scene_.history.operations.push_back(operation);
  if (status.ok()) return then(operation);
  After(absl::Milliseconds(100), [operation, then] { then(operation); });
}

void SimClient::Read(const std::string& key, const std::string& range_end, Then then) {
  etcdserverpb::RangeRequest request;
  request.set_key(key);
  request.set_range_end(range_end);
  request.set_serializable(scene_.serializable_reads);
  Operation operation{.client = number_, .call = scene_.now()};
  scene_.Call<etcdserverpb::RangeRequest, etcdserverpb::RangeResponse>(
      Pick(),
      [](Server& server, const auto& asked, auto* answer, Server::Done done) {
        server.Range(asked, answer, std::move(done));
      },
      request,
      [this, key, range_end, operation, then = std::move(then)](const absl::Status& status,
                                                                const auto& answer) mutable {
        if (status.ok()) operation.readings.push_back(ReadingOf(key, range_end, answer));
        Note(std::move(operation), status, answer.header().revision(), then);
      });
}

void SimClient::Put(const std::string& key, const std::string& value, Then then) {
  etcdserverpb::PutRequest request;
  request.set_key(key);
  request.set_value(value);
  Operation operation{.client = number_, .call = scene_.now()};
  operation.effects.push_back({.key = key, .value = value});
  scene_.Call<etcdserverpb::PutRequest, etcdserverpb::PutResponse>(
      Pick(),
      [](Server& server, const auto& asked, auto* answer, Server::Done done) {
        server.Put(asked, answer, std::move(done));
      },
      request,
      [this, operation, then = std::move(then)](const absl::Status& status, const auto& answer) {
        Note(operation, status, answer.header().revision(), then);
      });
}

void SimClient::Swap(const Condition& condition, const Effect& effect, Then then) {
  etcdserverpb::TxnRequest request;
  etcdserverpb::Compare* const compare = request.add_compare();
  compare->set_key(condition.key);
  if (condition.target == Condition::Target::kCreate) {
    compare->set_target(etcdserverpb::Compare::CREATE);
    compare->set_create_revision(condition.revision);
  } else {
    compare->set_target(etcdserverpb::Compare::MOD);
    compare->set_mod_revision(condition.revision);
  }
  if (effect.deletion) {
    request.add_success()->mutable_request_delete_range()->set_key(effect.key);
  } else {
    etcdserverpb::PutRequest* const put = request.add_success()->mutable_request_put();
    put->set_key(effect.key);
    put->set_value(effect.value);
    put->set_lease(effect.lease);
  }
  request.add_failure()->mutable_request_range()->set_key(condition.key);
  Operation operation{.client = number_, .call = scene_.now(), .condition = condition};
  operation.effects.push_back(effect);
  scene_.Call<etcdserverpb::TxnRequest, etcdserverpb::TxnResponse>(
      Pick(),
      [](Server& server, const auto& asked, auto* answer, Server::Done done) {
        server.Txn(asked, answer, std::move(done));
      },
      request,
      [this, operation, then = std::move(then)](const absl::Status& status,
                                                const auto& answer) mutable {
        if (status.ok()) {
          operation.held = answer.succeeded();
          if (!operation.held) {
            operation.readings.push_back(
                ReadingOf(operation.condition->key, "", answer.responses(0).response_range()));
          }
        }
        Note(std::move(operation), status, answer.header().revision(), then);
      });
}

// --- Watches ---

SimWatch::SimWatch(SimScene& scene, std::string name, bool pinned, size_t member, std::string key,
                   std::string range_end, int64_t start, Random random)
    : scene_(scene),
      pinned_(pinned),
      member_(member),
      random_(random),
      next_(start),
      heard_(start - 1) {
  record_.name = std::move(name);
  record_.key = std::move(key);
  record_.range_end = std::move(range_end);
  record_.start_revision = start;
}

void SimWatch::Open() {
  if (finished_ || ended_) return;
  SimMember& member = *scene_.members[member_];
  if (!member.running()) return Reopen();
  at_ = &member;
  member.door().Post([self = shared_from_this(), &member] {
    if (self->finished_ || self->at_ != &member || self->stream_ != nullptr) return;
    self->stream_ = member.server().watch_hub().Open(self);
    etcdserverpb::WatchRequest request;
    etcdserverpb::WatchCreateRequest& create = *request.mutable_create_request();
    create.set_key(self->record_.key);
    create.set_range_end(self->record_.range_end);
    create.set_start_revision(self->next_);
    create.set_prev_kv(true);
    create.set_progress_notify(true);
    self->stream_->Handle(request);
    self->Pump();
  });
}

void SimWatch::Reopen() {
  at_ = nullptr;
  scene_.world.After(absl::Milliseconds(random_.Between(10, 100)), [self = shared_from_this()] {
    if (!self->pinned_ || self->scene_.members[self->member_]->retired()) {
      self->member_ = self->random_.Below(self->scene_.members.size());
    }
    self->Open();
  });
}

void SimWatch::OnDown(const SimMember& member) {
  if (at_ != &member) return;
  if (stream_ != nullptr) stream_->Close();
  stream_.reset();
  if (!finished_) Reopen();
}

void SimWatch::RequestProgress() {
  if (at_ == nullptr || stream_ == nullptr) return;
  at_->door().Post([self = shared_from_this()] {
    if (self->stream_ == nullptr) return;
    etcdserverpb::WatchRequest request;
    request.mutable_progress_request();
    self->stream_->Handle(request);
    self->Pump();
  });
}

void SimWatch::Pump() {
  while (stream_ != nullptr) {
    const std::optional<std::string> bytes = stream_->Next();
    if (!bytes.has_value()) return;
    etcdserverpb::WatchResponse response;
    if (!response.ParseFromString(*bytes)) return;
    Take(response);
  }
}

void SimWatch::Take(const etcdserverpb::WatchResponse& response) {
  if (response.canceled()) {
    ended_ = true;
    return;
  }
  if (response.created()) return;
  WatchAnswer answer{.time = scene_.now(), .revision = response.header().revision()};
  for (const mvccpb::Event& event : response.events()) {
    WatchEvent one{.deletion = event.type() == mvccpb::Event::DELETE, .pair = PairOf(event.kv())};
    if (event.has_prev_kv()) one.prev = PairOf(event.prev_kv());
    answer.events.push_back(std::move(one));
  }
  const int64_t heard =
      answer.events.empty() ? answer.revision : answer.events.back().pair.mod_revision;
  record_.answers.push_back(std::move(answer));
  heard_ = std::max(heard_, heard);
  next_ = std::max(next_, heard + 1);
}

void SimWatch::Finish(int64_t complete_to) {
  if (finished_) return;
  finished_ = true;
  if (stream_ != nullptr) stream_->Close();
  stream_.reset();
  record_.complete_to = complete_to;
  scene_.history.watches.push_back(std::move(record_));
}

}  // namespace keelson::linearizability
