#include "kvstore/server/auth_service.h"

#include <string>
#include <utility>

#include "kvstore/server/service_support.h"

namespace keelson::kvstore {
namespace {

using namespace etcdserverpb;

// A change that is proposed as the client wrote it: `set` is where it belongs in the command.
template <typename Request, typename Response>
void RegisterChange(MethodRegistrar& auth, const std::string& name,
                    Request* (AuthCommand::*set)()) {
  auth.Unary<Request, Response>(
      name, [set](Server* server, const Origin& who, const Request& request, Response* response,
                  rpc::Done done) {
        AuthCommand command;
        *(command.*set)() = request;
        server->ChangeAuth(command, who, response->mutable_header(), std::move(done));
      });
}

void RegisterReads(MethodRegistrar& auth) {
  auth.Unary<AuthUserGetRequest, AuthUserGetResponse>(
      "UserGet", [](Server* server, const Origin& who, const AuthUserGetRequest& request,
                    AuthUserGetResponse* response, rpc::Done done) {
        server->ReadAuth(
            response->mutable_header(),
            [&request, response, who](const auth::AuthStore& store) {
              return store.UserGet(who, request.name(), response);
            },
            std::move(done));
      });
  auth.Unary<AuthRoleGetRequest, AuthRoleGetResponse>(
      "RoleGet", [](Server* server, const Origin& who, const AuthRoleGetRequest& request,
                    AuthRoleGetResponse* response, rpc::Done done) {
        server->ReadAuth(
            response->mutable_header(),
            [&request, response, who](const auth::AuthStore& store) {
              return store.RoleGet(who, request.role(), response);
            },
            std::move(done));
      });
  auth.Unary<AuthUserListRequest, AuthUserListResponse>(
      "UserList", [](Server* server, const AuthUserListRequest&, AuthUserListResponse* response,
                     rpc::Done done) {
        server->ReadAuth(
            response->mutable_header(),
            [response](const auth::AuthStore& store) {
              for (std::string& name : store.Users()) response->add_users(std::move(name));
              return absl::OkStatus();
            },
            std::move(done));
      });
  auth.Unary<AuthRoleListRequest, AuthRoleListResponse>(
      "RoleList", [](Server* server, const AuthRoleListRequest&, AuthRoleListResponse* response,
                     rpc::Done done) {
        server->ReadAuth(
            response->mutable_header(),
            [response](const auth::AuthStore& store) {
              for (std::string& name : store.Roles()) response->add_roles(std::move(name));
              return absl::OkStatus();
            },
            std::move(done));
      });
}

}  // namespace

void RegisterAuthService(rpc::Server* rpc, Server* server, MetricRegistry* metrics) {
  MethodRegistrar auth(rpc, server, metrics, "etcdserverpb.Auth");
  RegisterChange<AuthEnableRequest, AuthEnableResponse>(auth, "AuthEnable",
                                                        &AuthCommand::mutable_enable);
  RegisterChange<AuthDisableRequest, AuthDisableResponse>(auth, "AuthDisable",
                                                          &AuthCommand::mutable_disable);
  auth.Unary<AuthStatusRequest, AuthStatusResponse>(
      "AuthStatus", [](Server* served, const AuthStatusRequest&, AuthStatusResponse* response,
                       const rpc::Done& done) {
        served->AuthStatus(response);
        done(absl::OkStatus());
      });
  auth.Unary("Authenticate", &Server::Authenticate);
  auth.Unary("UserAdd", &Server::UserAdd);
  auth.Unary("UserChangePassword", &Server::UserChangePassword);
  RegisterChange<AuthUserDeleteRequest, AuthUserDeleteResponse>(auth, "UserDelete",
                                                                &AuthCommand::mutable_user_delete);
  RegisterChange<AuthUserGrantRoleRequest, AuthUserGrantRoleResponse>(
      auth, "UserGrantRole", &AuthCommand::mutable_user_grant_role);
  RegisterChange<AuthUserRevokeRoleRequest, AuthUserRevokeRoleResponse>(
      auth, "UserRevokeRole", &AuthCommand::mutable_user_revoke_role);
  RegisterChange<AuthRoleAddRequest, AuthRoleAddResponse>(auth, "RoleAdd",
                                                          &AuthCommand::mutable_role_add);
  RegisterChange<AuthRoleDeleteRequest, AuthRoleDeleteResponse>(auth, "RoleDelete",
                                                                &AuthCommand::mutable_role_delete);
  RegisterChange<AuthRoleGrantPermissionRequest, AuthRoleGrantPermissionResponse>(
      auth, "RoleGrantPermission", &AuthCommand::mutable_role_grant_permission);
  RegisterChange<AuthRoleRevokePermissionRequest, AuthRoleRevokePermissionResponse>(
      auth, "RoleRevokePermission", &AuthCommand::mutable_role_revoke_permission);
  RegisterReads(auth);
}

}  // namespace keelson::kvstore
