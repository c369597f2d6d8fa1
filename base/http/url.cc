// ParseUrl.
#include <algorithm>

#include "base/http/client.h"
#include "base/net/address.h"
#include "base/status.h"

namespace keelson::http {

absl::StatusOr<Url> ParseUrl(std::string_view text) {
  const auto bad = [text](std::string_view why) {
    return absl::InvalidArgumentError("URL '" + std::string(text) + "': " + std::string(why));
  };
  Url url;
  std::string_view rest = text;
  if (rest.starts_with("https://")) {
    url.tls = true;
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    return bad("neither http:// nor https://");
  }
  if (std::any_of(rest.begin(), rest.end(), [](char c) {
        return static_cast<unsigned char>(c) <= ' ' || static_cast<unsigned char>(c) >= 0x7F;
      })) {
    return bad("spaces, control bytes and bytes beyond ASCII must be percent-encoded");
  }
  rest = rest.substr(0, rest.find('#'));
  const std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
  url.target = rest.substr(authority.size());
  if (!url.target.starts_with('/')) url.target.insert(0, "/");

  // A colon outside brackets begins the port.
  const size_t bracket = authority.rfind(']');
  const size_t colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  url.port = url.tls ? "443" : "80";
  std::string host_port(authority);
  if (colon == std::string_view::npos) host_port += ":" + url.port;
  const absl::StatusOr<net::HostPort> parsed = net::ParseHostPort(host_port);
  if (!parsed.ok()) return Annotate(parsed.status(), "URL '" + std::string(text) + "'");
  if (parsed->host.empty()) return bad("no host");
  url.host = parsed->host;
  url.port = std::to_string(parsed->port);
  return url;
}

}  // namespace keelson::http
