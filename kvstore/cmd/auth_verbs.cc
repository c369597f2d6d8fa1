// auth, user and role: who may do what.
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kvstore/api/auth.pb.h"
#include "kvstore/cmd/format.h"
#include "kvstore/cmd/password.h"
#include "kvstore/cmd/verb.h"
#include "kvstore/cmd/verbs.h"

namespace keelson::kvctl {
namespace {

namespace pb = etcdserverpb;

struct AuthArguments {
  std::vector<std::string> words;
  std::string new_password;
  bool interactive = true;
  bool no_password = false;
  bool detail = false;
  bool prefix = false;
  bool from_key = false;
};

// Sends `request` and prints `simple` when it is done; the other forms show the header.
template <typename Response, typename Request>
Outcome Change(Context& context, const std::string& method, const Request& request,
               const std::string& simple) {
  Session session;
  Outcome outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto answer = Ask<Response>(*session.client, "Auth/" + method, request);
  if (!answer.ok()) return Fail(answer.status());
  return session.printer->Answer(*answer, answer->header(), {.simple = simple});
}

Outcome Wrong(const std::string& text) { return Fail(Exit::kBadArguments, text); }

// ---- auth ----

// As with etcdctl, the role and the right of root are made where they are missing.
absl::Status Enable(kvstore::Client& client) {
  for (bool rooted = false;; rooted = true) {
    const auto enabled =
        Ask<pb::AuthEnableResponse>(client, "Auth/AuthEnable", pb::AuthEnableRequest());
    if (enabled.ok() || rooted ||
        enabled.status().message() != "etcdserver: root user does not have root role") {
      return enabled.status();
    }
    pb::AuthRoleAddRequest role;
    role.set_name("root");
    const auto added = Ask<pb::AuthRoleAddResponse>(client, "Auth/RoleAdd", role);
    if (!added.ok() && added.status().message() != "etcdserver: role name already exists") {
      return added.status();
    }
    pb::AuthUserGrantRoleRequest grant;
    grant.set_user("root");
    grant.set_role("root");
    const auto granted = Ask<pb::AuthUserGrantRoleResponse>(client, "Auth/UserGrantRole", grant);
    if (!granted.ok()) return granted.status();
  }
}

Outcome RunEnable(Context& context, const AuthArguments& arguments) {
  if (!arguments.words.empty()) return Wrong("auth enable command does not accept any arguments");
  Session session;
  Outcome outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  const absl::Status enabled = Enable(*session.client);
  if (!enabled.ok()) return Fail(enabled);
  context.out << "Authentication Enabled\n";  // The same in every form.
  return Done();
}

Outcome RunDisable(Context& context, const AuthArguments& arguments) {
  if (!arguments.words.empty()) return Wrong("auth disable command does not accept any arguments");
  Session session;
  Outcome outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto answer =
      Ask<pb::AuthDisableResponse>(*session.client, "Auth/AuthDisable", pb::AuthDisableRequest());
  if (!answer.ok()) return Fail(answer.status());
  context.out << "Authentication Disabled\n";
  return Done();
}

Outcome RunAuthStatus(Context& context, const AuthArguments& arguments) {
  if (!arguments.words.empty()) return Wrong("auth status command does not accept any arguments");
  Session session;
  Outcome outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto answer = Ask<pb::AuthStatusResponse>(*session.client, "Auth/AuthStatus",
                                                  pb::AuthStatusRequest(), true);
  if (!answer.ok()) return Fail(answer.status());
  const char* const enabled = answer->enabled() ? "true" : "false";
  return session.printer->Answer(
      *answer, answer->header(),
      {.simple = absl::StrCat("Authentication Status: ", enabled,
                              "\nAuthRevision: ", answer->authrevision(), "\n"),
       .fields = absl::StrCat("\"Enabled\" : ", enabled,
                              "\n\"AuthRevision\" : ", answer->authrevision(), "\n")});
}

// ---- user ----

// The user's name and password of `user add`.
Outcome ReadNewUser(Context& context, const AuthArguments& arguments, std::string* name,
                    std::string* password) {
  *name = arguments.words.front();
  if (arguments.no_password) return Done();
  *password = arguments.new_password;
  if (!password->empty()) return Done();
  const size_t colon = name->find(':');
  if (colon != std::string::npos) {
    *password = name->substr(colon + 1);
    name->resize(colon);
    return name->empty() ? Wrong("empty user name is not allowed") : Done();
  }
  if (!arguments.interactive) {
    context.in >> *password;
    return Done();
  }
  const auto asked = AskNewPassword(*name, context.in, context.out);
  if (!asked.ok()) return Wrong(TextOf(asked.status()));
  *password = *asked;
  return Done();
}

Outcome RunUserAdd(Context& context, const AuthArguments& arguments) {
  if (arguments.words.size() != 1) {
    return Wrong("user add command requires user name as its argument");
  }
  pb::AuthUserAddRequest request;
  Outcome outcome =
      ReadNewUser(context, arguments, request.mutable_name(), request.mutable_password());
  if (outcome.exit != Exit::kOk) return outcome;
  request.mutable_options()->set_no_password(arguments.no_password);
  return Change<pb::AuthUserAddResponse>(context, "UserAdd", request,
                                         absl::StrCat("User ", request.name(), " created\n"));
}

Outcome RunUserDelete(Context& context, const AuthArguments& arguments) {
  if (arguments.words.size() != 1) {
    return Wrong("user delete command requires user name as its argument");
  }
  pb::AuthUserDeleteRequest request;
  request.set_name(arguments.words[0]);
  return Change<pb::AuthUserDeleteResponse>(context, "UserDelete", request,
                                            absl::StrCat("User ", request.name(), " deleted\n"));
}

AnswerForms RoleForms(const std::string& role, const pb::AuthRoleGetResponse& answer);

// The user's roles, and what each of them allows.
Outcome PrintDetail(Context& context, Session& session, const std::string& name,
                    const pb::AuthUserGetResponse& user) {
  context.out << "User: " << name << "\n";
  for (const std::string& role : user.roles()) {
    context.out << "\n";
    pb::AuthRoleGetRequest request;
    request.set_role(role);
    const auto answer =
        Ask<pb::AuthRoleGetResponse>(*session.client, "Auth/RoleGet", request, true);
    if (!answer.ok()) return Fail(answer.status());
    Outcome outcome = session.printer->Answer(*answer, answer->header(), RoleForms(role, *answer));
    if (outcome.exit != Exit::kOk) return outcome;
  }
  return Done();
}

Outcome RunUserGet(Context& context, const AuthArguments& arguments) {
  if (arguments.words.size() != 1) {
    return Wrong("user get command requires user name as its argument");
  }
  const std::string& name = arguments.words[0];
  Session session;
  Outcome outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  pb::AuthUserGetRequest request;
  request.set_name(name);
  const auto answer = Ask<pb::AuthUserGetResponse>(*session.client, "Auth/UserGet", request, true);
  if (!answer.ok()) return Fail(answer.status());
  if (arguments.detail) return PrintDetail(context, session, name, *answer);
  std::string roles;
  for (const std::string& role : answer->roles()) absl::StrAppend(&roles, " ", role);
  return session.printer->Answer(
      *answer, answer->header(),
      {.simple = absl::StrCat("User: ", name, "\nRoles:", roles, "\n"), .fields = std::nullopt});
}

std::string Lines(const google::protobuf::RepeatedPtrField<std::string>& names) {
  std::string lines;
  for (const std::string& name : names) absl::StrAppend(&lines, name, "\n");
  return lines;
}

Outcome RunUserList(Context& context, const AuthArguments& arguments) {
  if (!arguments.words.empty()) return Wrong("user list command requires no arguments");
  Session session;
  Outcome outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto answer = Ask<pb::AuthUserListResponse>(*session.client, "Auth/UserList",
                                                    pb::AuthUserListRequest(), true);
  if (!answer.ok()) return Fail(answer.status());
  return session.printer->Answer(*answer, answer->header(),
                                 {.simple = Lines(answer->users()), .fields = std::nullopt});
}

Outcome RunPasswd(Context& context, const AuthArguments& arguments) {
  if (arguments.words.size() != 1) {
    return Wrong("user passwd command requires user name as its argument");
  }
  pb::AuthUserChangePasswordRequest request;
  request.set_name(arguments.words[0]);
  if (arguments.interactive) {
    const auto asked = AskNewPassword(request.name(), context.in, context.out);
    if (!asked.ok()) return Wrong(TextOf(asked.status()));
    request.set_password(*asked);
  } else {
    context.in >> *request.mutable_password();
  }
  return Change<pb::AuthUserChangePasswordResponse>(context, "UserChangePassword", request,
                                                    "Password updated\n");
}

Outcome RunGrantRole(Context& context, const AuthArguments& arguments) {
  if (arguments.words.size() != 2) {
    return Wrong("user grant command requires user name and role name as its argument");
  }
  pb::AuthUserGrantRoleRequest request;
  request.set_user(arguments.words[0]);
  request.set_role(arguments.words[1]);
  return Change<pb::AuthUserGrantRoleResponse>(
      context, "UserGrantRole", request,
      absl::StrCat("Role ", request.role(), " is granted to user ", request.user(), "\n"));
}

Outcome RunRevokeRole(Context& context, const AuthArguments& arguments) {
  if (arguments.words.size() != 2) {
    return Wrong("user revoke-role requires user name and role name as its argument");
  }
  pb::AuthUserRevokeRoleRequest request;
  request.set_name(arguments.words[0]);
  request.set_role(arguments.words[1]);
  return Change<pb::AuthUserRevokeRoleResponse>(
      context, "UserRevokeRole", request,
      absl::StrCat("Role ", request.role(), " is revoked from user ", request.name(), "\n"));
}

// ---- role ----

Outcome RunRoleAdd(Context& context, const AuthArguments& arguments) {
  if (arguments.words.size() != 1) {
    return Wrong("role add command requires role name as its argument");
  }
  pb::AuthRoleAddRequest request;
  request.set_name(arguments.words[0]);
  return Change<pb::AuthRoleAddResponse>(context, "RoleAdd", request,
                                         absl::StrCat("Role ", request.name(), " created\n"));
}

Outcome RunRoleDelete(Context& context, const AuthArguments& arguments) {
  if (arguments.words.size() != 1) {
    return Wrong("role delete command requires role name as its argument");
  }
  pb::AuthRoleDeleteRequest request;
  request.set_role(arguments.words[0]);
  return Change<pb::AuthRoleDeleteResponse>(context, "RoleDelete", request,
                                            absl::StrCat("Role ", request.role(), " deleted\n"));
}

const std::string& OpenEnd() {
  static const std::string end(1, '\0');
  return end;
}

std::string RangeLine(const authpb::Permission& permission) {
  const std::string& key = permission.key();
  const std::string& end = permission.range_end();
  if (end.empty()) return absl::StrCat("\t", key, "\n");
  std::string line = end == OpenEnd() ? absl::StrCat("\t[", key, ", <open ended>")
                                      : absl::StrCat("\t[", key, ", ", end, ")");
  if (kvstore::PrefixEnd(key) == end) absl::StrAppend(&line, " (prefix ", key, ")");
  return line + "\n";
}

AnswerForms RoleForms(const std::string& role, const pb::AuthRoleGetResponse& answer) {
  std::string reads;
  std::string writes;
  std::string fields;
  for (const authpb::Permission& permission : answer.perm()) {
    if (permission.permtype() != authpb::Permission::WRITE) reads += RangeLine(permission);
    if (permission.permtype() != authpb::Permission::READ) writes += RangeLine(permission);
    absl::StrAppend(&fields,
                    "\"PermType\" :  ", authpb::Permission::Type_Name(permission.permtype()),
                    "\n\"Key\" : ", Quote(permission.key()),
                    "\n\"RangeEnd\" : ", Quote(permission.range_end()), "\n");
  }
  return {.simple = absl::StrCat("Role ", role, "\nKV Read:\n", reads, "KV Write:\n", writes),
          .fields = fields};
}

Outcome RunRoleGet(Context& context, const AuthArguments& arguments) {
  if (arguments.words.size() != 1) {
    return Wrong("role get command requires role name as its argument");
  }
  Session session;
  Outcome outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  pb::AuthRoleGetRequest request;
  request.set_role(arguments.words[0]);
  const auto answer = Ask<pb::AuthRoleGetResponse>(*session.client, "Auth/RoleGet", request, true);
  if (!answer.ok()) return Fail(answer.status());
  return session.printer->Answer(*answer, answer->header(), RoleForms(request.role(), *answer));
}

Outcome RunRoleList(Context& context, const AuthArguments& arguments) {
  if (!arguments.words.empty()) return Wrong("role list command requires no arguments");
  Session session;
  Outcome outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto answer = Ask<pb::AuthRoleListResponse>(*session.client, "Auth/RoleList",
                                                    pb::AuthRoleListRequest(), true);
  if (!answer.ok()) return Fail(answer.status());
  std::string fields = "\"Roles\" :";
  for (const std::string& role : answer->roles()) absl::StrAppend(&fields, " ", Quote(role));
  return session.printer->Answer(*answer, answer->header(),
                                 {.simple = Lines(answer->roles()), .fields = fields + "\n"});
}

// The range that words[first] and, if it is there, the word behind it stand for.
Outcome ReadRange(const AuthArguments& arguments, size_t first, std::string* key,
                  std::string* range_end) {
  *key = arguments.words[first];
  const bool has_end = arguments.words.size() > first + 1;
  if (arguments.prefix && arguments.from_key && (key->empty() || !has_end)) {
    return Wrong("--from-key and --prefix flags are mutually exclusive");
  }
  if (key->empty()) {  // Everything, which needs a first key in etcd's intervals.
    *key = OpenEnd();
    if (arguments.prefix || arguments.from_key) *range_end = OpenEnd();
    return Done();
  }
  if (has_end) {
    if (arguments.prefix) return Wrong("unexpected endkey argument with --prefix flag");
    if (arguments.from_key) return Wrong("unexpected endkey argument with --from-key flag");
    *range_end = arguments.words[first + 1];
  } else if (arguments.prefix) {
    *range_end = kvstore::PrefixEnd(*key);
  } else if (arguments.from_key) {
    *range_end = OpenEnd();
  }
  return Done();
}

Outcome RunGrantPermission(Context& context, const AuthArguments& arguments) {
  if (arguments.words.size() < 3) {
    return Wrong(
        "role grant command requires role name, permission type, and key [endkey] as its argument");
  }
  pb::AuthRoleGrantPermissionRequest request;
  request.set_name(arguments.words[0]);
  authpb::Permission& permission = *request.mutable_perm();
  authpb::Permission::Type type = authpb::Permission::READ;
  if (!authpb::Permission::Type_Parse(absl::AsciiStrToUpper(arguments.words[1]), &type)) {
    return Wrong(absl::StrCat("invalid permission type: ", arguments.words[1]));
  }
  permission.set_permtype(type);
  Outcome outcome =
      ReadRange(arguments, 2, permission.mutable_key(), permission.mutable_range_end());
  if (outcome.exit != Exit::kOk) return outcome;
  return Change<pb::AuthRoleGrantPermissionResponse>(
      context, "RoleGrantPermission", request, absl::StrCat("Role ", request.name(), " updated\n"));
}

Outcome RunRevokePermission(Context& context, const AuthArguments& arguments) {
  if (arguments.words.size() < 2) {
    return Wrong(
        "role revoke-permission command requires role name and key [endkey] as its argument");
  }
  pb::AuthRoleRevokePermissionRequest request;
  request.set_role(arguments.words[0]);
  Outcome outcome = ReadRange(arguments, 1, request.mutable_key(), request.mutable_range_end());
  if (outcome.exit != Exit::kOk) return outcome;
  const std::string& key = arguments.words[1];
  const std::string& end = request.range_end();
  const std::string what = end.empty()        ? absl::StrCat("key ", key)
                           : end == OpenEnd() ? absl::StrCat("range [", key, ", <open ended>")
                                              : absl::StrCat("range [", key, ", ", end, ")");
  return Change<pb::AuthRoleRevokePermissionResponse>(
      context, "RoleRevokePermission", request,
      absl::StrCat("Permission of ", what, " is revoked from role ", request.role(), "\n"));
}

// ---- The table ----

using Run = Outcome (*)(Context&, const AuthArguments&);

struct Verb {
  VerbText text;
  Run run;
};

constexpr Verb kAuthVerbs[] = {
    {{"enable", "Enables authentication", "words", "Examples:\n  kvctl auth enable"}, RunEnable},
    {{"disable", "Disables authentication", "words",
      "Examples:\n  kvctl --user root:secret auth disable"},
     RunDisable},
    {{"status", "Shows whether authentication is enabled", "words",
      "Examples:\n  kvctl --user root:secret auth status -w json"},
     RunAuthStatus},
};
constexpr Verb kUserVerbs[] = {
    {{"add", "Adds a new user", "name[:password]",
      "Without a password it is asked for.\n\nExamples:\n  kvctl user add alice\n"
      "  kvctl user add web --no-password\n  kvctl user add bob --interactive=false < file"},
     RunUserAdd},
    {{"delete", "Deletes a user", "name", "Examples:\n  kvctl user delete alice"}, RunUserDelete},
    {{"get", "Gets the roles of a user", "name", "Examples:\n  kvctl user get alice --detail"},
     RunUserGet},
    {{"list", "Lists all users", "words", "Examples:\n  kvctl user list"}, RunUserList},
    {{"passwd", "Changes the password of a user", "name", "Examples:\n  kvctl user passwd alice"},
     RunPasswd},
    {{"grant-role", "Grants a role to a user", "user-and-role",
      "Examples:\n  kvctl user grant-role alice readers"},
     RunGrantRole},
    {{"revoke-role", "Revokes a role from a user", "user-and-role",
      "Examples:\n  kvctl user revoke-role alice readers"},
     RunRevokeRole},
};
constexpr Verb kRoleVerbs[] = {
    {{"add", "Adds a new role", "name", "Examples:\n  kvctl role add readers"}, RunRoleAdd},
    {{"delete", "Deletes a role", "name", "Examples:\n  kvctl role delete readers"}, RunRoleDelete},
    {{"get", "Gets what a role allows", "name", "Examples:\n  kvctl role get readers"}, RunRoleGet},
    {{"list", "Lists all roles", "words", "Examples:\n  kvctl role list"}, RunRoleList},
    {{"grant-permission", "Lets a role read or write keys", "role-type-key-end",
      "The words are the role, the type (read, write or readwrite), and a key or both ends of a "
      "range.\n\nExamples:\n  kvctl role grant-permission readers read config/ --prefix\n"
      "  kvctl role grant-permission writers readwrite a c"},
     RunGrantPermission},
    {{"revoke-permission", "Takes a permission from a role", "role-key-end",
      "Examples:\n  kvctl role revoke-permission readers config/ --prefix"},
     RunRevokePermission},
};

template <size_t kCount>
void AddVerbs(CLI::App& group, Context& context, const Verb (&verbs)[kCount],
              const std::shared_ptr<AuthArguments>& arguments) {
  for (const Verb& verb : verbs) AddVerb(group, context, verb.text, arguments, verb.run);
}

}  // namespace

void AddAuth(CLI::App& root, Context& context) {
  const auto arguments = std::make_shared<AuthArguments>();
  CLI::App& auth = AddGroup(root, "auth", "Enable or disable authentication",
                            "A user root with the role root must be there first.\n\n"
                            "Examples:\n  kvctl user add root:secret\n  kvctl auth enable");
  AddVerbs(auth, context, kAuthVerbs, arguments);

  CLI::App& user = AddGroup(root, "user", "User related commands",
                            "Examples:\n  kvctl user add alice\n  kvctl user list");
  AddVerbs(user, context, kUserVerbs, arguments);
  CLI::App& add = *user.get_subcommand("add");
  add.add_flag("--interactive", arguments->interactive,
               "Ask for the password twice; =false: read it from standard input");
  add.add_option("--new-user-password", arguments->new_password, "The password");
  add.add_flag("--no-password", arguments->no_password,
               "A user that is known by its certificate alone");
  user.get_subcommand("get")->add_flag("--detail", arguments->detail,
                                       "Show what each of its roles allows");
  user.get_subcommand("passwd")->add_flag(
      "--interactive", arguments->interactive,
      "Ask for the password twice; =false: read it from standard input");

  CLI::App& role = AddGroup(root, "role", "Role related commands",
                            "Examples:\n  kvctl role add readers\n"
                            "  kvctl role grant-permission readers read config/ --prefix");
  AddVerbs(role, context, kRoleVerbs, arguments);
  for (const char* name : {"grant-permission", "revoke-permission"}) {
    CLI::App& verb = *role.get_subcommand(name);
    verb.add_flag("--prefix", arguments->prefix, "All keys that begin with the key");
    verb.add_flag("--from-key", arguments->from_key, "All keys from the key on");
  }
}

}  // namespace keelson::kvctl
