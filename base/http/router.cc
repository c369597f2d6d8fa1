#include "base/http/router.h"

#include <utility>

namespace keelson::http {

void Router::Handle(std::string method, std::string pattern, Handler handler) {
  const bool prefix = pattern.ends_with("/*");
  if (prefix) pattern.resize(pattern.size() - 2);
  Methods& methods = (prefix ? below_ : exact_)[std::move(pattern)];
  methods.insert_or_assign(std::move(method), std::move(handler));
}

const Router::Methods* Router::Find(std::string_view path) const {
  if (const auto it = exact_.find(path); it != exact_.end()) return &it->second;
  while (true) {
    if (const auto it = below_.find(path); it != below_.end()) return &it->second;
    const size_t slash = path.rfind('/');
    if (slash == std::string_view::npos) return nullptr;
    path = path.substr(0, slash);
  }
}

void Router::operator()(Request request, std::shared_ptr<ResponseWriter> writer) const {
  const Methods* methods = Find(request.Path());
  if (methods == nullptr) return writer->Send(TextResponse(404, "404 page not found\n"));
  auto it = methods->find(request.method);
  if (it == methods->end() && request.method == "HEAD") it = methods->find("GET");
  if (it == methods->end()) it = methods->find("*");
  if (it != methods->end()) return it->second(std::move(request), std::move(writer));

  std::string allow;
  for (const auto& [method, handler] : *methods) allow += (allow.empty() ? "" : ", ") + method;
  Response response = TextResponse(405, "method not allowed\n");
  response.headers.Add("Allow", allow);
  writer->Send(std::move(response));
}

}  // namespace keelson::http
