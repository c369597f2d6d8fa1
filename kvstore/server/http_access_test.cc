#include "kvstore/server/http_access.h"

#include <catch2/catch.hpp>
#include <memory>

#include "base/http/testing/recording_writer.h"

namespace keelson::kvstore {
namespace {

using http::RecordingWriter;

struct Asked {
  bool handled = false;
  std::shared_ptr<RecordingWriter> writer = std::make_shared<RecordingWriter>();
};

Asked Ask(const HttpAccess& access, http::Request request) {
  Asked asked;
  WithAccess(access, [&asked](const http::Request&, const auto& writer) {
    asked.handled = true;
    writer->Send(http::TextResponse(200, "answer"));
  })(std::move(request), asked.writer);
  return asked;
}

TEST_CASE("Without TLS only hosts that are listed are answered", "[kvstore][http_access]") {
  const HttpAccess access{.hosts = {"localhost", "::1"}, .origins = {}};
  for (const char* host : {"localhost", "localhost:2379", "[::1]:2379"}) {
    CHECK(Ask(access, {.method = "GET", .headers = {{"Host", host}}}).handled);
  }
  for (const char* host : {"evil.example", "evil.example:2379", "", "[::2]", "localhost.evil"}) {
    const Asked asked = Ask(access, {.method = "GET", .headers = {{"Host", host}}});
    CHECK_FALSE(asked.handled);
    CHECK(asked.writer->Wait().status == 421);
  }
  CHECK(Ask(access, {.method = "GET", .headers = {{"Host", "evil.example"}}, .tls = true}).handled);
}

TEST_CASE("Browsers are told which pages may read answers", "[kvstore][http_access]") {
  const auto origin_told = [](const HttpAccess& access, const std::string& origin) {
    const Asked asked =
        Ask(access, {.method = "GET", .headers = {{"Host", "a"}, {"Origin", origin}}});
    const http::Response response = asked.writer->Wait();
    return std::string(response.headers.Find("Access-Control-Allow-Origin").value_or("none"));
  };
  CHECK(origin_told({}, "http://x:1") == "*");
  const HttpAccess listed{.hosts = {"*"}, .origins = {"http://x:1"}};
  CHECK(origin_told(listed, "http://x:1") == "http://x:1");
  CHECK(origin_told(listed, "http://y:1") == "none");
  CHECK(origin_told(listed, "") == "none");
}

TEST_CASE("OPTIONS is answered with nothing else", "[kvstore][http_access]") {
  const Asked asked = Ask({}, {.method = "OPTIONS", .headers = {{"Host", "a"}}});
  CHECK_FALSE(asked.handled);
  CHECK(asked.writer->Wait().status == 200);
  const http::Response response = asked.writer->Wait();
  CHECK(response.headers.Find("Access-Control-Allow-Methods") == "POST, GET, OPTIONS, PUT, DELETE");
}

}  // namespace
}  // namespace keelson::kvstore
