#include "kvstore/discovery/health.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/http/client.h"
#include "base/net/address.h"

namespace keelson::kvstore::discovery {

absl::Status ValidateHealthCheck(const HealthCheck& check) {
  const auto wrong = [](const char* what) {
    return absl::InvalidArgumentError(absl::StrCat("health check: ", what));
  };
  switch (check.kind) {
    case HealthCheck::Kind::kNone:
      return absl::OkStatus();
    case HealthCheck::Kind::kTtl:
      if (check.ttl <= absl::ZeroDuration()) return wrong("the TTL is not positive");
      return absl::OkStatus();
    case HealthCheck::Kind::kTcp:
    case HealthCheck::Kind::kGrpc:
      if (!net::ParseHostPort(check.target).ok()) return wrong("the target is not host:port");
      break;
    case HealthCheck::Kind::kHttp:
      if (!http::ParseUrl(check.target).ok()) return wrong("the target is no http or https URL");
      break;
  }
  if (check.interval <= absl::ZeroDuration()) return wrong("the interval is not positive");
  if (check.timeout <= absl::ZeroDuration()) return wrong("the timeout is not positive");
  if (check.rise < 1 || check.fall < 1) return wrong("rise and fall are at least 1");
  return absl::OkStatus();
}

HealthJudge::HealthJudge(HealthCheck check) : check_(std::move(check)) {}

void HealthJudge::OnProbe(const absl::Status& outcome) {
  last_ = outcome;
  if (outcome.ok() == healthy_) {
    in_a_row_ = 0;
    return;
  }
  if (++in_a_row_ < (healthy_ ? check_.fall : check_.rise)) return;
  healthy_ = !healthy_;
  in_a_row_ = 0;
}

void HealthJudge::OnPass(absl::Duration now) {
  healthy_ = true;
  passed_at_ = now;
}

void HealthJudge::OnFail(std::string why) {
  healthy_ = false;
  last_ = absl::UnavailableError(std::move(why));
}

absl::Status HealthJudge::Judge(absl::Duration now) const {
  if (check_.kind == HealthCheck::Kind::kNone) return absl::OkStatus();
  if (check_.kind == HealthCheck::Kind::kTtl && healthy_ && now - passed_at_ > check_.ttl) {
    return absl::UnavailableError(
        absl::StrCat("no sign of life for ", absl::FormatDuration(check_.ttl)));
  }
  if (healthy_) return absl::OkStatus();
  return absl::UnavailableError(last_.ok() ? "not well long enough" : last_.message());
}

}  // namespace keelson::kvstore::discovery
