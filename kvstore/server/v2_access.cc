#include "kvstore/server/v2_access.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "kvstore/auth/secrets.h"
#include "kvstore/v2/key_store.h"
#include "kvstore/v2/keys_request.h"

namespace keelson::kvstore {
namespace {

using v2::AuthError;
using v2::AuthRole;
using v2::AuthUser;
using v2::Event;

constexpr size_t kRightMax = 1000;
constexpr int kNotFound = 404;
constexpr int kInternal = 500;

std::array<unsigned char, 32> NewSecret() {
  std::array<unsigned char, 32> secret{};
  KEELSON_CHECK(RAND_bytes(secret.data(), static_cast<int>(secret.size())) == 1);
  return secret;
}

absl::Status Refused() { return absl::PermissionDeniedError("Insufficient credentials"); }

bool Reads(const http::Request& request) {
  return request.method == "GET" || request.method == "HEAD";
}

}  // namespace

v2::Outcome ReadAuthNode(const Server& server, const std::string& path) {
  return server.store().V2()->Get(absl::StrCat(AuthFolder(), path), /*recursive=*/false, /*now=*/0);
}

std::string AuthFolder() { return std::string(v2::kAuthFolder); }

V2Access::V2Access(Server* server) : server_(server), secret_(NewSecret()) {}

bool V2Access::Enabled() const {
  const v2::Outcome outcome = ReadAuthNode(*server_, "/enabled");
  const Event* const event = std::get_if<Event>(&outcome);
  return event != nullptr && event->node.value == "true";
}

std::variant<V2Access::StoredUser, AuthError> V2Access::User(const std::string& name) const {
  const v2::Outcome outcome = ReadAuthNode(*server_, absl::StrCat("/users/", name));
  const Event* const event = std::get_if<Event>(&outcome);
  if (event == nullptr || event->node.directory) {
    return AuthError{kNotFound, absl::StrCat("auth: User ", name, " does not exist.")};
  }
  std::optional<AuthUser> user = v2::ParseAuthUser(event->node.value.value_or(""));
  if (!user.has_value()) return AuthError{kInternal, "Internal Server Error"};
  if (user->name == v2::kRootName) v2::AttachRootRole(*user);
  return StoredUser{*std::move(user), event->node.modified_index};
}

std::variant<V2Access::StoredRole, AuthError> V2Access::Role(const std::string& name) const {
  if (name == v2::kRootName) return StoredRole{v2::AllKeys(name)};
  const v2::Outcome outcome = ReadAuthNode(*server_, absl::StrCat("/roles/", name));
  const Event* const event = std::get_if<Event>(&outcome);
  if (event == nullptr || event->node.directory) {
    return AuthError{kNotFound, absl::StrCat("auth: Role ", name, " does not exist.")};
  }
  std::optional<AuthRole> role = v2::ParseAuthRole(event->node.value.value_or(""));
  if (!role.has_value()) return AuthError{kInternal, "Internal Server Error"};
  return StoredRole{*std::move(role), event->node.modified_index};
}

std::vector<std::string> V2Access::Names(const std::string& folder) const {
  const v2::Outcome outcome = ReadAuthNode(*server_, folder);
  std::vector<std::string> names;
  if (const Event* const event = std::get_if<Event>(&outcome)) {
    for (const v2::NodeView& node : event->node.nodes) {
      names.push_back(node.key.substr(node.key.rfind('/') + 1));
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> V2Access::Users() const { return Names("/users"); }

std::vector<std::string> V2Access::Roles() const {
  std::vector<std::string> names = Names("/roles");
  names.emplace_back(v2::kRootName);
  std::sort(names.begin(), names.end());
  return names;
}

bool V2Access::Matches(const AuthUser& user, const std::string& password) {
  unsigned char code[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  const std::string text = absl::StrCat(user.password, absl::string_view("\0", 1), password);
  KEELSON_CHECK(HMAC(EVP_sha256(), secret_.data(), static_cast<int>(secret_.size()),
                     reinterpret_cast<const unsigned char*>(text.data()), text.size(), code,
                     &size) != nullptr);
  std::string mark(reinterpret_cast<const char*>(code), size);
  {
    absl::MutexLock lock(&mu_);
    if (right_.contains(mark)) return true;
  }
  if (!auth::PasswordMatches(password, user.password)) return false;
  absl::MutexLock lock(&mu_);
  if (right_.size() >= kRightMax) right_.clear();
  right_.insert(std::move(mark));
  return true;
}

void V2Access::Identify(const http::Request& request,
                        std::function<void(std::optional<AuthUser> user, bool wrong)> then) {
  const std::optional<std::string_view> header = request.headers.Find("Authorization");
  if (!header.has_value() || header->empty()) {
    std::optional<AuthUser> user;
    if (server_->options().client_cert_auth && request.peer_certificate != nullptr) {
      auto found = User(request.peer_certificate->common_name);
      if (StoredUser* const stored = std::get_if<StoredUser>(&found)) user = stored->user;
    }
    return then(std::move(user), false);
  }
  const std::optional<v2::BasicCredentials> said = v2::ParseBasicCredentials(*header);
  if (!said.has_value()) return then(std::nullopt, true);
  auto found = User(said->user);
  const StoredUser* const stored = std::get_if<StoredUser>(&found);
  if (stored == nullptr) return then(std::nullopt, true);
  server_->RunOnReader([self = shared_from_this(), user = stored->user, password = said->password,
                        then = std::move(then)] {
    if (!self->Matches(user, password)) return then(std::nullopt, true);
    then(user, false);
  });
}

absl::Status V2Access::CountFor(const std::string& user, const std::string& address) {
  Origin who;
  who.set_user(user);
  return server_->CheckRate(who, address);
}

void V2Access::CheckKey(const http::Request& request, std::string key, bool recursive, Then then) {
  if (!Enabled()) return then(CountFor("", request.peer_address));
  Identify(request, [this, key = std::move(key), recursive, write = !Reads(request),
                     address = request.peer_address,
                     then = std::move(then)](const std::optional<AuthUser>& user, bool wrong) {
    const absl::Status few = CountFor(user.has_value() ? user->name : "", address);
    if (!few.ok()) return then(few);
    if (wrong) return then(Refused());
    if (!user.has_value()) {
      // As in etcd, a guest may also do with all below a key what is open to the key itself.
      const auto guest = Role(v2::kGuestName);
      const StoredRole* const stored = std::get_if<StoredRole>(&guest);
      const bool open =
          stored != nullptr && v2::Opens(stored->role, key, write, /*recursive=*/false);
      return then(open ? absl::OkStatus() : Refused());
    }
    for (const std::string& name : user->roles.value_or(std::vector<std::string>())) {
      const auto role = Role(name);
      const StoredRole* const stored = std::get_if<StoredRole>(&role);
      if (stored != nullptr && v2::Opens(stored->role, key, write, recursive)) {
        return then(absl::OkStatus());
      }
    }
    then(Refused());
  });
}

void V2Access::CheckRoot(const http::Request& request, Then then) {
  if (!Enabled()) return then(CountFor("", request.peer_address));
  Identify(request, [this, address = request.peer_address, then = std::move(then)](
                        const std::optional<AuthUser>& user, bool /*wrong*/) {
    const absl::Status few = CountFor(user.has_value() ? user->name : "", address);
    if (!few.ok()) return then(few);
    if (!user.has_value() || !user->roles.has_value()) return then(Refused());
    const std::vector<std::string>& roles = *user->roles;
    const bool root = std::find(roles.begin(), roles.end(), v2::kRootName) != roles.end();
    then(root ? absl::OkStatus() : Refused());
  });
}

}  // namespace keelson::kvstore
