// The URLs that members listen on and advertise: scheme, host and port, nothing
// else.
#ifndef KEELSON_KVSTORE_CONFIG_URL_H_
#define KEELSON_KVSTORE_CONFIG_URL_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace keelson::kvstore {

// A value. Compares by its text.
struct Url {
  std::string scheme;  // "http" or "https"
  std::string host;    // a name or an address; IPv6 without brackets
  uint16_t port = 0;   // 0: the system chooses, for listeners only
  std::string text;    // as given

  [[nodiscard]] bool tls() const { return scheme == "https"; }
  // "host:port", IPv6 in brackets.
  [[nodiscard]] std::string HostPort() const;

  friend bool operator==(const Url& a, const Url& b) { return a.text == b.text; }
  friend auto operator<=>(const Url& a, const Url& b) { return a.text <=> b.text; }
};

// INVALID_ARGUMENT says what is wrong: an unknown scheme, no port, a path, and
// so on.
absl::StatusOr<Url> ParseUrl(std::string_view text);

// Comma-separated, surrounding blanks dropped, sorted by text as etcd does.
// INVALID_ARGUMENT also for an empty list.
absl::StatusOr<std::vector<Url>> ParseUrls(std::string_view text);

// Whether a socket can be bound to it: the host is an address or "localhost".
bool IsBindable(const Url& url);

std::vector<std::string> Texts(const std::vector<Url>& urls);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_CONFIG_URL_H_
