// Chooses a handler by method and path.
//
//   Router router;
//   router.Handle("GET", "/version", ShowVersion);
//   router.Handle("*", "/v2/keys/*", ServeKeys);
//   auto server = Server::Start(options, router);
//
// Threading: fill it first; then it may be called by several threads.
#ifndef KEELSON_BASE_HTTP_ROUTER_H_
#define KEELSON_BASE_HTTP_ROUTER_H_

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/http/message.h"
#include "base/http/server.h"

namespace keelson::http {

class Router {
 public:
  // `pattern` is a path as it is sent, percent-encoded. One that ends in "/*" takes all paths
  // below and the path without the "/*" itself. The longest pattern that fits wins.
  //
  // `method` is "GET", ... or "*" for all. HEAD goes to the handler of GET unless it has one.
  // A second handler for the same pair replaces the first.
  void Handle(std::string method, std::string pattern, Handler handler);

  // Answers 404 where no pattern fits, and 405 with Allow where only the method does not.
  void operator()(Request request, std::shared_ptr<ResponseWriter> writer) const;

 private:
  using Methods = std::map<std::string, Handler, std::less<>>;
  [[nodiscard]] const Methods* Find(std::string_view path) const;

  std::map<std::string, Methods, std::less<>> exact_;
  std::map<std::string, Methods, std::less<>> below_;  // Without the "/*".
};

}  // namespace keelson::http

#endif  // KEELSON_BASE_HTTP_ROUTER_H_
