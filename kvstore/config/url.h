// The URLs that members listen on and advertise: scheme, host and port, nothing else; or a socket of
// the file system.
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
  std::string scheme;  // "http", "https", "unix" or "unixs"
  std::string host;    // a name or an address; IPv6 without brackets; empty for a socket
  uint16_t port = 0;   // 0: the system chooses, for listeners only
  std::string path;    // of a socket, else empty
  std::string text;    // as given

  [[nodiscard]] bool tls() const { return scheme == "https" || scheme == "unixs"; }
  [[nodiscard]] bool is_socket() const { return !path.empty(); }
  // "host:port", IPv6 in brackets; "unix:path".
  [[nodiscard]] std::string HostPort() const;

  friend bool operator==(const Url& a, const Url& b) { return a.text == b.text; }
  friend auto operator<=>(const Url& a, const Url& b) { return a.text <=> b.text; }
};

// As etcd, a socket's path is all that follows "unix://": a file of the working directory is
// "unix://name:0", any other "unix:///run/name". INVALID_ARGUMENT says what is wrong: an unknown scheme,
// no port, a path, and so on.
absl::StatusOr<Url> ParseUrl(std::string_view text);

// Comma-separated, surrounding blanks dropped, sorted by text as etcd does.
// INVALID_ARGUMENT also for an empty list.
absl::StatusOr<std::vector<Url>> ParseUrls(std::string_view text);

// Whether it can be listened on: the host is an address or "localhost", or it is a socket.
bool IsBindable(const Url& url);

std::vector<std::string> Texts(const std::vector<Url>& urls);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_CONFIG_URL_H_
