// HTTP messages as values: what a server's handler gets and returns, and what a client
// sends and receives. No socket, no thread, no Boost.
#ifndef KEELSON_BASE_HTTP_MESSAGE_H_
#define KEELSON_BASE_HTTP_MESSAGE_H_

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/tls.h"

namespace keelson::http {

struct Header {
  std::string name;
  std::string value;
};

// Header fields in the order sent. Names compare without case.
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<Header> fields) : fields_(fields) {}

  // The value of the first field of this name; empty when there is none.
  [[nodiscard]] std::optional<std::string_view> Find(std::string_view name) const;
  // Every value of this name, in order.
  [[nodiscard]] std::vector<std::string_view> FindAll(std::string_view name) const;
  void Add(std::string name, std::string value);
  // Removes all fields of this name and adds one.
  void Set(std::string name, std::string value);
  void Remove(std::string_view name);

  [[nodiscard]] const std::vector<Header>& fields() const { return fields_; }

 private:
  std::vector<Header> fields_;
};

using keelson::PeerCertificate;

struct Request {
  std::string method = {};  // As sent, such as "GET".
  std::string target = {};  // As sent, such as "/v2/keys/a%20b?wait=true".
  Headers headers = {};
  std::string body = {};

  // Filled in by the server.
  std::string peer_address = {};  // "127.0.0.1:40312", or "unix" for a socket without a name.
  bool tls = false;
  std::shared_ptr<const PeerCertificate> peer_certificate =
      {};  // Null without a verified certificate.

  // The part of `target` before '?', still percent-encoded.
  [[nodiscard]] std::string_view Path() const;
  // The part after '?', still percent-encoded.
  [[nodiscard]] std::string_view Query() const;
};

struct Response {
  int status = 200;
  Headers headers = {};
  std::string body = {};
};

// A response with a body of this type.
Response TextResponse(int status, std::string text);
Response JsonResponse(int status, std::string json);

// "Not Found" for 404; "Unknown" for what has no name.
std::string_view ReasonOf(int status);

// Decodes %XX, and '+' to a space where `plus_is_space` (forms and queries). Empty when a
// '%' is not followed by two hexadecimal digits.
std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_space = false);

// Encodes every byte but the unreserved ones of RFC 3986: letters, digits, "-._~".
std::string PercentEncode(std::string_view text);

// Decodes `application/x-www-form-urlencoded` text, a query or a body, in order of
// appearance. Empty when an escape in it is broken.
std::optional<std::vector<Header>> ParseForm(std::string_view text);

// True for two ASCII texts that differ in case only.
bool EqualsIgnoreCase(std::string_view a, std::string_view b);

}  // namespace keelson::http

#endif  // KEELSON_BASE_HTTP_MESSAGE_H_
