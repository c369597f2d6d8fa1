#include "kvstore/daemon/discovery.h"

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status.h"

namespace keelson::kvstore {
namespace {

using Json = nlohmann::json;

// One look for what is new; many of them are a wait that can be ended.
constexpr absl::Duration kPoll = absl::Seconds(5);
constexpr int kBackOffsMax = 8;  // 2^8 seconds

struct Answer {
  int status = 0;
  Json json;
  uint64_t index = 0;  // X-Etcd-Index
};

struct Registered {
  std::string key;
  std::string value;
  uint64_t created = 0;
};

class Discovery {
 public:
  Discovery(const DiscoveryFetch& fetch, const DiscoveryWorld& world, const std::string& url,
            const DiscoveryRequest& request)
      : fetch_(fetch), world_(world), request_(request), folder_(absl::StripSuffix(url, "/")) {}

  absl::StatusOr<std::string> Run() {
    KEELSON_RETURN_IF_ERROR(ReadSize());
    KEELSON_RETURN_IF_ERROR(Look());
    if (Position() == members_.size()) {
      if (members_.size() >= size_) return Full();
      KEELSON_RETURN_IF_ERROR(Register());
      KEELSON_RETURN_IF_ERROR(Look());
    } else {
      return absl::AlreadyExistsError("discovery: found duplicate id");
    }
    while (members_.size() < size_) {
      if (Position() == members_.size()) return absl::UnavailableError("discovery: unregistered");
      world_.tell(absl::StrCat("discovery: ", members_.size(), " of ", size_, " members are here"));
      KEELSON_RETURN_IF_ERROR(AwaitChange());
      KEELSON_RETURN_IF_ERROR(Look());
    }
    if (Position() >= size_) return Full();
    members_.resize(size_);
    return Joined();
  }

 private:
  static absl::Status Full() { return absl::FailedPreconditionError("discovery: cluster is full"); }

  // An answer below 500, whatever it takes.
  absl::StatusOr<Answer> Ask(const http::FetchRequest& request) {
    for (int attempt = 0;; ++attempt) {
      if (!world_.go_on()) return absl::CancelledError("the process is to end");
      const absl::StatusOr<http::Response> response = fetch_(request);
      if (absl::IsInvalidArgument(response.status())) return response.status();
      std::string why(response.status().message());
      if (response.ok()) {
        Answer answer{.status = response->status,
                      .json = Json::parse(response->body, nullptr, /*allow_exceptions=*/false)};
        const std::string index(response->headers.Find("X-Etcd-Index").value_or("0"));
        (void)absl::SimpleAtoi(index, &answer.index);
        if (answer.status < 500 && answer.json.is_object()) return answer;
        why = absl::StrCat("HTTP status ", answer.status);
      }
      BackOff(world_, attempt, why);
    }
  }

  static std::string Text(const Json& node, const char* name) {
    const auto found = node.find(name);
    return found != node.end() && found->is_string() ? found->get<std::string>() : "";
  }
  static Json Child(const Json& object, const char* name) {
    const auto found = object.find(name);
    return found == object.end() ? Json() : *found;
  }

  absl::Status ReadSize() {
    KEELSON_ASSIGN_OR_RETURN(const Answer answer,
                             Ask({.url = absl::StrCat(folder_, "/_config/size")}));
    if (answer.status == 404) return absl::NotFoundError("discovery: size key not found");
    const Json node = Child(answer.json, "node");
    const std::string text = node.is_object() ? Text(node, "value") : "";
    constexpr uint64_t kSizeMax = 1000;
    if (!absl::SimpleAtoi(text, &size_) || size_ == 0 || size_ > kSizeMax) {
      return absl::InvalidArgumentError("discovery: size key is bad");
    }
    return absl::OkStatus();
  }

  // Who is registered, the oldest first.
  absl::Status Look() {
    KEELSON_ASSIGN_OR_RETURN(const Answer answer, Ask({.url = folder_}));
    members_.clear();
    index_ = answer.index;
    const Json node = Child(answer.json, "node");
    if (answer.status != 200 || !node.is_object()) return absl::OkStatus();
    for (const Json& child : Child(node, "nodes")) {
      if (!child.is_object()) continue;
      const std::string key = Text(child, "key");
      const std::string name = key.substr(key.rfind('/') + 1);
      const Json created = Child(child, "createdIndex");
      if (name == "_config" || !created.is_number_unsigned()) continue;
      members_.push_back({name, Text(child, "value"), created.get<uint64_t>()});
    }
    std::sort(members_.begin(), members_.end(),
              [](const Registered& a, const Registered& b) { return a.created < b.created; });
    return absl::OkStatus();
  }

  [[nodiscard]] size_t Position() const {
    const auto found = std::find_if(members_.begin(), members_.end(),
                                    [this](const Registered& m) { return m.key == request_.id; });
    return static_cast<size_t>(found - members_.begin());
  }

  absl::Status Register() {
    http::FetchRequest put{.method = "PUT",
                           .url = absl::StrCat(folder_, "/", request_.id, "?prevExist=false"),
                           .body = "value=" + http::PercentEncode(request_.members)};
    put.headers.Add("Content-Type", "application/x-www-form-urlencoded");
    KEELSON_ASSIGN_OR_RETURN(const Answer answer, Ask(put));
    if (answer.status == 201 || answer.status == 200) return absl::OkStatus();
    if (answer.status == 412) return absl::AlreadyExistsError("discovery: found duplicate id");
    return absl::FailedPreconditionError(absl::StrCat(
        "discovery: the service refuses to register this member: HTTP status ", answer.status));
  }

  // Returns when something has changed, or some seconds have passed.
  absl::Status AwaitChange() {
    if (!world_.go_on()) return absl::CancelledError("the process is to end");
    const absl::StatusOr<http::Response> response =
        fetch_({.url = absl::StrCat(folder_, "?wait=true&recursive=true&waitIndex=", index_ + 1),
                .timeout = kPoll});
    // Whatever came, the next look shows how things are. A service that does not wait is spared.
    if (!response.ok() && !absl::IsDeadlineExceeded(response.status())) {
      world_.sleep(absl::Seconds(1));
    }
    if (response.ok() && response->status != 200) world_.sleep(absl::Seconds(1));
    return absl::OkStatus();
  }

  [[nodiscard]] absl::StatusOr<std::string> Joined() const {
    std::vector<std::string> all;
    for (const Registered& member : members_) all.push_back(member.value);
    return InitialClusterOf(all);
  }

  const DiscoveryFetch& fetch_;
  const DiscoveryWorld& world_;
  const DiscoveryRequest& request_;
  const std::string folder_;
  uint64_t size_ = 0;
  uint64_t index_ = 0;
  std::vector<Registered> members_;
};

}  // namespace

void BackOff(const DiscoveryWorld& world, int attempt, const std::string& why) {
  const absl::Duration pause = absl::Seconds(1 << std::min(attempt, kBackOffsMax));
  world.tell(absl::StrCat("discovery: ", why, ", trying again in ", absl::FormatDuration(pause)));
  // In pieces, so that the process can end.
  for (absl::Duration slept; slept < pause && world.go_on(); slept += absl::Seconds(1)) {
    world.sleep(absl::Seconds(1));
  }
}

absl::StatusOr<std::string> InitialClusterOf(const std::vector<std::string>& registered) {
  std::set<std::string> names;
  for (const std::string& member : registered) {
    const std::vector<std::string> pair = absl::StrSplit(member, absl::MaxSplits('=', 1));
    if (!names.insert(pair[0]).second) {
      return absl::AlreadyExistsError(
          absl::StrCat("discovery: found duplicate name '", pair[0], "'"));
    }
  }
  return absl::StrJoin(registered, ",");
}

absl::StatusOr<std::string> JoinByDiscovery(const DiscoveryFetch& fetch,
                                            const DiscoveryWorld& world, const std::string& url,
                                            const DiscoveryRequest& request) {
  return Discovery(fetch, world, url, request).Run();
}

}  // namespace keelson::kvstore
