// Users and rights as a part of the state machine, on every engine (reference kvstore.md 11.6).
#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "base/testing/status_matchers.h"
#include "google/protobuf/text_format.h"
#include "kvstore/auth/auth_store.h"
#include "kvstore/errors.h"
#include "kvstore/state_machine.h"
#include "kvstore/testing/machine_driver.h"

namespace keelson::kvstore {
namespace {

using testing::CompactCommand;
using testing::EngineKind;
using testing::GrantCommand;
using testing::MakeDelete;
using testing::MakePut;
using testing::RevokeCommand;
using testing::ToCommand;
using testing::World;

EngineKind AnyEngine() { return GENERATE(EngineKind::kMemory, EngineKind::kRocksDb); }

Command Parse(const std::string& text) {
  Command command;
  REQUIRE(google::protobuf::TextFormat::ParseFromString(text, &command));
  return command;
}

// Root, and a user "u" who may read and write the keys from "a" to "m".
void TurnOn(World& world) {
  for (
      const char* change : {
          R"(auth { user_add { name: "root" hashedPassword: "x" } })",
          R"(auth { user_grant_role { user: "root" role: "root" } })",
          R"(auth { user_add { name: "u" hashedPassword: "x" } })",
          R"(auth { role_add { name: "r" } })",
          R"(auth { role_grant_permission { name: "r" perm { permType: READWRITE key: "a" range_end: "m" } } })",
          R"(auth { user_grant_role { user: "u" role: "r" } })",
          R"(auth { enable {} })",
      }) {
    REQUIRE(world.kv->Apply(Parse(change)).status.ok());
  }
}

// The command as proposed for a user who was recognized just now.
Command For(const World& world, const std::string& user, Command command) {
  command.mutable_origin()->set_user(user);
  command.mutable_origin()->set_auth_revision(world.machine->store().Auth()->Revision());
  return command;
}

TEST_CASE("Rights are checked when a command is applied", "[kvstore][auth]") {
  World world(AnyEngine());
  REQUIRE(world.kv->Apply(ToCommand(MakePut("z", "of root"))).status.ok());
  TurnOn(world);
  const auto result = [&](const std::string& user, const Command& command) {
    return world.kv->Apply(For(world, user, command)).status;
  };

  CHECK(world.kv->Apply(ToCommand(MakePut("a", "1"))).status == errors::UserEmpty());
  CHECK(result("u", ToCommand(MakePut("a", "1"))).ok());
  CHECK(result("u", ToCommand(MakePut("z", "1"))) == errors::PermissionDenied());
  CHECK(result("u", ToCommand(MakeDelete("z"))) == errors::PermissionDenied());
  CHECK(result("u", Parse(R"(txn { success { request_put { key: "z" } } })")) ==
        errors::PermissionDenied());
  CHECK(result("u", CompactCommand(2)) == errors::PermissionDenied());
  CHECK(result("root", ToCommand(MakePut("z", "1"))).ok());
  CHECK(result("root", CompactCommand(2)).ok());
  CHECK(world.kv->Apply(GrantCommand(7, 60)).status == errors::UserEmpty());
  CHECK(result("u", GrantCommand(7, 60)).ok());
}

TEST_CASE("A command of before a change of rights is refused", "[kvstore][auth]") {
  World world(AnyEngine());
  TurnOn(world);
  const Command put = For(world, "u", ToCommand(MakePut("a", "1")));

  REQUIRE(
      world.kv
          ->Apply(For(world, "root", Parse(R"(auth { user_revoke_role { name: "u" role: "r" } })")))
          .status.ok());

  CHECK(world.kv->Apply(put).status == errors::AuthOldRevision());
  CHECK(world.kv->Apply(For(world, "u", ToCommand(MakePut("a", "1")))).status ==
        errors::PermissionDenied());
}

TEST_CASE("A lease with keys of others is neither revoked nor joined", "[kvstore][auth]") {
  World world(AnyEngine());
  TurnOn(world);
  REQUIRE(world.kv->Apply(For(world, "root", GrantCommand(7, 60))).status.ok());
  REQUIRE(world.kv->Apply(For(world, "root", ToCommand(MakePut("z", "1", 7)))).status.ok());

  CHECK(world.kv->Apply(For(world, "u", ToCommand(MakePut("a", "1", 7)))).status ==
        errors::PermissionDenied());
  CHECK(world.kv
            ->Apply(
                For(world, "u", Parse(R"(txn { success { request_put { key: "a" lease: 7 } } })")))
            .status == errors::PermissionDenied());
  CHECK(world.kv->Apply(For(world, "u", RevokeCommand(7))).status == errors::PermissionDenied());
  // The leader's own, when the time is up.
  Command expired = RevokeCommand(7);
  expired.mutable_origin()->set_internal(true);
  CHECK(world.kv->Apply(expired).status.ok());
}

TEST_CASE("Users and rights survive a restart", "[kvstore][auth]") {
  World world(AnyEngine());
  TurnOn(world);
  const uint64_t revision = world.machine->store().Auth()->Revision();
  REQUIRE(world.machine->Flush().ok());

  world.Crash();

  CHECK(world.machine->store().Auth()->Enabled());
  CHECK(world.machine->store().Auth()->Revision() == revision);
  CHECK(world.kv->Apply(For(world, "u", ToCommand(MakePut("a", "1")))).status.ok());
  CHECK(world.kv->Apply(For(world, "u", ToCommand(MakePut("z", "1")))).status ==
        errors::PermissionDenied());
}

TEST_CASE("The listener hears of tokens, with the entry's index, and of their end",
          "[kvstore][auth]") {
  World world(AnyEngine());
  TurnOn(world);
  using Kind = ApplyListener::AuthChange::Kind;
  Command login = Parse(R"(auth { authenticated { name: "u" token: "letters" } })");
  login.mutable_auth()->mutable_authenticated()->set_auth_revision(
      world.machine->store().Auth()->Revision());

  const CommandResult result = world.kv->Apply(login);
  REQUIRE(result.status.ok());
  REQUIRE(world.kv->Apply(For(world, "root", Parse(R"(auth { user_delete { name: "u" } })")))
              .status.ok());
  REQUIRE(world.kv->Apply(For(world, "root", Parse("auth { disable {} }"))).status.ok());

  const auto& heard = world.listener.auth;
  REQUIRE(heard.size() == 3);
  CHECK(result.index > 0);
  CHECK(heard[0].kind == Kind::kToken);
  CHECK(heard[0].token == "letters." + std::to_string(result.index));
  CHECK(heard[1].kind == Kind::kUserChanged);
  CHECK(heard[1].user == "u");
  CHECK(heard[2].kind == Kind::kDisabled);
}

}  // namespace
}  // namespace keelson::kvstore
