#include "kvstore/auth/auth_store.h"

#include <catch2/catch.hpp>

#include "kvstore/errors.h"

namespace keelson::kvstore::auth {
namespace {

using authpb::Permission;

// One store and short words for its changes.
struct Fixture {
  AuthStore store;
  Origin root = Of("root");

  // A client of that name, recognized now.
  Origin Of(const std::string& name) {
    Origin who;
    who.set_user(name);
    who.set_auth_revision(store.Revision());
    return who;
  }
  absl::Status Do(const AuthCommand& command) { return store.Apply(command, Of("root")); }
  absl::Status AddUser(const std::string& name) {
    AuthCommand command;
    command.mutable_user_add()->set_name(name);
    command.mutable_user_add()->set_hashedpassword("hash of " + name);
    return Do(command);
  }
  absl::Status DeleteUser(const std::string& name) {
    AuthCommand command;
    command.mutable_user_delete()->set_name(name);
    return Do(command);
  }
  absl::Status AddRole(const std::string& name) {
    AuthCommand command;
    command.mutable_role_add()->set_name(name);
    return Do(command);
  }
  absl::Status DeleteRole(const std::string& name) {
    AuthCommand command;
    command.mutable_role_delete()->set_role(name);
    return Do(command);
  }
  absl::Status Grant(const std::string& user, const std::string& role) {
    AuthCommand command;
    command.mutable_user_grant_role()->set_user(user);
    command.mutable_user_grant_role()->set_role(role);
    return Do(command);
  }
  absl::Status Revoke(const std::string& user, const std::string& role) {
    AuthCommand command;
    command.mutable_user_revoke_role()->set_name(user);
    command.mutable_user_revoke_role()->set_role(role);
    return Do(command);
  }
  absl::Status Permit(const std::string& role, Permission::Type type, const std::string& key,
                      const std::string& end = "") {
    AuthCommand command;
    command.mutable_role_grant_permission()->set_name(role);
    Permission& permission = *command.mutable_role_grant_permission()->mutable_perm();
    permission.set_permtype(type);
    permission.set_key(key);
    permission.set_range_end(end);
    return Do(command);
  }
  absl::Status Forbid(const std::string& role, const std::string& key, const std::string& end) {
    AuthCommand command;
    command.mutable_role_revoke_permission()->set_role(role);
    command.mutable_role_revoke_permission()->set_key(key);
    command.mutable_role_revoke_permission()->set_range_end(end);
    return Do(command);
  }
  absl::Status Enable() {
    AuthCommand command;
    command.mutable_enable();
    return Do(command);
  }
  absl::Status Disable() {
    AuthCommand command;
    command.mutable_disable();
    return Do(command);
  }
  // With root, and a user "u" of role "r".
  void TurnOn() {
    REQUIRE(AddUser("root").ok());
    REQUIRE(Grant("root", "root").ok());
    REQUIRE(AddUser("u").ok());
    REQUIRE(AddRole("r").ok());
    REQUIRE(Grant("u", "r").ok());
    REQUIRE(Enable().ok());
  }
  absl::Status Read(const std::string& key, const std::string& end = "") {
    return store.CheckKeys(Of("u"), key, end, Access::kRead);
  }
  absl::Status Write(const std::string& key, const std::string& end = "") {
    return store.CheckKeys(Of("u"), key, end, Access::kWrite);
  }
};

const std::string kOpenEnd(1, '\0');

TEST_CASE_METHOD(Fixture, "Authentication needs a root user with the role root", "[auth]") {
  CHECK(Enable() == errors::RootUserNotExist());
  REQUIRE(AddUser("root").ok());
  CHECK(Enable() == errors::RootRoleNotExist());
  REQUIRE(Grant("root", "root").ok());
  CHECK_FALSE(store.Enabled());

  CHECK(Enable().ok());

  CHECK(store.Enabled());
  CHECK(Enable().ok());
  CHECK(Disable().ok());
  CHECK_FALSE(store.Enabled());
}

TEST_CASE_METHOD(Fixture, "Without authentication everybody may do everything", "[auth]") {
  CHECK(store.CheckKeys(Origin(), "a", kOpenEnd, Access::kWrite).ok());
  CHECK(store.CheckRoot(Origin()).ok());
  CHECK(store.CheckUser(Origin()).ok());
}

TEST_CASE_METHOD(Fixture, "With authentication nobody is refused by etcd's text", "[auth]") {
  TurnOn();

  CHECK(store.CheckKeys(Origin(), "a", "", Access::kRead) == errors::UserEmpty());
  CHECK(store.CheckRoot(Origin()) == errors::UserEmpty());
  CHECK(store.CheckUser(Origin()) == errors::UserEmpty());
  CHECK(store.CheckRoot(Of("u")) == errors::PermissionDenied());
  CHECK(store.CheckRoot(Of("ghost")) == errors::UserNotFound());
  CHECK(store.CheckKeys(Of("ghost"), "a", "", Access::kRead) == errors::PermissionDenied());
  CHECK(store.CheckUser(Of("u")).ok());
  CHECK(store.CheckRoot(Of("root")).ok());
  CHECK(store.CheckKeys(Of("root"), "a", kOpenEnd, Access::kWrite).ok());
}

TEST_CASE_METHOD(Fixture, "A request of before a change of rights is refused", "[auth]") {
  TurnOn();
  REQUIRE(Permit("r", Permission::READWRITE, "a").ok());
  const Origin before = Of("u");
  REQUIRE(store.CheckKeys(before, "a", "", Access::kRead).ok());

  REQUIRE(AddRole("other").ok());

  CHECK(store.CheckKeys(before, "a", "", Access::kRead) == errors::AuthOldRevision());
  CHECK(Read("a").ok());
}

TEST_CASE_METHOD(Fixture, "A range is allowed when a union of permissions covers it", "[auth]") {
  TurnOn();
  REQUIRE(Permit("r", Permission::READ, "b", "d").ok());
  REQUIRE(Permit("r", Permission::READWRITE, "d", "f").ok());
  REQUIRE(Permit("r", Permission::WRITE, "k").ok());

  CHECK(Read("b").ok());
  CHECK(Read("b", "f").ok());
  CHECK(Read("c", "e").ok());
  CHECK(Write("d", "f").ok());
  CHECK(Write("k").ok());
  CHECK(Read("a") == errors::PermissionDenied());
  CHECK(Read("a", "c") == errors::PermissionDenied());
  CHECK(Read("f") == errors::PermissionDenied());
  CHECK(Read("b", "g") == errors::PermissionDenied());
  CHECK(Read("b", kOpenEnd) == errors::PermissionDenied());
  CHECK(Write("b") == errors::PermissionDenied());
  CHECK(Write("c", "e") == errors::PermissionDenied());
  CHECK(Read("k") == errors::PermissionDenied());
  CHECK(Write("k", "l") == errors::PermissionDenied());
  CHECK(Write(std::string("k\0", 2)) == errors::PermissionDenied());

  REQUIRE(Permit("r", Permission::READ, "e", kOpenEnd).ok());
  CHECK(Read("b", kOpenEnd).ok());
  REQUIRE(Forbid("r", "d", "f").ok());
  CHECK(Read("b", kOpenEnd) == errors::PermissionDenied());
}

TEST_CASE_METHOD(Fixture, "Previous values and all parts of transactions need rights", "[auth]") {
  TurnOn();
  REQUIRE(Permit("r", Permission::WRITE, "w").ok());
  REQUIRE(Permit("r", Permission::READ, "x").ok());

  etcdserverpb::PutRequest put;
  put.set_key("w");
  CHECK(store.CheckPut(Of("u"), put).ok());
  put.set_prev_kv(true);
  CHECK(store.CheckPut(Of("u"), put) == errors::PermissionDenied());
  etcdserverpb::DeleteRangeRequest erase;
  erase.set_key("w");
  CHECK(store.CheckDelete(Of("u"), erase).ok());
  erase.set_prev_kv(true);
  CHECK(store.CheckDelete(Of("u"), erase) == errors::PermissionDenied());

  etcdserverpb::TxnRequest txn;
  txn.add_compare()->set_key("x");
  txn.add_success()->mutable_request_put()->set_key("w");
  CHECK(store.CheckTxn(Of("u"), txn).ok());
  auto hides = [&](auto change) {
    etcdserverpb::TxnRequest bad = txn;
    change(bad);
    return store.CheckTxn(Of("u"), bad) == errors::PermissionDenied();
  };
  CHECK(hides([](auto& t) { t.add_compare()->set_key("w"); }));
  CHECK(hides([](auto& t) { t.mutable_compare(0)->set_range_end("z"); }));
  CHECK(hides([](auto& t) { t.add_failure()->mutable_request_range()->set_key("w"); }));
  CHECK(hides([](auto& t) { t.add_failure()->mutable_request_delete_range()->set_key("x"); }));
  CHECK(hides([&](auto& t) { *t.add_failure()->mutable_request_put() = put; }));
  CHECK(hides([](auto& t) {
    t.add_failure()->mutable_request_txn()->add_success()->mutable_request_put()->set_key("x");
  }));
}

TEST_CASE_METHOD(Fixture, "Changes that make no sense are refused by etcd's texts", "[auth]") {
  TurnOn();

  CHECK(AddUser("") == errors::UserEmpty());
  CHECK(AddUser("u") == errors::UserAlreadyExists());
  CHECK(DeleteUser("ghost") == errors::UserNotFound());
  CHECK(DeleteUser("root") == errors::InvalidAuthManagement());
  CHECK(Grant("ghost", "r") == errors::UserNotFound());
  CHECK(Grant("u", "ghost") == errors::RoleNotFound());
  CHECK(Revoke("ghost", "r") == errors::UserNotFound());
  CHECK(Revoke("u", "ghost") == errors::RoleNotGranted());
  CHECK(Revoke("root", "root") == errors::InvalidAuthManagement());
  CHECK(AddRole("") == errors::RoleEmpty());
  CHECK(AddRole("r") == errors::RoleAlreadyExists());
  CHECK(DeleteRole("ghost") == errors::RoleNotFound());
  CHECK(DeleteRole("root") == errors::InvalidAuthManagement());
  CHECK(Permit("ghost", Permission::READ, "a") == errors::RoleNotFound());
  CHECK(Forbid("ghost", "a", "") == errors::RoleNotFound());
  CHECK(Forbid("r", "a", "") == errors::PermissionNotGranted());
  AuthCommand none;
  none.mutable_role_grant_permission()->set_name("r");
  CHECK(Do(none) == errors::PermissionNotGiven());
  CHECK(Do(AuthCommand()).code() == absl::StatusCode::kUnimplemented);
}

TEST_CASE_METHOD(Fixture, "Only root changes users and roles", "[auth]") {
  TurnOn();
  AuthCommand command;
  command.mutable_role_add()->set_name("mine");

  CHECK(store.Apply(command, Of("u")) == errors::PermissionDenied());
  CHECK(store.Apply(command, Origin()) == errors::UserEmpty());
  CHECK(store.Roles() == std::vector<std::string>{"r"});
}

TEST_CASE_METHOD(Fixture, "Users see themselves and their own roles", "[auth]") {
  TurnOn();
  REQUIRE(AddRole("other").ok());
  etcdserverpb::AuthUserGetResponse user;
  etcdserverpb::AuthRoleGetResponse role;

  CHECK(store.UserGet(Of("u"), "u", &user).ok());
  CHECK(user.roles_size() == 1);
  CHECK(store.UserGet(Of("u"), "root", &user) == errors::PermissionDenied());
  CHECK(store.UserGet(Of("root"), "ghost", &user) == errors::UserNotFound());
  CHECK(store.RoleGet(Of("u"), "r", &role).ok());
  CHECK(store.RoleGet(Of("u"), "other", &role) == errors::PermissionDenied());
  CHECK(store.RoleGet(Of("root"), "other", &role).ok());
}

TEST_CASE_METHOD(Fixture, "A role that goes is taken from its holders", "[auth]") {
  TurnOn();

  REQUIRE(DeleteRole("r").ok());

  etcdserverpb::AuthUserGetResponse user;
  REQUIRE(store.UserGet(Of("u"), "u", &user).ok());
  CHECK(user.roles_size() == 0);
}

TEST_CASE_METHOD(Fixture, "Every change counts the revision up by one", "[auth]") {
  CHECK(store.Revision() == 1);
  REQUIRE(AddUser("root").ok());
  CHECK(store.Revision() == 2);
  REQUIRE(Grant("root", "root").ok());
  REQUIRE(Grant("root", "root").ok());  // Again: nothing changes.
  CHECK(store.Revision() == 3);
  REQUIRE(Enable().ok());
  CHECK(store.Revision() == 3);
  REQUIRE_FALSE(AddUser("root").ok());
  CHECK(store.Revision() == 3);
  REQUIRE(Disable().ok());
  CHECK(store.Revision() == 4);
}

TEST_CASE_METHOD(Fixture, "Passwords are asked for by users that have one", "[auth]") {
  CHECK(store.FindCredentials("u").status() == errors::AuthNotEnabled());
  TurnOn();
  AuthCommand command;
  command.mutable_user_add()->set_name("certified");
  command.mutable_user_add()->mutable_options()->set_no_password(true);
  REQUIRE(Do(command).ok());

  CHECK(store.FindCredentials("ghost").status() == errors::AuthFailed());
  CHECK(store.FindCredentials("certified").status() == errors::NoPasswordUser());
  REQUIRE(store.FindCredentials("u").ok());
  CHECK(store.FindCredentials("u")->hash == "hash of u");
}

TEST_CASE_METHOD(Fixture,
                 "A token is refused when the users changed since the password was checked",
                 "[auth]") {
  TurnOn();
  AuthCommand command;
  command.mutable_authenticated()->set_name("u");
  command.mutable_authenticated()->set_auth_revision(store.Revision());
  CHECK(store.Apply(command, Origin()).ok());

  REQUIRE(AddUser("v").ok());

  CHECK(store.Apply(command, Origin()) == errors::AuthOldRevision());
}

TEST_CASE_METHOD(Fixture, "Rows give the same store again", "[auth]") {
  TurnOn();
  REQUIRE(Permit("r", Permission::READ, "a", "b").ok());
  REQUIRE(AddUser("gone").ok());
  REQUIRE(DeleteUser("gone").ok());
  const AuthStore::Rows rows = store.TakeRows();
  CHECK(store.TakeRows().empty());

  Fixture copy;
  for (const auto& [row, value] : rows) {
    if (value.has_value()) CHECK(copy.store.RestoreRow(row, *value));
  }

  CHECK(copy.store.Enabled());
  CHECK(copy.store.Revision() == store.Revision());
  CHECK(copy.store.Users() == store.Users());
  CHECK(copy.store.Roles() == store.Roles());
  CHECK(copy.Read("a").ok());
  CHECK(rows.at("augone") == std::nullopt);
}

TEST_CASE("Rows that make no sense are refused", "[auth]") {
  AuthStore store;
  const auto bad = GENERATE(values<std::pair<std::string, std::string>>({{"as", ""},
                                                                         {"as", "\2\1"},
                                                                         {"as", "\1"},
                                                                         {"as", "\1\1\1"},
                                                                         {"aux", ""},
                                                                         {"aux", "\xff"},
                                                                         {"arx", ""},
                                                                         {"az", ""},
                                                                         {"a", ""}}));
  CHECK_FALSE(store.RestoreRow(bad.first, bad.second));
}

}  // namespace
}  // namespace keelson::kvstore::auth
