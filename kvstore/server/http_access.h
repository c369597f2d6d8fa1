// Which HTTP requests are answered at all, before anybody looks at their path: by the host that is
// asked for, and what browsers are told about other pages (kvstore.md 13.5).
#ifndef KEELSON_KVSTORE_SERVER_HTTP_ACCESS_H_
#define KEELSON_KVSTORE_SERVER_HTTP_ACCESS_H_

#include <set>
#include <string>

#include "base/http/server.h"

namespace keelson::kvstore {

struct HttpAccess {
  // Of requests without TLS: the host they ask for, without the port. Others get 421: a page that
  // makes its own name an address of this machine must not read what is served here.
  std::set<std::string> hosts = {"*"};
  // Origins that may read answers, told in the header fields of CORS.
  std::set<std::string> origins = {"*"};
};

// `handler` behind `access`. OPTIONS is answered here.
http::Handler WithAccess(HttpAccess access, http::Handler handler);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_HTTP_ACCESS_H_
