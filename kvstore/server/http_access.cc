#include "kvstore/server/http_access.h"

#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

namespace keelson::kvstore {
namespace {

using Writer = std::shared_ptr<http::ResponseWriter>;

bool Has(const std::set<std::string>& words, const std::string& word) {
  return words.contains("*") || words.contains(word);
}

// "localhost" of "localhost:2379", "::1" of "[::1]:2379".
std::string HostOf(const http::Request& request) {
  const std::string_view field = request.headers.Find("Host").value_or("");
  if (field.starts_with('[')) return std::string(field.substr(1, field.find(']') - 1));
  return std::string(field.substr(0, field.find(':')));
}

// Adds the header fields of CORS to what is answered.
class CorsWriter final : public http::ResponseWriter {
 public:
  CorsWriter(Writer writer, std::string origin)
      : writer_(std::move(writer)), origin_(std::move(origin)) {}

  void Send(http::Response response) override {
    Add(response.headers);
    writer_->Send(std::move(response));
  }
  void Start(int status, http::Headers headers) override {
    Add(headers);
    writer_->Start(status, std::move(headers));
  }
  bool Write(std::string piece) override { return writer_->Write(std::move(piece)); }
  void Finish() override { writer_->Finish(); }
  [[nodiscard]] size_t BufferedBytes() const override { return writer_->BufferedBytes(); }
  void OnDrained(std::function<void()> callback) override {
    writer_->OnDrained(std::move(callback));
  }
  void OnDisconnect(std::function<void()> callback) override {
    writer_->OnDisconnect(std::move(callback));
  }
  [[nodiscard]] bool IsConnected() const override { return writer_->IsConnected(); }

 private:
  void Add(http::Headers& headers) const {
    headers.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE");
    headers.Set("Access-Control-Allow-Origin", origin_);
    headers.Set("Access-Control-Allow-Headers", "accept, content-type, authorization");
    // Another page must not get the answer of this one from a cache.
    if (origin_ != "*") headers.Set("Vary", "Origin");
  }

  const Writer writer_;
  const std::string origin_;
};

// The origin to tell; empty: none.
std::string AllowedOrigin(const std::set<std::string>& origins, const http::Request& request) {
  if (origins.contains("*")) return "*";
  const std::string origin(request.headers.Find("Origin").value_or(""));
  return origins.contains(origin) ? origin : "";
}

void Refuse(const std::string& host, const Writer& writer) {
  http::Response refused = http::TextResponse(
      421, absl::StrCat("the host '", host,
                        "' is not served here without TLS.\n\nEither use https, or let this member "
                        "know the name:\n  --host-whitelist=NAME,...\n"));
  refused.headers.Set("X-Content-Type-Options", "nosniff");
  writer->Send(std::move(refused));
}

}  // namespace

http::Handler WithAccess(HttpAccess access, http::Handler handler) {
  return [access = std::move(access), handler = std::move(handler)](http::Request request,
                                                                    Writer writer) {
    const std::string host = request.tls ? "" : HostOf(request);
    if (!request.tls && !Has(access.hosts, host)) return Refuse(host, writer);
    std::string origin = AllowedOrigin(access.origins, request);
    if (!origin.empty()) {
      writer = std::make_shared<CorsWriter>(std::move(writer), std::move(origin));
    }
    if (request.method == "OPTIONS") return writer->Send({.status = 200});
    handler(std::move(request), std::move(writer));
  };
}

}  // namespace keelson::kvstore
