#include "tests/linearizability/workload.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace keelson::linearizability {
namespace {

using etcdserverpb::Compare;

constexpr int kRegisters = 4;
constexpr double kEpochSeconds = 2;  // so that no history of one register is too long to search
constexpr int kSetSize = 100;
constexpr int kLists = 3;
constexpr size_t kListBytes = 400;
constexpr int kLocks = 2;
constexpr int64_t kTtlSeconds = 3;

bool IsRefusal(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
      return true;
    default:
      return false;
  }
}

Compare ToProto(const Condition& condition) {
  Compare compare;
  compare.set_key(condition.key);
  compare.set_result(Compare::EQUAL);
  if (condition.target == Condition::Target::kCreate) {
    compare.set_target(Compare::CREATE);
    compare.set_create_revision(condition.revision);
  } else {
    compare.set_target(Compare::MOD);
    compare.set_mod_revision(condition.revision);
  }
  return compare;
}

Reading ToReading(const std::string& key, const std::string& range_end,
                  const etcdserverpb::RangeResponse& range) {
  Reading reading{.key = key, .range_end = range_end, .pairs = {}};
  for (const mvccpb::KeyValue& pair : range.kvs()) reading.pairs.push_back(FromProto(pair));
  return reading;
}

}  // namespace

int64_t NowNanoseconds() { return absl::ToInt64Nanoseconds(RealClock().Monotonic()); }

Pair FromProto(const mvccpb::KeyValue& pair) {
  return {.key = pair.key(),
          .value = pair.value(),
          .create_revision = pair.create_revision(),
          .mod_revision = pair.mod_revision(),
          .version = pair.version(),
          .lease = pair.lease()};
}

// --- Load ---

void LoadClient::Run() {
  while (!shared_.stopping) {
    switch (kind_) {
      case Kind::kRegister:
        Register();
        break;
      case Kind::kSet:
        Set();
        break;
      case Kind::kAppend:
        Append();
        break;
      case Kind::kLock:
        Lock();
        break;
    }
    Pause(6);
  }
}

void LoadClient::MoveTo(History& history) {
  std::move(operations_.begin(), operations_.end(), std::back_inserter(history.operations));
  std::move(renewals_.begin(), renewals_.end(), std::back_inserter(history.renewals));
  history.revoked.merge(revoked_);
}

void LoadClient::Register() {
  const auto epoch = static_cast<int64_t>(shared_.seconds() / kEpochSeconds);
  const std::string key = absl::StrCat("reg/", epoch, "/", random_.Below(kRegisters));
  if (random_.Bernoulli(0.5)) {
    Read(key, "");
  } else {
    Put(key, NextValue());
  }
}

void LoadClient::Set() {
  // Each client fills sets of its own and looks at those of all.
  const std::string value = NextValue();
  const std::string set = absl::StrCat("set/", values_ / kSetSize, "/");
  Put(absl::StrCat(set, value), value);
  if (random_.Bernoulli(0.2)) Read(set, kvstore::PrefixEnd(set));
}

void LoadClient::Append() {
  const std::string key = absl::StrCat("list/", random_.Below(kLists));
  const Operation read = Read(key, "");
  if (read.outcome != Outcome::kDone) return;
  const std::vector<Pair>& pairs = read.readings[0].pairs;
  std::string value =
      pairs.empty() || pairs[0].value.size() > kListBytes ? "" : absl::StrCat(pairs[0].value, ",");
  value += NextValue();
  const int64_t revision = pairs.empty() ? 0 : pairs[0].mod_revision;
  Swap({.target = Condition::Target::kMod, .key = key, .revision = revision},
       {.key = key, .value = value});
}

bool LoadClient::Grant(int64_t lease, int64_t ttl) {
  etcdserverpb::LeaseGrantRequest request;
  request.set_id(lease);
  request.set_ttl(ttl);
  const int64_t call = NowNanoseconds();
  const auto granted = client_.LeaseGrant(request);
  if (!granted.ok()) return false;
  renewals_.push_back({.lease = lease, .call = call, .ttl_seconds = granted->ttl()});
  return true;
}

void LoadClient::Lock() {
  const int64_t lease = (int64_t{number_} + 1) * 1'000'000 + ++values_;
  if (!Grant(lease, kTtlSeconds)) return Pause(100);
  const std::string lock = absl::StrCat("lock/", random_.Below(kLocks));
  const Condition free{.target = Condition::Target::kCreate, .key = lock, .revision = 0};
  const Operation taken = Swap(free, {.key = lock, .value = NextValue(), .lease = lease});
  if (taken.Wrote()) Guard(lock, taken.revision, lease);
  // Some owners vanish: then the lease has to end by itself.
  if (random_.Bernoulli(0.3)) return Pause(200);
  revoked_.insert(lease);
  (void)client_.LeaseRevoke(lease);  // If it fails, the lease ends by itself.
  Pause(50);
}

// The work of an owner; what it writes is fenced by the lock's revision.
void LoadClient::Guard(const std::string& lock, int64_t revision, int64_t lease) {
  const Condition mine{.target = Condition::Target::kCreate, .key = lock, .revision = revision};
  for (int64_t n = random_.Between(1, 4); n > 0 && !shared_.stopping; --n) {
    const std::string value = NextValue();
    const Operation written = Swap(mine, {.key = absl::StrCat("guarded/", lock), .value = value});
    if (written.outcome == Outcome::kDone && !written.held) return;
    Pause(200);
    const int64_t call = NowNanoseconds();
    const auto kept = client_.LeaseKeepAliveOnce(lease);
    if (!kept.ok()) continue;
    renewals_.push_back({.lease = lease, .call = call, .ttl_seconds = kept->ttl()});
  }
  if (random_.Bernoulli(0.3)) return;
  Swap(mine, {.key = lock, .value = "", .lease = 0, .deletion = true});
}

std::string LoadClient::NextValue() { return absl::StrCat(number_, ".", ++values_); }

Operation LoadClient::Note(Operation operation, const absl::Status& status, int64_t revision) {
  if (status.ok()) {
    operation.end = NowNanoseconds();
    operation.outcome = Outcome::kDone;
    operation.revision = revision;
  } else if (IsRefusal(status)) {
    operation.outcome = Outcome::kRefused;
  } else {
    // A member that is down refuses at once: do not hammer it.
    Pause(40);
  }
  // Nothing is known of a read without an answer, and nothing follows from it.
  const bool empty = operation.effects.empty() && operation.outcome != Outcome::kDone;
  if (!empty) operations_.push_back(operation);
  return operation;
}

Operation LoadClient::Read(const std::string& key, const std::string& range_end) {
  etcdserverpb::RangeRequest request;
  request.set_key(key);
  request.set_range_end(range_end);
  request.set_serializable(shared_.serializable_reads);
  Operation operation{.client = number_, .call = NowNanoseconds()};
  const auto answer = client_.Range(request);
  if (!answer.ok()) return Note(std::move(operation), answer.status(), 0);
  operation.readings.push_back(ToReading(key, range_end, *answer));
  return Note(std::move(operation), answer.status(), answer->header().revision());
}

Operation LoadClient::Put(const std::string& key, const std::string& value) {
  Operation operation{.client = number_, .call = NowNanoseconds()};
  operation.effects.push_back({.key = key, .value = value});
  const auto answer = client_.Put(kvstore::PutOf(key, value));
  return Note(std::move(operation), answer.status(), answer.ok() ? answer->header().revision() : 0);
}

Operation LoadClient::Swap(const Condition& condition, const Effect& effect) {
  etcdserverpb::TxnRequest request;
  *request.add_compare() = ToProto(condition);
  if (effect.deletion) {
    *request.add_success()->mutable_request_delete_range() = kvstore::DeleteOf(effect.key);
  } else {
    *request.add_success()->mutable_request_put() =
        kvstore::PutOf(effect.key, effect.value, effect.lease);
  }
  *request.add_failure()->mutable_request_range() = kvstore::RangeOf(condition.key);
  Operation operation{.client = number_, .call = NowNanoseconds(), .condition = condition};
  operation.effects.push_back(effect);
  const auto answer = client_.Txn(request);
  if (!answer.ok()) return Note(std::move(operation), answer.status(), 0);
  operation.held = answer->succeeded();
  if (!operation.held) {
    operation.readings.push_back(
        ToReading(condition.key, "", answer->responses(0).response_range()));
  }
  return Note(std::move(operation), answer.status(), answer->header().revision());
}

void LoadClient::Pause(int64_t most_milliseconds) {
  absl::SleepFor(absl::Microseconds(random_.Between(0, most_milliseconds * 1000)));
}

// --- Watches ---

RecordedWatch::RecordedWatch(kvstore::Client& client, const Shared& shared, std::string name,
                             std::string key, std::string range_end, int64_t start_revision)
    : shared_(shared), heard_(start_revision - 1) {
  etcdserverpb::WatchCreateRequest request;
  request.set_key(key);
  request.set_range_end(range_end);
  request.set_start_revision(start_revision);
  request.set_prev_kv(true);
  request.set_progress_notify(true);
  {
    absl::MutexLock lock(&mu_);
    record_.name = std::move(name);
    record_.key = std::move(key);
    record_.range_end = std::move(range_end);
    record_.start_revision = start_revision;
  }
  watcher_ = client.Watch(
      request, {.on_response = [this](const etcdserverpb::WatchResponse& it) { Take(it); },
                .on_end = [this](const absl::Status&) { ended_ = true; }});
}

void RecordedWatch::Take(const etcdserverpb::WatchResponse& response) {
  const bool requested = response.watch_id() == -1;
  if (requested && shared_.ignore_requested_progress) return;
  WatchAnswer answer{.time = NowNanoseconds(), .revision = response.header().revision()};
  for (const mvccpb::Event& event : response.events()) {
    WatchEvent one{.deletion = event.type() == mvccpb::Event::DELETE,
                   .pair = FromProto(event.kv())};
    if (event.has_prev_kv()) one.prev = FromProto(event.prev_kv());
    answer.events.push_back(std::move(one));
  }
  int64_t heard = answer.revision;
  if (!answer.events.empty()) heard = answer.events.back().pair.mod_revision;
  absl::MutexLock lock(&mu_);
  record_.answers.push_back(std::move(answer));
  heard_ = std::max<int64_t>(heard_, heard);
}

WatchRecord RecordedWatch::Finish(int64_t complete_to) {
  watcher_.reset();
  absl::MutexLock lock(&mu_);
  record_.complete_to = complete_to;
  return std::move(record_);
}

std::vector<WatchRecord> HopAcross(int number, kvstore::Client& client, Random random,
                                   Shared& shared) {
  constexpr const char* kPrefixes[] = {"reg/", "set/", "list/", "lock/", ""};
  std::vector<WatchRecord> records;
  for (int hop = 0; !shared.stopping; ++hop) {
    const std::string prefix = kPrefixes[random.Below(std::size(kPrefixes))];
    const int64_t start = random.Between(shared.compacted + 2, shared.seen + 2);
    RecordedWatch watch(client, shared,
                        absl::StrCat("hop ", number, ".", hop, " below '", prefix, "'"),
                        prefix.empty() ? std::string(1, '\0') : prefix,
                        prefix.empty() ? std::string(1, '\0') : kvstore::PrefixEnd(prefix), start);
    const int64_t end = NowNanoseconds() + random.Between(200, 3000) * 1'000'000;
    while (!shared.stopping && NowNanoseconds() < end) {
      absl::SleepFor(absl::Milliseconds(random.Between(5, 200)));
      if (random.Bernoulli(0.5)) watch.RequestProgress();
    }
    records.push_back(watch.Finish(0));
  }
  return records;
}

}  // namespace keelson::linearizability
