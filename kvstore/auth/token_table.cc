#include "kvstore/auth/token_table.h"

namespace keelson::kvstore::auth {

void TokenTable::Assign(const std::string& token, const std::string& user, absl::Duration now) {
  absl::MutexLock lock(&mu_);
  tokens_[token] = {.user = user, .deadline = now + ttl_};
}

std::optional<std::string> TokenTable::Resolve(std::string_view token, absl::Duration now) {
  absl::MutexLock lock(&mu_);
  const auto found = tokens_.find(absl::string_view(token.data(), token.size()));
  if (found == tokens_.end()) return std::nullopt;
  if (found->second.deadline <= now) {
    tokens_.erase(found);
    return std::nullopt;
  }
  found->second.deadline = now + ttl_;
  return found->second.user;
}

void TokenTable::InvalidateUser(std::string_view user) {
  absl::MutexLock lock(&mu_);
  absl::erase_if(tokens_, [user](const auto& token) { return token.second.user == user; });
}

void TokenTable::Clear() {
  absl::MutexLock lock(&mu_);
  tokens_.clear();
}

void TokenTable::Expire(absl::Duration now) {
  absl::MutexLock lock(&mu_);
  absl::erase_if(tokens_, [now](const auto& token) { return token.second.deadline <= now; });
}

}  // namespace keelson::kvstore::auth
