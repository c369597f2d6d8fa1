// The authentication part of Server.
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "kvstore/auth/secrets.h"
#include "kvstore/errors.h"
#include "kvstore/server/command_codec.h"
#include "kvstore/server/server.h"

namespace keelson::kvstore {

absl::StatusOr<Origin> Server::Identify(std::string_view token) {
  Origin who;
  if (token.empty()) return who;
  const std::shared_ptr<auth::AuthStore> store = store_->Auth();
  if (!store->Enabled()) return who;
  constexpr std::string_view kBearer = "Bearer ";
  if (token.starts_with(kBearer)) token.remove_prefix(kBearer.size());
  if (options_.jwt != nullptr) {
    std::optional<auth::Jwt::Claims> claims = options_.jwt->Verify(token, env_.clock->Now());
    if (!claims.has_value()) return errors::InvalidAuthToken();
    who.set_user(std::move(claims->user));
    who.set_auth_revision(claims->revision);
    return who;
  }
  // Before the user, so that a change in between is noticed.
  who.set_auth_revision(store->Revision());
  std::optional<std::string> user = tokens_.Resolve(token, env_.clock->Monotonic());
  if (!user.has_value()) return errors::InvalidAuthToken();
  who.set_user(*std::move(user));
  return who;
}

Origin Server::IdentifyByCertificate(std::string_view common_name) const {
  Origin who;
  const std::shared_ptr<auth::AuthStore> store = store_->Auth();
  if (common_name.empty() || !options_.client_cert_auth || !store->Enabled()) return who;
  who.set_auth_revision(store->Revision());
  who.set_user(std::string(common_name));
  return who;
}

absl::Status Server::CheckRate(const Origin& who, std::string_view address) {
  if (!rates_.limits() || who.user() == "root") return absl::OkStatus();
  const std::string_view host = address.substr(0, address.rfind(':'));
  const std::string_view name = who.user().empty() ? host : std::string_view(who.user());
  if (rates_.Take(name, env_.clock->Monotonic())) return absl::OkStatus();
  return errors::TooManyUserRequests(name, options_.user_requests_per_second);
}

absl::Status Server::CheckRight(auth::Right right, const Origin& who) const {
  switch (right) {
    case auth::Right::kRoot:
      return store_->Auth()->CheckRoot(who);
    case auth::Right::kUser:
      return store_->Auth()->CheckUser(who);
    case auth::Right::kAnyone:
    case auth::Right::kOwnKeys:
    case auth::Right::kOwnRole:
      break;
  }
  return absl::OkStatus();
}

absl::Status Server::CheckRange(const etcdserverpb::RangeRequest& request,
                                const Origin& who) const {
  return store_->Auth()->CheckKeys(who, request.key(), request.range_end(), auth::Access::kRead);
}

absl::Status Server::CheckWatch(const etcdserverpb::WatchCreateRequest& request,
                                const Origin& who) const {
  // An empty key stands for the smallest one.
  const std::string key = request.key().empty() ? std::string(1, '\0') : request.key();
  return store_->Auth()->CheckKeys(who, key, request.range_end(), auth::Access::kRead);
}

absl::Status Server::CheckLeaseKeys(int64_t lease, const Origin& who, auth::Access access) const {
  const std::shared_ptr<auth::AuthStore> store = store_->Auth();
  if (!store->Enabled()) return absl::OkStatus();
  KEELSON_RETURN_IF_ERROR(store->CheckUser(who));
  if (store->CheckRoot(who).ok()) return absl::OkStatus();
  for (const std::string& key : store_->LeaseKeys(lease)) {
    KEELSON_RETURN_IF_ERROR(store->CheckKeys(who, key, "", access));
  }
  return absl::OkStatus();
}

void Server::ChangeAuth(const AuthCommand& command, const Origin& who,
                        etcdserverpb::ResponseHeader* header, Done done) {
  ProposeFor(command, who, [this, header, done = std::move(done)](const CommandResult& result) {
    if (result.status.ok()) FillHeaderAndRevision(header);
    done(result.status);
  });
}

void Server::UserAdd(const etcdserverpb::AuthUserAddRequest& request,
                     etcdserverpb::AuthUserAddResponse* response, Done done, const Origin& who) {
  if (request.name().empty()) return done(errors::UserEmpty());
  RunRead(false, [this, &request, response, done = std::move(done), who] {
    AuthCommand command;
    etcdserverpb::AuthUserAddRequest& user = *command.mutable_user_add();
    user = request;
    user.clear_password();
    if (!request.options().no_password() && request.hashedpassword().empty()) {
      user.set_hashedpassword(auth::HashPassword(request.password(), options_.bcrypt_cost));
    }
    ChangeAuth(command, who, response->mutable_header(), done);
  });
}

void Server::UserChangePassword(const etcdserverpb::AuthUserChangePasswordRequest& request,
                                etcdserverpb::AuthUserChangePasswordResponse* response, Done done,
                                const Origin& who) {
  RunRead(false, [this, &request, response, done = std::move(done), who] {
    AuthCommand command;
    etcdserverpb::AuthUserChangePasswordRequest& user = *command.mutable_user_change_password();
    user = request;
    user.clear_password();
    if (request.hashedpassword().empty()) {
      user.set_hashedpassword(auth::HashPassword(request.password(), options_.bcrypt_cost));
    }
    ChangeAuth(command, who, response->mutable_header(), done);
  });
}

void Server::Authenticate(const etcdserverpb::AuthenticateRequest& request,
                          etcdserverpb::AuthenticateResponse* response, Done done) {
  Linearizable([this, &request, response, done = std::move(done)](const absl::Status& ready) {
    if (!ready.ok()) return done(ready);
    RunRead(false, [this, &request, response, done] {
      const absl::StatusOr<auth::AuthStore::Credentials> credentials =
          store_->Auth()->FindCredentials(request.name());
      if (!credentials.ok()) return done(credentials.status());
      if (!auth::PasswordMatches(request.password(), credentials->hash)) {
        return done(errors::AuthFailed());
      }
      AssignToken(request.name(), credentials->revision, response, done);
    });
  });
}

void Server::AssignToken(const std::string& user, uint64_t auth_revision,
                         etcdserverpb::AuthenticateResponse* response, Done done) {
  if (options_.jwt != nullptr) {
    // Nobody has to be told: the signature vouches for it, and a later change of rights shows in
    // the revision.
    absl::StatusOr<std::string> token = options_.jwt->Sign(user, auth_revision, env_.clock->Now());
    if (!token.ok()) return done(absl::UnknownError(token.status().message()));
    response->set_token(*std::move(token));
    FillHeaderAndRevision(response->mutable_header());
    return done(absl::OkStatus());
  }
  const std::string letters = auth::NewToken();
  AuthCommand command;
  Authenticated& authenticated = *command.mutable_authenticated();
  authenticated.set_name(user);
  authenticated.set_token(letters);
  authenticated.set_auth_revision(auth_revision);
  ProposeFor(command, Origin(),
             [this, letters, response, done = std::move(done)](const CommandResult& result) {
               if (result.status.ok()) {
                 response->set_token(absl::StrCat(letters, ".", result.index));
                 FillHeaderAndRevision(response->mutable_header());
               }
               done(result.status);
             });
}

void Server::AuthStatus(etcdserverpb::AuthStatusResponse* response) const {
  FillHeaderAndRevision(response->mutable_header());
  response->set_enabled(store_->Auth()->Enabled());
  response->set_authrevision(store_->Auth()->Revision());
}

void Server::ReadAuth(etcdserverpb::ResponseHeader* header,
                      std::function<absl::Status(const auth::AuthStore&)> read, Done done) {
  Linearizable(
      [this, header, read = std::move(read), done = std::move(done)](const absl::Status& ready) {
        if (!ready.ok()) return done(ready);
        FillHeaderAndRevision(header);
        done(read(*store_->Auth()));
      });
}

void Server::OnAuth(std::vector<AuthChange> changes) {
  for (const AuthChange& change : changes) {
    switch (change.kind) {
      case AuthChange::Kind::kToken:
        tokens_.Assign(change.token, change.user, env_.clock->Monotonic());
        break;
      case AuthChange::Kind::kUserChanged:
        tokens_.InvalidateUser(change.user);
        break;
      case AuthChange::Kind::kDisabled:
        tokens_.Clear();
        break;
    }
  }
}

}  // namespace keelson::kvstore
