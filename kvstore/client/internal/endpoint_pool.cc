#include "kvstore/client/internal/endpoint_pool.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace keelson::kvstore::client_internal {
namespace {

constexpr absl::Duration kAvoidMin = absl::Milliseconds(250);
constexpr absl::Duration kAvoidMax = absl::Seconds(8);

}  // namespace

absl::Status EndpointPool::Set(const std::vector<std::string>& names) {
  if (names.empty()) return absl::InvalidArgumentError("no available endpoints");
  std::vector<std::shared_ptr<Endpoint>> next;
  for (const std::string& name : names) {
    const auto named = [&name](const auto& each) { return each->name == name; };
    if (std::any_of(next.begin(), next.end(), named)) continue;
    const auto known = std::find_if(endpoints_.begin(), endpoints_.end(), named);
    if (known != endpoints_.end()) {
      next.push_back(*known);
      continue;
    }
    auto endpoint = std::make_shared<Endpoint>();
    endpoint->name = name;
    KEELSON_ASSIGN_OR_RETURN(endpoint->channel, runtime_->Open(name));
    next.push_back(std::move(endpoint));
  }
  // Stay with the current one, if that stays.
  size_t current = 0;
  if (!endpoints_.empty()) {
    const auto found = std::find(next.begin(), next.end(), endpoints_[current_]);
    if (found != next.end()) current = static_cast<size_t>(found - next.begin());
  }
  for (auto& endpoint : std::exchange(endpoints_, std::move(next))) {
    retired_->push_back(std::move(endpoint));
  }
  current_ = current;
  // This may run in a call of one of them, which then cannot go.
  runtime_->loop().Post([retired = retired_] {
    std::erase_if(*retired, [](const auto& endpoint) { return endpoint.use_count() == 1; });
  });
  return absl::OkStatus();
}

std::shared_ptr<Endpoint> EndpointPool::Pick(absl::Duration now) {
  size_t best = current_;
  for (size_t i = 0; i < endpoints_.size(); ++i) {
    const size_t index = (current_ + i) % endpoints_.size();
    if (endpoints_[index]->bad_until <= now) {
      best = index;
      break;
    }
    if (endpoints_[index]->bad_until < endpoints_[best]->bad_until) best = index;
  }
  current_ = best;
  return endpoints_[best];
}

void EndpointPool::NoteGood(Endpoint& endpoint) {
  endpoint.failures = 0;
  endpoint.bad_until = -absl::InfiniteDuration();
}

void EndpointPool::NoteBad(Endpoint& endpoint, absl::Duration now) {
  // Calls that fail together, as when a connection breaks, count once.
  if (endpoint.bad_until > now) return;
  const int doublings = std::min(endpoint.failures++, 10);
  endpoint.bad_until = now + std::min(kAvoidMin * (1 << doublings), kAvoidMax);
}

bool EndpointPool::AnyGood(absl::Duration now) const {
  return std::any_of(endpoints_.begin(), endpoints_.end(),
                     [now](const auto& each) { return each->bad_until <= now; });
}

std::vector<std::string> EndpointPool::Names() const {
  std::vector<std::string> names;
  for (const auto& endpoint : endpoints_) names.push_back(endpoint->name);
  return names;
}

void EndpointPool::Close() {
  for (const auto& endpoint : std::exchange(*retired_, {})) endpoint->channel->Close();
  for (const auto& endpoint : std::exchange(endpoints_, {})) endpoint->channel->Close();
}

}  // namespace keelson::kvstore::client_internal
