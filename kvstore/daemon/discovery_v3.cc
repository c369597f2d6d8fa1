#include "kvstore/daemon/discovery_v3.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "kvstore/client/txn.h"

namespace keelson::kvstore {
namespace {

using etcdserverpb::RangeResponse;

// How often a wait looks whether it is to end.
constexpr absl::Duration kPoll = absl::Seconds(1);

struct Registered {
  std::string key;
  std::string value;
  int64_t created = 0;  // revision
};

// Trouble that no waiting ends.
bool IsFinal(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsPermissionDenied(status) ||
         absl::IsUnauthenticated(status);
}

class Registry {
 public:
  Registry(Client& client, const DiscoveryWorld& world, const std::string& token,
           const DiscoveryRequest& request)
      : client_(client),
        world_(world),
        request_(request),
        folder_(absl::StrCat("/_etcd/registry/", token)),
        own_key_(absl::StrCat(folder_, "/members/", request.id)) {}

  absl::StatusOr<std::string> Run() {
    KEELSON_RETURN_IF_ERROR(ReadSize());
    KEELSON_RETURN_IF_ERROR(Look());
    if (Position() < members_.size()) {
      KEELSON_RETURN_IF_ERROR(CheckEarlierOne());
    } else {
      if (members_.size() >= size_) return Full();
      KEELSON_RETURN_IF_ERROR(Register());
      KEELSON_RETURN_IF_ERROR(Look());
    }
    while (members_.size() < size_) {
      if (Position() == members_.size()) return absl::UnavailableError("discovery: unregistered");
      world_.tell(absl::StrCat("discovery: ", members_.size(), " of ", size_, " members are here"));
      KEELSON_RETURN_IF_ERROR(AwaitChange());
      KEELSON_RETURN_IF_ERROR(Look());
    }
    // Of more than are wanted, who was first are the founders.
    if (Position() >= size_) return Full();
    std::vector<std::string> founders;
    for (size_t i = 0; i < size_; ++i) founders.push_back(members_[i].value);
    return InitialClusterOf(founders);
  }

 private:
  static absl::Status Full() { return absl::FailedPreconditionError("discovery: cluster is full"); }

  // Repeats `ask` until it succeeds, or fails for good.
  template <typename Response>
  absl::StatusOr<Response> Ask(const std::function<absl::StatusOr<Response>()>& ask) {
    for (int attempt = 0;; ++attempt) {
      if (!world_.go_on()) return absl::CancelledError("the process is to end");
      absl::StatusOr<Response> response = ask();
      if (response.ok() || IsFinal(response.status())) return response;
      BackOff(world_, attempt, std::string(response.status().message()));
    }
  }

  absl::StatusOr<RangeResponse> Read(const etcdserverpb::RangeRequest& range) {
    return Ask<RangeResponse>([this, &range] { return client_.Range(range); });
  }

  absl::Status ReadSize() {
    KEELSON_ASSIGN_OR_RETURN(const RangeResponse answer,
                             Read(RangeOf(absl::StrCat(folder_, "/_config/size"))));
    if (answer.kvs().empty()) return absl::NotFoundError("discovery: size key not found");
    constexpr uint64_t kSizeMax = 1000;
    if (!absl::SimpleAtoi(answer.kvs(0).value(), &size_) || size_ == 0 || size_ > kSizeMax) {
      return absl::InvalidArgumentError("discovery: size key is bad");
    }
    return absl::OkStatus();
  }

  // Who is registered, the oldest first.
  absl::Status Look() {
    KEELSON_ASSIGN_OR_RETURN(const RangeResponse answer,
                             Read(RangeOfPrefix(absl::StrCat(folder_, "/members/"))));
    members_.clear();
    revision_ = answer.header().revision();
    for (const mvccpb::KeyValue& pair : answer.kvs()) {
      const std::string value(absl::StripAsciiWhitespace(pair.value()));
      if (value.find('=') == std::string::npos) {
        world_.tell(absl::StrCat("discovery: '", pair.key(), "' is not name=URL, ignoring"));
        continue;
      }
      members_.push_back({pair.key(), value, pair.create_revision()});
    }
    std::sort(members_.begin(), members_.end(),
              [](const Registered& a, const Registered& b) { return a.created < b.created; });
    return absl::OkStatus();
  }

  [[nodiscard]] size_t Position() const {
    const auto found = std::find_if(members_.begin(), members_.end(),
                                    [this](const Registered& m) { return m.key == own_key_; });
    return static_cast<size_t>(found - members_.begin());
  }

  // Our key was there before us.
  absl::Status CheckEarlierOne() const {
    if (members_.size() < size_ && members_[Position()].value == request_.members) {
      world_.tell("discovery: this member has registered before, going on");
      return absl::OkStatus();
    }
    return absl::AlreadyExistsError(absl::StrCat(
        "discovery: found duplicate id: '", own_key_, "' is '", members_[Position()].value,
        "'; if that member has lost its data, start it with --initial-cluster and "
        "--initial-cluster-state=existing, and if it has never run, delete the key"));
  }

  // May be done twice, as when an answer was lost: the first time counts.
  absl::Status Register() {
    const etcdserverpb::TxnRequest txn =
        TxnBuilder().If(Missing(own_key_)).Then(PutOf(own_key_, request_.members)).Build();
    return Ask<etcdserverpb::TxnResponse>([this, &txn] { return client_.Txn(txn); }).status();
  }

  // Returns when something has changed, or it cannot be known whether it has.
  absl::Status AwaitChange() {
    absl::Mutex mu;
    bool changed = false;
    absl::Status end;
    const auto note = [&](const absl::Status& status) {
      absl::MutexLock lock(&mu);
      changed = true;
      end.Update(status);
    };
    etcdserverpb::WatchCreateRequest range;
    range.set_key(absl::StrCat(folder_, "/members/"));
    range.set_range_end(PrefixEnd(range.key()));
    range.set_start_revision(revision_ + 1);
    const std::unique_ptr<Watcher> watcher =
        client_.Watch(range, {.on_response =
                                  [&note](const etcdserverpb::WatchResponse& response) {
                                    if (!response.events().empty()) note(absl::OkStatus());
                                  },
                              .on_end = note});
    while (world_.go_on()) {
      absl::MutexLock lock(&mu);
      if (!client_.Await(&mu, absl::Condition(&changed), kPoll)) continue;
      if (end.ok()) return absl::OkStatus();
      if (IsFinal(end)) return end;
      break;
    }
    if (!world_.go_on()) return absl::CancelledError("the process is to end");
    // The next look shows how things are; a cluster that ends watches is spared.
    world_.sleep(kPoll);
    return absl::OkStatus();
  }

  Client& client_;
  const DiscoveryWorld& world_;
  const DiscoveryRequest& request_;
  const std::string folder_;
  const std::string own_key_;
  uint64_t size_ = 0;
  int64_t revision_ = 0;
  std::vector<Registered> members_;
};

}  // namespace

absl::StatusOr<std::string> JoinByDiscoveryV3(Client& client, const DiscoveryWorld& world,
                                              const std::string& token,
                                              const DiscoveryRequest& request) {
  return Registry(client, world, token, request).Run();
}

}  // namespace keelson::kvstore
