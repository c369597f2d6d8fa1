// Simple tokens in any order of events, beside a naive twin; and the option that chooses a kind of token.
//
// Each event is three bytes: what, which token or user, how much time passes.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "kvstore/auth/jwt.h"
#include "kvstore/auth/token_table.h"

namespace {

using keelson::kvstore::auth::TokenTable;

constexpr absl::Duration kTtl = absl::Seconds(20);

// Knows all that were ever given, and when each was used last.
class Twin {
 public:
  void Assign(const std::string& token, const std::string& user, absl::Duration now) {
    used_[token] = {user, now};
  }
  std::string Resolve(const std::string& token, absl::Duration now) {
    const auto found = used_.find(token);
    if (found == used_.end() || now - found->second.second >= kTtl) return "";
    found->second.second = now;
    return found->second.first;
  }
  void InvalidateUser(const std::string& user) {
    std::erase_if(used_, [&user](const auto& entry) { return entry.second.first == user; });
  }
  void Clear() { used_.clear(); }

 private:
  std::map<std::string, std::pair<std::string, absl::Duration>> used_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (const auto spec = keelson::kvstore::auth::ParseTokenSpec(input); spec.ok()) {
    KEELSON_CHECK(input.starts_with("simple") || spec->jwt.has_value());
  }

  TokenTable table(kTtl);
  Twin twin;
  absl::Duration now;
  for (size_t i = 0; i + 3 <= size; i += 3) {
    now += absl::Seconds(data[i + 2] % 32);
    const std::string token(1, static_cast<char>('a' + data[i + 1] % 8));
    const std::string user(1, static_cast<char>('u' + data[i + 1] / 8 % 3));
    switch (data[i] % 8) {
      case 0:
      case 1:
        table.Assign(token, user, now);
        twin.Assign(token, user, now);
        break;
      case 2:
        table.InvalidateUser(user);
        twin.InvalidateUser(user);
        break;
      case 3:
        table.Expire(now);  // Changes nothing that can be seen.
        break;
      case 4:
        if (data[i + 1] == 0) {
          table.Clear();
          twin.Clear();
        }
        break;
      default:
        KEELSON_CHECK(table.Resolve(token, now).value_or("") == twin.Resolve(token, now));
    }
  }
  return 0;
}
