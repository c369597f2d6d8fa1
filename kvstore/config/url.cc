#include "kvstore/config/url.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status.h"

namespace keelson::kvstore {
namespace {

absl::Status Bad(std::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("'", absl::string_view(text.data(), text.size()), "': ", why));
}

bool IsAddress(const std::string& host) {
  in6_addr buffer;
  return ::inet_pton(AF_INET, host.c_str(), &buffer) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &buffer) == 1;
}

// Letters, digits, '.', '-' and '_' for names; also ':' and '%' inside
// brackets.
bool HostIsClean(std::string_view host, bool bracketed) {
  return !host.empty() && std::all_of(host.begin(), host.end(), [bracketed](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '-' || c == '_' || (bracketed && (c == ':' || c == '%'));
  });
}

}  // namespace

std::string Url::HostPort() const {
  if (is_socket()) return absl::StrCat("unix:", path);
  return host.find(':') == std::string::npos ? absl::StrCat(host, ":", port)
                                             : absl::StrCat("[", host, "]:", port);
}

absl::StatusOr<Url> ParseUrl(std::string_view text) {
  Url url;
  url.text = std::string(text);
  const size_t mark = text.find("://");
  if (mark == std::string_view::npos)
    return Bad(text, "URL scheme must be http, https, unix or unixs");
  url.scheme = std::string(text.substr(0, mark));
  if (url.scheme == "unix" || url.scheme == "unixs") {
    url.path = std::string(text.substr(mark + 3));
    constexpr size_t kPathMax = 107;  // sockaddr_un's
    if (url.path.empty() || url.path.size() > kPathMax ||
        url.path.find_first_of(std::string_view("\0,?#", 4)) != std::string::npos) {
      return Bad(text, "the path of a socket has 1 to 107 bytes, without ',', '?' and '#'");
    }
    return url;
  }
  if (url.scheme != "http" && url.scheme != "https") {
    return Bad(text, "URL scheme must be http, https, unix or unixs");
  }
  const std::string_view rest = text.substr(mark + 3);
  if (rest.find_first_of("/?#@") != std::string_view::npos) {
    return Bad(text, "URL must be scheme://host:port without a path");
  }

  const bool bracketed = rest.starts_with('[');
  const size_t close = bracketed ? rest.find(']') : std::string_view::npos;
  if (bracketed && close == std::string_view::npos) return Bad(text, "']' is missing");
  const size_t colon = bracketed ? close + 1 : rest.find(':');
  if (colon >= rest.size() || rest[colon] != ':') return Bad(text, "URL has no port");
  if (!bracketed && rest.find(':', colon + 1) != std::string_view::npos) {
    return Bad(text, "an IPv6 address must be in brackets");
  }
  const std::string_view host = bracketed ? rest.substr(1, close - 1) : rest.substr(0, colon);
  if (!HostIsClean(host, bracketed)) return Bad(text, "URL has no valid host");
  url.host = std::string(host);

  const std::string_view port = rest.substr(colon + 1);
  uint32_t number = 0;
  if (port.empty() || port.find_first_not_of("0123456789") != std::string_view::npos ||
      !absl::SimpleAtoi(absl::string_view(port.data(), port.size()), &number) || number > 65535) {
    return Bad(text, "the port must be a number up to 65535");
  }
  url.port = static_cast<uint16_t>(number);
  return url;
}

absl::StatusOr<std::vector<Url>> ParseUrls(std::string_view text) {
  std::vector<Url> urls;
  for (absl::string_view piece : absl::StrSplit(absl::string_view(text.data(), text.size()), ',')) {
    piece = absl::StripAsciiWhitespace(piece);
    KEELSON_ASSIGN_OR_RETURN(Url url, ParseUrl(std::string_view(piece.data(), piece.size())));
    urls.push_back(std::move(url));
  }
  std::sort(urls.begin(), urls.end());
  return urls;
}

bool IsBindable(const Url& url) {
  return url.is_socket() || url.host == "localhost" || IsAddress(url.host);
}

std::vector<std::string> Texts(const std::vector<Url>& urls) {
  std::vector<std::string> texts;
  texts.reserve(urls.size());
  for (const Url& url : urls) texts.push_back(url.text);
  return texts;
}

}  // namespace keelson::kvstore
