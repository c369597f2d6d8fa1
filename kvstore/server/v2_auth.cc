#include "kvstore/server/v2_auth.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "kvstore/auth/secrets.h"
#include "kvstore/config/identity.h"
#include "kvstore/json_string.h"
#include "kvstore/v2/auth.h"
#include "kvstore/v2/tree.h"

namespace keelson::kvstore {
namespace {

using v2::AuthError;
using v2::AuthRole;
using v2::AuthUser;
using v2::Error;
using v2::ErrorCode;
using Writer = std::shared_ptr<http::ResponseWriter>;
using StoredRole = V2Access::StoredRole;
using StoredUser = V2Access::StoredUser;

constexpr std::string_view kPrefix = "/v2/auth";
// In the folder of users and roles.
constexpr char kUsers[] = "/users/";
constexpr char kRoles[] = "/roles/";
constexpr char kEnabled[] = "/enabled";
// A change of what somebody else changed meanwhile is made again, so often.
constexpr int kAttempts = 5;

void SendMessage(const Writer& writer, int status, std::string_view message) {
  http::Headers headers;
  headers.Add("Content-Type", "application/json");
  writer->Send({.status = status,
                .headers = std::move(headers),
                .body = absl::StrCat("{\"message\":", JsonString(message), "}")});
}

AuthError Conflict(absl::string_view what) {
  return {.status = 409, .message = absl::StrCat("auth: ", what)};
}
AuthError Forbidden(absl::string_view what) {
  return {.status = 403, .message = absl::StrCat("auth: ", what)};
}
AuthError NotFound(absl::string_view what) {
  return {.status = 404, .message = absl::StrCat("auth: ", what)};
}
AuthError BadRequest(absl::string_view what) {
  return {.status = 400, .message = absl::StrCat("auth: ", what)};
}
AuthError RootRoleStays(absl::string_view name) {
  return Forbidden(absl::StrCat("Cannot modify role ", name, ": is root role."));
}

// One request; lives as long as it is worked on.
class Task : public std::enable_shared_from_this<Task> {
 public:
  Task(Server* server, Clock* clock, std::shared_ptr<V2Access> access, http::Request request,
       Writer writer)
      : server_(server),
        clock_(clock),
        access_(std::move(access)),
        request_(std::move(request)),
        writer_(std::move(writer)) {}

  void Run();

 private:
  // What a write came to: nothing when it is done.
  using Written = std::function<void(std::optional<Error>)>;

  void Dispatch(const std::vector<std::string>& pieces);
  void Users();
  void OneUser(const std::string& name);
  void PutUser(const std::string& name);
  void CreateUser(AuthUser user, int status);
  void UpdateUser(const AuthUser& change, int attempts);
  void DeleteUser(const std::string& name);
  void Roles();
  void OneRole(const std::string& name);
  void PutRole(const std::string& name);
  void CreateRole(const AuthRole& role);
  void UpdateRole(const AuthRole& change, int attempts);
  void DeleteRole(const std::string& name);
  void Enable();
  void Disable();

  [[nodiscard]] std::string UserJson(const AuthUser& user, bool strict,
                                     std::optional<AuthError>* error) const;
  // False when 405 has been sent.
  bool Allows(std::initializer_list<std::string_view> methods);
  void Send(int status, std::string json);
  void SendError(const AuthError& error) { SendMessage(writer_, error.status, error.message); }
  void SendInternal() { SendMessage(writer_, 500, "Internal Server Error"); }
  // Calls `then` on a reader once this member is as new as the leader.
  void Freshly(std::function<void()> then);
  // Makes the folders that users and roles are in, if this is the first write, then writes.
  void Write(V2Request::Operation operation, std::string path, std::string value, uint64_t index,
             Written done);
  void MakeFolders(size_t next, std::function<void()> then);
  void Propose(V2Request request, Written done);

  Server* const server_;
  Clock* const clock_;
  const std::shared_ptr<V2Access> access_;
  const http::Request request_;
  const Writer writer_;
};

void Task::Run() {
  std::string_view rest = request_.Path();
  rest.remove_prefix(kPrefix.size());
  const std::optional<std::string> decoded = http::PercentDecode(rest);
  if (!decoded.has_value()) return SendMessage(writer_, 400, "Invalid path");
  std::vector<std::string> pieces = absl::StrSplit(v2::CleanPath(*decoded), '/', absl::SkipEmpty());
  // Who only asks whether it is on need not say who he is.
  const bool open = pieces == std::vector<std::string>{"enable"} &&
                    (request_.method == "GET" || request_.method == "HEAD");
  if (open) return Dispatch(pieces);
  access_->CheckRoot(request_, [self = shared_from_this(), pieces](const absl::Status& allowed) {
    if (!allowed.ok()) return SendV2Refusal(self->writer_, allowed);
    self->Dispatch(pieces);
  });
}

void Task::Dispatch(const std::vector<std::string>& pieces) {
  const bool users = !pieces.empty() && pieces[0] == "users";
  const bool roles = !pieces.empty() && pieces[0] == "roles";
  if (pieces.size() == 1 && pieces[0] == "enable") {
    if (!Allows({"GET", "PUT", "DELETE"})) return;
    if (request_.method == "PUT") return Enable();
    if (request_.method == "DELETE") return Disable();
    return Send(200, absl::StrCat("{\"enabled\":", access_->Enabled() ? "true" : "false", "}"));
  }
  if (!users && !roles) return writer_->Send(http::TextResponse(404, "404 page not found\n"));
  if (pieces.size() == 1) return users ? Users() : Roles();
  if (pieces.size() != 2) return SendMessage(writer_, 400, "Invalid path");
  users ? OneUser(pieces[1]) : OneRole(pieces[1]);
}

// ---- Users ----

std::string Task::UserJson(const AuthUser& user, bool strict,
                           std::optional<AuthError>* error) const {
  std::string roles;
  for (const std::string& name : user.roles.value_or(std::vector<std::string>())) {
    const auto role = access_->Role(name);
    if (const AuthError* const missing = std::get_if<AuthError>(&role)) {
      if (strict && !error->has_value()) *error = *missing;
      continue;
    }
    absl::StrAppend(&roles, roles.empty() ? "" : ",",
                    v2::AuthRoleJson(std::get<StoredRole>(role).role));
  }
  return absl::StrCat("{\"user\":", JsonString(user.name),
                      roles.empty() ? "" : absl::StrCat(",\"roles\":[", roles, "]"), "}");
}

void Task::Users() {
  if (!Allows({"GET"})) return;
  std::string all;
  for (const std::string& name : access_->Users()) {
    const auto user = access_->User(name);
    if (const AuthError* const error = std::get_if<AuthError>(&user)) return SendError(*error);
    std::optional<AuthError> ignored;
    absl::StrAppend(&all, all.empty() ? "" : ",",
                    UserJson(std::get<StoredUser>(user).user, /*strict=*/false, &ignored));
  }
  Send(200, all.empty() ? R"({"users":null})" : absl::StrCat("{\"users\":[", all, "]}"));
}

void Task::OneUser(const std::string& name) {
  if (!Allows({"GET", "PUT", "DELETE"})) return;
  if (request_.method == "PUT") return PutUser(name);
  if (request_.method == "DELETE") return DeleteUser(name);
  const auto user = access_->User(name);
  if (const AuthError* const error = std::get_if<AuthError>(&user)) return SendError(*error);
  std::optional<AuthError> missing;
  std::string json = UserJson(std::get<StoredUser>(user).user, /*strict=*/true, &missing);
  if (missing.has_value()) return SendError(*missing);
  Send(200, std::move(json));
}

void Task::PutUser(const std::string& name) {
  const std::optional<AuthUser> parsed = v2::ParseAuthUser(request_.body);
  if (!parsed.has_value()) return SendMessage(writer_, 400, "Invalid JSON in request body.");
  const AuthUser& user = *parsed;
  if (user.name != name) {
    return SendMessage(writer_, 400, "User JSON name does not match the name in the URL");
  }
  const bool has_roles = user.roles.has_value() && !user.roles->empty();
  const bool changes = !user.grant.empty() || !user.revoke.empty();
  if (changes && has_roles) {
    return SendMessage(writer_, 400, "User JSON contains both roles and grant/revoke");
  }
  Freshly([self = shared_from_this(), user, has_roles, changes] {
    const bool known = std::holds_alternative<StoredUser>(self->access_->User(user.name));
    if (!changes && has_roles) return self->CreateUser(user, 200);
    if (!changes && !known) return self->CreateUser(user, 201);
    self->UpdateUser(user, kAttempts);
  });
}

void Task::CreateUser(AuthUser user, int status) {
  if (user.name == v2::kRootName) v2::AttachRootRole(user);
  if (user.password.empty()) {
    return SendError(
        BadRequest(absl::StrCat("Cannot create user ", user.name, " with an empty password")));
  }
  user.password = auth::HashPassword(user.password, server_->options().bcrypt_cost);
  Write(V2Request::CREATE, absl::StrCat(kUsers, user.name), v2::AuthUserJson(user), 0,
        [self = shared_from_this(), user, status](const std::optional<Error>& error) {
          if (error.has_value() && error->code == ErrorCode::kKeyExists) {
            return self->SendError(Conflict(absl::StrCat("User ", user.name, " already exists.")));
          }
          if (error.has_value()) return self->SendInternal();
          AuthUser shown = user;
          shown.password.clear();
          self->Send(status, v2::AuthUserJson(shown));
        });
}

void Task::UpdateUser(const AuthUser& change, int attempts) {
  const auto found = access_->User(change.name);
  // etcd's text for somebody who is to be changed and is not there is that of the lookup.
  if (const AuthError* const error = std::get_if<AuthError>(&found)) return SendError(*error);
  const auto& [old, index] = std::get<StoredUser>(found);
  AuthUser wanted = change;
  if (!wanted.password.empty()) {
    wanted.password = auth::HashPassword(wanted.password, server_->options().bcrypt_cost);
  }
  const auto merged = v2::Merge(old, wanted);
  if (const AuthError* const error = std::get_if<AuthError>(&merged)) return SendError(*error);
  const AuthUser& now = std::get<AuthUser>(merged);
  if (now.password == old.password && now.roles == old.roles) {
    return SendError(BadRequest("User not updated. Use grant/revoke/password to update the user."));
  }
  Write(V2Request::COMPARE_AND_SWAP, absl::StrCat(kUsers, change.name), v2::AuthUserJson(now),
        index,
        [self = shared_from_this(), change, now, attempts](const std::optional<Error>& error) {
          if (error.has_value() && error->code == ErrorCode::kCompareFailed && attempts > 1) {
            return self->Freshly(
                [self, change, attempts] { self->UpdateUser(change, attempts - 1); });
          }
          if (error.has_value()) return self->SendInternal();
          AuthUser shown = now;
          shown.password.clear();
          self->Send(200, v2::AuthUserJson(shown));
        });
}

void Task::DeleteUser(const std::string& name) {
  if (access_->Enabled() && name == v2::kRootName) {
    return SendError(Forbidden("Cannot delete root user while auth is enabled."));
  }
  Write(V2Request::DELETE, absl::StrCat(kUsers, name), "", 0,
        [self = shared_from_this(), name](const std::optional<Error>& error) {
          if (error.has_value() && error->code == ErrorCode::kKeyNotFound) {
            return self->SendError(NotFound(absl::StrCat("User ", name, " does not exist")));
          }
          if (error.has_value()) return self->SendInternal();
          self->Send(200, "");
        });
}

// ---- Roles ----

void Task::Roles() {
  if (!Allows({"GET"})) return;
  std::string all;
  for (const std::string& name : access_->Roles()) {
    const auto role = access_->Role(name);
    if (const AuthError* const error = std::get_if<AuthError>(&role)) return SendError(*error);
    absl::StrAppend(&all, all.empty() ? "" : ",",
                    v2::AuthRoleJson(std::get<StoredRole>(role).role));
  }
  Send(200, absl::StrCat("{\"roles\":[", all, "]}"));
}

void Task::OneRole(const std::string& name) {
  if (!Allows({"GET", "PUT", "DELETE"})) return;
  if (request_.method == "PUT") return PutRole(name);
  if (request_.method == "DELETE") return DeleteRole(name);
  const auto role = access_->Role(name);
  if (const AuthError* const error = std::get_if<AuthError>(&role)) return SendError(*error);
  Send(200, v2::AuthRoleJson(std::get<StoredRole>(role).role));
}

void Task::PutRole(const std::string& name) {
  const std::optional<AuthRole> role = v2::ParseAuthRole(request_.body);
  if (!role.has_value()) return SendMessage(writer_, 400, "Invalid JSON in request body.");
  if (role->name != name) {
    return SendMessage(writer_, 400, "Role JSON name does not match the name in the URL");
  }
  const bool changes = !role->grant.IsEmpty() || !role->revoke.IsEmpty();
  if (changes && !role->rights.IsEmpty()) {
    return SendMessage(writer_, 400, "Role JSON contains both permissions and grant/revoke");
  }
  if (name == v2::kRootName) return SendError(RootRoleStays(name));
  if (!changes) return CreateRole(*role);
  Freshly([self = shared_from_this(), change = *role] { self->UpdateRole(change, kAttempts); });
}

void Task::CreateRole(const AuthRole& role) {
  Write(V2Request::CREATE, absl::StrCat(kRoles, role.name), v2::AuthRoleJson(role), 0,
        [self = shared_from_this(), role](const std::optional<Error>& error) {
          if (error.has_value() && error->code == ErrorCode::kKeyExists) {
            return self->SendError(Conflict(absl::StrCat("Role ", role.name, " already exists.")));
          }
          if (error.has_value()) return self->SendInternal();
          self->Send(201, v2::AuthRoleJson(role));
        });
}

void Task::UpdateRole(const AuthRole& change, int attempts) {
  const auto found = access_->Role(change.name);
  if (const AuthError* const error = std::get_if<AuthError>(&found)) return SendError(*error);
  const auto& [old, index] = std::get<StoredRole>(found);
  const auto merged = v2::Merge(old, change);
  if (const AuthError* const error = std::get_if<AuthError>(&merged)) return SendError(*error);
  const AuthRole& now = std::get<AuthRole>(merged);
  if (now.rights == old.rights) {
    return SendError(BadRequest("Role not updated. Use grant/revoke to update the role."));
  }
  Write(V2Request::COMPARE_AND_SWAP, absl::StrCat(kRoles, change.name), v2::AuthRoleJson(now),
        index,
        [self = shared_from_this(), change, now, attempts](const std::optional<Error>& error) {
          if (error.has_value() && error->code == ErrorCode::kCompareFailed && attempts > 1) {
            return self->Freshly(
                [self, change, attempts] { self->UpdateRole(change, attempts - 1); });
          }
          if (error.has_value()) return self->SendInternal();
          self->Send(200, v2::AuthRoleJson(now));
        });
}

void Task::DeleteRole(const std::string& name) {
  if (name == v2::kRootName) return SendError(RootRoleStays(name));
  Write(V2Request::DELETE, absl::StrCat(kRoles, name), "", 0,
        [self = shared_from_this(), name](const std::optional<Error>& error) {
          if (error.has_value() && error->code == ErrorCode::kKeyNotFound) {
            return self->SendError(NotFound(absl::StrCat("Role ", name, " doesn't exist.")));
          }
          if (error.has_value()) return self->SendInternal();
          self->Send(200, "");
        });
}

// ---- On and off ----

void Task::Enable() {
  if (access_->Enabled()) return SendError(Conflict("already enabled"));
  Freshly([self = shared_from_this()] {
    if (!std::holds_alternative<StoredUser>(self->access_->User(v2::kRootName))) {
      return self->SendError(Conflict("No root user available, please create one"));
    }
    const auto turn_on = [self](const std::optional<Error>& error) {
      if (error.has_value() && error->code != ErrorCode::kKeyExists) return self->SendInternal();
      self->Write(V2Request::UPDATE, kEnabled, "true", 0,
                  [self](const std::optional<Error>& failed) {
                    if (failed.has_value()) return self->SendInternal();
                    self->Send(200, "");
                  });
    };
    if (std::holds_alternative<StoredRole>(self->access_->Role(v2::kGuestName))) {
      return turn_on(std::nullopt);
    }
    self->Write(V2Request::CREATE, absl::StrCat(kRoles, v2::kGuestName),
                v2::AuthRoleJson(v2::AllKeys(v2::kGuestName)), 0, turn_on);
  });
}

void Task::Disable() {
  if (!access_->Enabled()) return SendError(Conflict("already disabled"));
  Write(V2Request::UPDATE, kEnabled, "false", 0,
        [self = shared_from_this()](const std::optional<Error>& error) {
          if (error.has_value()) return self->SendInternal();
          self->Send(200, "");
        });
}

// ---- Ways and means ----

bool Task::Allows(std::initializer_list<std::string_view> methods) {
  std::string all;
  for (const std::string_view method : methods) {
    if (request_.method == method) return true;
    absl::StrAppend(&all, all.empty() ? "" : ",", absl::string_view(method.data(), method.size()));
  }
  http::Response refused = http::TextResponse(405, "Method Not Allowed\n");
  refused.headers.Set("Allow", all);
  refused.headers.Set("X-Content-Type-Options", "nosniff");
  writer_->Send(std::move(refused));
  return false;
}

void Task::Send(int status, std::string json) {
  http::Headers headers;
  headers.Add("Content-Type", "application/json");
  headers.Add("X-Etcd-Cluster-Id", FormatId(server_->options().cluster_id));
  if (!json.empty()) json += '\n';
  writer_->Send({.status = status, .headers = std::move(headers), .body = std::move(json)});
}

void Task::Freshly(std::function<void()> then) {
  server_->CheckRead(/*serializable=*/false, [self = shared_from_this(),
                                              then = std::move(then)](const absl::Status& status) {
    if (!status.ok()) return self->SendInternal();
    self->server_->RunOnReader(then);
  });
}

void Task::Write(V2Request::Operation operation, std::string path, std::string value,
                 uint64_t index, Written done) {
  V2Request request;
  request.set_operation(operation);
  request.set_path(absl::StrCat(AuthFolder(), path));
  request.set_value(std::move(value));
  request.set_previous_index(index);
  MakeFolders(0, [self = shared_from_this(), request = std::move(request), done = std::move(done)] {
    self->Propose(request, done);
  });
}

void Task::MakeFolders(size_t next, std::function<void()> then) {
  // In this order, as etcd, whose index then is the same.
  static constexpr std::string_view kNodes[] = {"", "/users", "/roles", kEnabled};
  const auto there = ReadAuthNode(*server_, kEnabled);
  if (next == std::size(kNodes) || std::holds_alternative<v2::Event>(there)) return then();
  V2Request request;
  request.set_operation(V2Request::CREATE);
  request.set_path(absl::StrCat(AuthFolder(), std::string(kNodes[next])));
  request.set_directory(next + 1 < std::size(kNodes));
  if (!request.directory()) request.set_value("false");
  Propose(std::move(request), [self = shared_from_this(), next,
                               then = std::move(then)](const std::optional<Error>& error) {
    if (error.has_value() && error->code != ErrorCode::kKeyExists) return self->SendInternal();
    self->MakeFolders(next + 1, then);
  });
}

void Task::Propose(V2Request request, Written done) {
  request.set_time(absl::ToUnixNanos(clock_->Now()));
  server_->ProposeV2(request, [self = shared_from_this(), done = std::move(done)](
                                  const absl::Status& status, const v2::Outcome* outcome) {
    if (!status.ok() || outcome == nullptr) return self->SendInternal();
    const Error* const error = std::get_if<Error>(outcome);
    done(error == nullptr ? std::nullopt : std::make_optional(*error));
  });
}

}  // namespace

void SendV2Refusal(const Writer& writer, const absl::Status& why) {
  SendMessage(writer, absl::IsResourceExhausted(why) ? 429 : 401, std::string(why.message()));
}

void AddV2Auth(http::Router& router, Server* server, Clock* clock,
               const std::shared_ptr<V2Access>& access) {
  router.Handle(
      "*", absl::StrCat(std::string(kPrefix), "/*"),
      [server, clock, access](http::Request request, Writer writer) {
        std::make_shared<Task>(server, clock, access, std::move(request), std::move(writer))->Run();
      });
}

}  // namespace keelson::kvstore
