#include "kvstore/v2/auth.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kvstore/json_string.h"

namespace keelson::kvstore::v2 {
namespace {

using Json = nlohmann::json;

constexpr int kConflict = 409;

AuthError Conflict(absl::string_view what) {
  return {.status = kConflict, .message = absl::StrCat("auth: ", what)};
}

// The member `name` of an object in any case, the last of several; null when it is missing or null.
const Json* Find(const Json& object, const char* name) {
  const Json* found = nullptr;
  for (const auto& [key, value] : object.items()) {
    if (absl::EqualsIgnoreCase(key, name)) found = &value;
  }
  return found == nullptr || found->is_null() ? nullptr : found;
}

// Each Read returns false when the value has another type.
bool Read(const Json& object, const char* name, std::string* text) {
  const Json* const value = Find(object, name);
  if (value == nullptr) return true;
  if (!value->is_string()) return false;
  *text = value->get<std::string>();
  return true;
}

bool Read(const Json& object, const char* name, AuthList* list) {
  const Json* const value = Find(object, name);
  if (value == nullptr) return true;
  if (!value->is_array()) return false;
  list->emplace();
  for (const Json& element : *value) {
    if (!element.is_string() && !element.is_null()) return false;
    (*list)->push_back(element.is_null() ? "" : element.get<std::string>());
  }
  return true;
}

bool Read(const Json& object, const char* name, std::vector<std::string>* list) {
  AuthList read;
  if (!Read(object, name, &read)) return false;
  if (read.has_value()) *list = *std::move(read);
  return true;
}

bool Read(const Json& object, const char* name, Rights* rights) {
  const Json* const permissions = Find(object, name);
  if (permissions == nullptr) return true;
  if (!permissions->is_object()) return false;
  const Json* const keys = Find(*permissions, "kv");
  if (keys == nullptr) return true;
  return keys->is_object() && Read(*keys, "read", &rights->read) &&
         Read(*keys, "write", &rights->write);
}

std::string ListJson(const AuthList& list) {
  if (!list.has_value()) return "null";
  const auto quote = [](std::string* out, const std::string& text) {
    out->append(JsonString(text));
  };
  return absl::StrCat("[", absl::StrJoin(*list, ",", quote), "]");
}

// `list` with `added`, each of which must be new, and without `removed`; sorted, each once.
std::optional<AuthError> Change(const AuthList& list, const std::vector<std::string>& added,
                                const std::vector<std::string>& removed, absl::string_view what,
                                AuthList* out) {
  std::set<std::string> now;
  if (list.has_value()) now.insert(list->begin(), list->end());
  for (const std::string& element : added) {
    if (!now.insert(element).second) {
      return Conflict(absl::StrCat("Granting duplicate ", what, " permission ", element));
    }
  }
  for (const std::string& element : removed) now.erase(element);
  *out = std::vector<std::string>(now.begin(), now.end());
  return std::nullopt;
}

std::vector<std::string> ValueOf(const AuthList& list) {
  return list.value_or(std::vector<std::string>());
}

}  // namespace

std::optional<AuthUser> ParseAuthUser(std::string_view json) {
  const Json parsed = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  AuthUser user;
  if (!parsed.is_object() || !Read(parsed, "user", &user.name) ||
      !Read(parsed, "password", &user.password) || !Read(parsed, "roles", &user.roles) ||
      !Read(parsed, "grant", &user.grant) || !Read(parsed, "revoke", &user.revoke)) {
    return std::nullopt;
  }
  return user;
}

std::optional<AuthRole> ParseAuthRole(std::string_view json) {
  const Json parsed = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  AuthRole role;
  if (!parsed.is_object() || !Read(parsed, "role", &role.name) ||
      !Read(parsed, "permissions", &role.rights) || !Read(parsed, "grant", &role.grant) ||
      !Read(parsed, "revoke", &role.revoke)) {
    return std::nullopt;
  }
  return role;
}

std::string AuthUserJson(const AuthUser& user) {
  const std::string password =
      user.password.empty() ? "" : absl::StrCat("\"password\":", JsonString(user.password), ",");
  return absl::StrCat("{\"user\":", JsonString(user.name), ",", password,
                      "\"roles\":", ListJson(user.roles), "}");
}

std::string AuthRoleJson(const AuthRole& role) {
  return absl::StrCat("{\"role\":", JsonString(role.name),
                      ",\"permissions\":{\"kv\":{\"read\":", ListJson(role.rights.read),
                      ",\"write\":", ListJson(role.rights.write), "}}}");
}

AuthRole AllKeys(std::string name) {
  const AuthList all = std::vector<std::string>{"/*"};
  return {.name = std::move(name), .rights = {.read = all, .write = all}};
}

void AttachRootRole(AuthUser& user) {
  if (!user.roles.has_value()) user.roles.emplace();
  if (std::find(user.roles->begin(), user.roles->end(), kRootName) == user.roles->end()) {
    user.roles->emplace_back(kRootName);
  }
}

std::variant<AuthUser, AuthError> Merge(const AuthUser& user, const AuthUser& change) {
  AuthUser merged{.name = user.name,
                  .password = change.password.empty() ? user.password : change.password};
  std::set<std::string> roles;
  if (user.roles.has_value()) roles.insert(user.roles->begin(), user.roles->end());
  for (const std::string& role : change.grant) {
    if (!roles.insert(role).second) {
      return Conflict(absl::StrCat("Granting duplicate role ", role, " for user ", user.name));
    }
  }
  for (const std::string& role : change.revoke) {
    if (roles.erase(role) == 0) {
      return Conflict(absl::StrCat("Revoking ungranted role ", role, " for user ", user.name));
    }
  }
  merged.roles = std::vector<std::string>(roles.begin(), roles.end());
  return merged;
}

std::variant<AuthRole, AuthError> Merge(const AuthRole& role, const AuthRole& change) {
  AuthRole merged{.name = role.name};
  std::optional<AuthError> error = Change(role.rights.read, ValueOf(change.grant.read),
                                          ValueOf(change.revoke.read), "read", &merged.rights.read);
  if (!error.has_value()) {
    error = Change(role.rights.write, ValueOf(change.grant.write), ValueOf(change.revoke.write),
                   "write", &merged.rights.write);
  }
  if (error.has_value()) return *error;
  return merged;
}

bool Opens(const AuthRole& role, std::string_view key, bool write, bool recursive) {
  if (role.name == kRootName) return true;
  const AuthList& patterns = write ? role.rights.write : role.rights.read;
  if (!patterns.has_value()) return false;
  return std::any_of(patterns->begin(), patterns->end(), [&](const std::string& pattern) {
    const bool open = pattern.ends_with('*');
    if (open) return key.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1));
    return !recursive && key == pattern;
  });
}

std::optional<BasicCredentials> ParseBasicCredentials(std::string_view header) {
  constexpr std::string_view kScheme = "Basic ";
  if (header.size() < kScheme.size() ||
      !absl::EqualsIgnoreCase(absl::string_view(header.data(), kScheme.size()),
                              absl::string_view(kScheme.data(), kScheme.size()))) {
    return std::nullopt;
  }
  header.remove_prefix(kScheme.size());
  std::string text;
  if (!absl::Base64Unescape(absl::string_view(header.data(), header.size()), &text)) {
    return std::nullopt;
  }
  const size_t colon = text.find(':');
  if (colon == std::string::npos) return std::nullopt;
  return BasicCredentials{.user = text.substr(0, colon), .password = text.substr(colon + 1)};
}

}  // namespace keelson::kvstore::v2
