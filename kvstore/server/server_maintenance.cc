// The maintenance part of Server: alarms, hashes.
#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "kvstore/errors.h"
#include "kvstore/server/command_codec.h"
#include "kvstore/server/server.h"
#include "kvstore/store_image.h"

namespace keelson::kvstore {
namespace {

using etcdserverpb::AlarmRequest;

struct Version {
  int major = 0;
  int minor = 0;
};

// "x.y" or "x.y.z".
std::optional<Version> ParseVersion(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, '.');
  if (parts.size() != 2 && parts.size() != 3) return std::nullopt;
  Version version;
  int patch = 0;
  if (!absl::SimpleAtoi(parts[0], &version.major) || !absl::SimpleAtoi(parts[1], &version.minor) ||
      (parts.size() == 3 && !absl::SimpleAtoi(parts[2], &patch)) || version.major < 0 ||
      version.minor < 0 || patch < 0) {
    return std::nullopt;
  }
  return version;
}

}  // namespace

std::vector<Store::RaisedAlarm> Server::Alarms() const {
  std::vector<Store::RaisedAlarm> alarms = store_->Alarms();
  const Store::RaisedAlarm own{.member_id = options_.member_id, .type = etcdserverpb::NOSPACE};
  const bool told = std::any_of(alarms.begin(), alarms.end(), [&](const auto& alarm) {
    return alarm.member_id == own.member_id && alarm.type == own.type;
  });
  if (space_.Alarmed() && !told) alarms.push_back(own);
  return alarms;
}

bool Server::HasAlarm(etcdserverpb::AlarmType type) const {
  const std::vector<Store::RaisedAlarm> alarms = Alarms();
  return std::any_of(alarms.begin(), alarms.end(),
                     [type](const auto& alarm) { return alarm.type == type; });
}

void Server::Alarm(const AlarmRequest& request, etcdserverpb::AlarmResponse* response, Done done,
                   const Origin& who) {
  if (request.action() != AlarmRequest::GET) {
    if (absl::Status allowed = CheckRight(auth::Right::kRoot, who); !allowed.ok()) {
      return done(std::move(allowed));
    }
    return Propose(request, who, response, std::move(done));
  }
  Linearizable(
      [this, type = request.alarm(), response, done = std::move(done)](const absl::Status& ready) {
        if (!ready.ok()) return done(ready);
        for (const Store::RaisedAlarm& alarm : store_->Alarms()) {
          if (type != etcdserverpb::NONE && type != alarm.type) continue;
          etcdserverpb::AlarmMember* const member = response->add_alarms();
          member->set_memberid(alarm.member_id);
          member->set_alarm(static_cast<etcdserverpb::AlarmType>(alarm.type));
        }
        FillHeaderAndRevision(response->mutable_header());
        done(ready);
      });
}

bool Server::HasRaisedOwnAlarm() const {
  const std::vector<Store::RaisedAlarm> alarms = store_->Alarms();
  return std::any_of(alarms.begin(), alarms.end(), [this](const auto& alarm) {
    return alarm.member_id == options_.member_id && alarm.type == etcdserverpb::NOSPACE;
  });
}

void Server::RefuseForSpace(const Done& done) {
  const bool strict = options_.alarm_clears_after == absl::InfiniteDuration();
  if (strict && !HasRaisedOwnAlarm()) ProposeOwnAlarm(AlarmRequest::ACTIVATE);
  done(errors::NoSpace());
}

void Server::UpdateSpaceAlarm(absl::Duration now) {
  const bool alarmed = space_.Alarmed();
  if (alarmed) space_was_short_ = now;
  const bool raised = HasRaisedOwnAlarm();
  if (alarmed && !raised) {
    ProposeOwnAlarm(AlarmRequest::ACTIVATE);
  } else if (raised && !alarmed && now - space_was_short_ >= options_.alarm_clears_after) {
    ProposeOwnAlarm(AlarmRequest::DEACTIVATE);
  }
}

void Server::ProposeOwnAlarm(AlarmRequest::AlarmAction action) {
  if (!HasLeader() || changing_alarm_.exchange(true)) return;
  AlarmRequest request;
  request.set_action(action);
  request.set_memberid(options_.member_id);
  request.set_alarm(etcdserverpb::NOSPACE);
  // What gets lost is asked for again by the next check.
  ProposeFor(request, Itself(), [this](const CommandResult&) { changing_alarm_.store(false); });
}

void Server::Defragment(const etcdserverpb::DefragmentRequest&, etcdserverpb::DefragmentResponse*,
                        Done done) {
  // Like etcd's, the answer has no header.
  if (!space_.Alarmed() && !HasRaisedOwnAlarm()) return done(absl::OkStatus());
  if (env_.backups == nullptr) return done(absl::OkStatus());
  RunBackup([this, done = std::move(done)] {
    const absl::Status status = store_->GiveBackSpace();
    space_.Check(*store_);
    done(status);
  });
}

void Server::Hash(const etcdserverpb::HashRequest&, etcdserverpb::HashResponse* response,
                  Done done) {
  RunRead(false, [this, response, done = std::move(done)] {
    const absl::StatusOr<std::unique_ptr<StoreImage>> image = store_->TakeImage();
    if (!image.ok()) return done(image.status());
    const absl::StatusOr<uint32_t> hash = HashAll(**image);
    if (!hash.ok()) return done(hash.status());
    response->set_hash(*hash);
    response->mutable_header()->set_revision((*image)->revision());
    FillHeaderAndRevision(response->mutable_header());
    done(absl::OkStatus());
  });
}

void Server::HashKV(const etcdserverpb::HashKVRequest& request,
                    etcdserverpb::HashKVResponse* response, Done done) {
  RunRead(false, [this, revision = request.revision(), response, done = std::move(done)] {
    const absl::StatusOr<std::unique_ptr<StoreImage>> image = store_->TakeImage();
    if (!image.ok()) return done(image.status());
    // Before 3.6 etcd refused the compacted revision itself, of which its members had different rows.
    const std::string& version = options_.version;
    const bool old = version.starts_with("3.4.") || version.starts_with("3.5.");
    if (old && revision > 0 && revision == (*image)->compacted()) return done(errors::Compacted());
    const absl::StatusOr<uint32_t> hash = (*image)->HashKeys(revision);
    if (!hash.ok()) return done(hash.status());
    response->set_hash(*hash);
    response->set_compact_revision((*image)->compacted());
    response->set_hash_revision(revision <= 0 ? (*image)->revision() : revision);
    response->mutable_header()->set_revision((*image)->revision());
    FillHeaderAndRevision(response->mutable_header());
    done(absl::OkStatus());
  });
}

void Server::Downgrade(const etcdserverpb::DowngradeRequest& request,
                       etcdserverpb::DowngradeResponse* response, Done done) {
  using etcdserverpb::DowngradeRequest;
  FillHeaderAndRevision(response->mutable_header());
  response->set_version(options_.version);
  if (request.action() == DowngradeRequest::CANCEL) return done(errors::NoInflightDowngrade());
  const std::optional<Version> target = ParseVersion(request.version());
  if (!target.has_value()) return done(errors::WrongDowngradeVersion());
  const std::optional<Version> own = ParseVersion(options_.version);
  if (!own.has_value() || target->major != own->major || target->minor != own->minor - 1) {
    return done(errors::InvalidDowngradeTarget());
  }
  if (request.action() == DowngradeRequest::VALIDATE) return done(absl::OkStatus());
  // There is no older form of the data to go back to; a snapshot is the way to another server.
  done(absl::UnimplementedError("the data directory has one version only; use a snapshot"));
}

void Server::RunBackup(Executor::Task task) { env_.backups->Post(std::move(task)); }

}  // namespace keelson::kvstore
