// An HTTP/1.1 client: asynchronous, or blocking for commands and tests.
//
//   KEELSON_ASSIGN_OR_RETURN(auto client, Client::Create({}));
//   KEELSON_ASSIGN_OR_RETURN(Response response,
//                            client->FetchBlocking({.url = "http://127.0.0.1:2379/health"}));
//
// It follows no redirects and knows no proxies and no cookies.
//
// Threading: thread-safe. Callbacks run on the client's one I/O thread and must not block.
#ifndef KEELSON_BASE_HTTP_CLIENT_H_
#define KEELSON_BASE_HTTP_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/http/message.h"
#include "base/tls.h"

namespace keelson::http {

struct Url {
  bool tls = false;
  std::string host;    // Without brackets.
  std::string port;    // "80" or "443" when the text has none.
  std::string target;  // At least "/".
};

// Reads "http://host[:port][/target]" and "https://...". A fragment is cut off.
// INVALID_ARGUMENT for anything else, user information and control bytes included.
absl::StatusOr<Url> ParseUrl(std::string_view text);

struct FetchRequest {
  std::string method = "GET";
  std::string url = {};
  Headers headers = {};  // Host, Content-Length and Connection are added.
  std::string body = {};
  absl::Duration connect_timeout = absl::Seconds(10);  // Name, connection and TLS handshake.
  absl::Duration timeout = absl::Seconds(60);          // The whole fetch; infinite is allowed.
  uint64_t body_bytes_max = 64 * 1024 * 1024;  // Without on_body; beyond: RESOURCE_EXHAUSTED.

  // Called once with status and header fields, before the first piece of the body.
  std::function<void(const Response& head)> on_head = {};
  // Called with each piece of the body, which then is not collected; false ends the fetch with CANCELLED.
  std::function<bool(std::string_view piece)> on_body = {};
};

struct ClientOptions {
  // For https. Null: the system's certificate authorities and no client certificate.
  std::shared_ptr<const TlsClientContext> tls = {};
  // Connections kept open for later fetches, each used again for up to 30 s; 0 sends
  // `Connection: close`.
  size_t idle_connections_max = 8;
};

class Client {
 public:
  static absl::StatusOr<std::unique_ptr<Client>> Create(const ClientOptions& options);

  // Ends all fetches with CANCELLED and joins the thread. Not from a callback.
  virtual ~Client() = default;

  using DoneCallback = std::function<void(absl::StatusOr<Response> response)>;
  using CancelFunction = std::function<void()>;

  // Calls `done` once, never inside this call. Any answer of the server is a success, 4xx and
  // 5xx included. The function returned ends the fetch with CANCELLED if it still runs; it
  // may be called at any time, from any thread, also after the client is gone.
  //
  // Errors:
  //   INVALID_ARGUMENT    the URL, the method or a header field cannot be sent.
  //   UNAVAILABLE         no connection, or it broke; the message says where.
  //   UNAUTHENTICATED     the TLS handshake failed, such as for a certificate that is not trusted.
  //   DEADLINE_EXCEEDED   a time limit passed.
  //   RESOURCE_EXHAUSTED  a size limit passed.
  //   DATA_LOSS           the answer is not HTTP or is cut short.
  //   CANCELLED           by the caller.
  virtual CancelFunction Fetch(FetchRequest request, DoneCallback done) = 0;

  // Waits for the answer. Not from a callback.
  absl::StatusOr<Response> FetchBlocking(FetchRequest request);
};

}  // namespace keelson::http

#endif  // KEELSON_BASE_HTTP_CLIENT_H_
