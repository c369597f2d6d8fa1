#include "base/http/message.h"

#include <catch2/catch.hpp>

#include <memory>

#include "base/http/client.h"
#include "base/http/internal/body.h"
#include "base/http/internal/parser.h"
#include "base/http/router.h"
#include "base/http/testing/recording_writer.h"
#include "base/testing/status_matchers.h"

namespace keelson::http {
namespace {

using internal::BodyDecoder;
using internal::RequestParser;
using internal::ResponseParser;
using State = RequestParser::State;

TEST_CASE("Header names compare without case and keep their order", "[http][message]") {
  Headers headers = {{"Accept", "a"}, {"X", "1"}, {"ACCEPT", "b"}};

  CHECK(headers.Find("accept") == "a");
  CHECK(headers.FindAll("accept") == std::vector<std::string_view>{"a", "b"});
  CHECK_FALSE(headers.Find("Accep").has_value());
  headers.Set("accept", "c");
  CHECK(headers.FindAll("Accept") == std::vector<std::string_view>{"c"});
}

TEST_CASE("A target splits at its first question mark", "[http][message]") {
  Request request;
  request.target = "/a%20b?x=1&y=?";
  CHECK(request.Path() == "/a%20b");
  CHECK(request.Query() == "x=1&y=?");
  request.target = "/";
  CHECK(request.Path() == "/");
  CHECK(request.Query().empty());
}

TEST_CASE("Percent encoding is undone, and refused when broken", "[http][message]") {
  CHECK(PercentDecode("a%2Fb%20c+d") == "a/b c+d");
  CHECK(PercentDecode("a+b", true) == "a b");
  CHECK(PercentDecode("%00") == std::string(1, '\0'));
  for (const char* bad : {"%", "%2", "%g0", "%0g", "a%", "%%20"}) {
    CAPTURE(bad);
    CHECK_FALSE(PercentDecode(bad).has_value());
  }
  CHECK(PercentEncode("a/b c~\xFF") == "a%2Fb%20c~%FF");
}

TEST_CASE("A form is read pair by pair", "[http][message]") {
  const auto form = ParseForm("wait=true&key=a%26b&&empty=&flag&x=1=2");
  REQUIRE(form.has_value());
  REQUIRE(form->size() == 5);
  CHECK((*form)[1].value == "a&b");
  CHECK((*form)[2].value.empty());
  CHECK((*form)[3].name == "flag");
  CHECK((*form)[4].value == "1=2");
  CHECK(ParseForm("")->empty());
  CHECK_FALSE(ParseForm("a=%zz").has_value());
}

TEST_CASE("URLs are taken apart, and refused when they are none", "[http][url]") {
  struct Row {
    std::string text;
    std::string host, port, target;
    bool tls;
  };
  for (const Row& row : std::vector<Row>{
           {"http://h", "h", "80", "/", false},
           {"https://h/", "h", "443", "/", true},
           {"http://127.0.0.1:2379/v2/keys?wait=true#x", "127.0.0.1", "2379", "/v2/keys?wait=true",
            false},
           {"http://[::1]:80/a", "::1", "80", "/a", false},
           {"http://[::1]", "::1", "80", "/", false},
           {"http://h?q", "h", "80", "/?q", false},
       }) {
    CAPTURE(row.text);
    KEELSON_ASSIGN_OR_FAIL(const Url url, ParseUrl(row.text));
    CHECK(url.host == row.host);
    CHECK(url.port == row.port);
    CHECK(url.target == row.target);
    CHECK(url.tls == row.tls);
  }
  for (const char* bad :
       {"", "h", "ftp://h", "http://", "http://:80", "http://h:", "http://h:x", "http://h:65536",
        "http://u@h", "http://::1/", "http://[::1", "http://h /", "http://h/a b",
        "http://h/\r\nX: y", "http://h/\xC3\xBC", "http:/h", "HTTP://h"}) {
    CAPTURE(bad);
    KEELSON_CHECK_ERROR(ParseUrl(bad), absl::StatusCode::kInvalidArgument, "URL");
  }
}

std::string Route(const Router& router, std::string method, std::string target) {
  auto writer = std::make_shared<RecordingWriter>();
  Request request;
  request.method = std::move(method);
  request.target = std::move(target);
  router(std::move(request), writer);
  const Response response = writer->Wait();
  const auto allow = response.headers.Find("Allow");
  return response.status == 200 ? response.body
                                : std::to_string(response.status) + std::string(allow.value_or(""));
}

TEST_CASE("The longest pattern wins, then the method decides", "[http][router]") {
  Router router;
  const auto named = [](std::string name) {
    return [name](const Request&, const std::shared_ptr<ResponseWriter>& writer) {
      writer->Send(TextResponse(200, name));
    };
  };
  router.Handle("GET", "/version", named("version"));
  router.Handle("POST", "/version", named("posted"));
  router.Handle("*", "/v2/keys/*", named("keys"));
  router.Handle("GET", "/v2/keys/special", named("special"));
  router.Handle("GET", "/v2/*", named("v2"));

  CHECK(Route(router, "GET", "/version?x") == "version");
  CHECK(Route(router, "HEAD", "/version") == "version");
  CHECK(Route(router, "POST", "/version") == "posted");
  CHECK(Route(router, "PUT", "/version") == "405GET, POST");
  CHECK(Route(router, "PUT", "/v2/keys") == "keys");
  CHECK(Route(router, "PUT", "/v2/keys/") == "keys");
  CHECK(Route(router, "PUT", "/v2/keys/a/b") == "keys");
  CHECK(Route(router, "GET", "/v2/keys/special") == "special");
  CHECK(Route(router, "GET", "/v2/keysx") == "v2");
  CHECK(Route(router, "GET", "/v3") == "404");
  CHECK(Route(router, "GET", "/versions") == "404");
  CHECK(Route(router, "OPTIONS", "*") == "404");
}

std::string Get(const std::string& rest) { return "GET / HTTP/1.1\r\nHost: h\r\n" + rest + "\r\n"; }

TEST_CASE("A request is the same however it is cut", "[http][parser]") {
  const std::string bytes =
      "\r\nPOST http://h/a?b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nHost: evil\r\n\r\n";
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    CAPTURE(cut);
    RequestParser parser(1024, 1024);
    parser.Feed(std::string_view(bytes).substr(0, cut));
    parser.Feed(std::string_view(bytes).substr(cut));

    REQUIRE(parser.state() == State::kDone);
    const RequestParser::Parsed parsed = parser.TakeRequest();
    CHECK(parsed.request.method == "POST");
    CHECK(parsed.request.target == "/a?b");
    CHECK(parsed.request.body == "abcde");
    CHECK(parsed.request.headers.FindAll("Host").size() == 1);  // The trailer is not a header.
    CHECK(parsed.keep_alive);
    CHECK(parser.state() == State::kIdle);
  }
}

TEST_CASE("A chunked body is read byte by byte as well as whole", "[http][body]") {
  struct Row {
    std::string name;
    std::string bytes;
    std::string body;
  };
  for (const Row& row : std::vector<Row>{
           {"empty", "0\r\n\r\n", ""},
           {"one chunk", "3\r\nabc\r\n0\r\n\r\n", "abc"},
           {"line ends inside", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"},
           {"leading zeros and both cases", "00aA\r\n" + std::string(170, 'x') + "\r\n000\r\n\r\n",
            std::string(170, 'x')},
           {"extensions", "1;a=\"b;c\"\r\nx\r\n1 ; d\r\ny\r\n0;e\r\n\r\n", "xy"},
           {"trailers", "1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", "x"},
       }) {
    CAPTURE(row.name);
    for (const size_t piece : {size_t{1}, size_t{2}, size_t{3}, row.bytes.size() + 4}) {
      CAPTURE(piece);
      BodyDecoder decoder = BodyDecoder::Chunked();
      std::string body;
      std::string bytes = row.bytes + "next";
      while (!decoder.done()) {
        REQUIRE_FALSE(bytes.empty());
        std::string_view in = std::string_view(bytes).substr(0, piece);
        const size_t before = in.size();
        REQUIRE(decoder.Decode(in, body));
        bytes.erase(0, before - in.size());
      }
      CHECK(body == row.body);
      CHECK(bytes == "next");
    }
  }
}

TEST_CASE("A chunked body that is malformed is refused", "[http][body]") {
  for (const std::string& bytes : std::vector<std::string>{"\r\n",
                                                           "g\r\n",
                                                           "-1\r\n",
                                                           "0x1\r\n",
                                                           " 1\r\n",
                                                           "1\n",
                                                           "1\rx",
                                                           "1\r\nxy",
                                                           "1\r\nx\ny",
                                                           "1\r\nx\r\r",
                                                           "1;\n",
                                                           "1;\x01\r\n",
                                                           "10000000000000000\r\n",
                                                           "ffffffffffffffff0\r\n",
                                                           "0\r\n\n",
                                                           "0\r\n\rx",
                                                           "0\r\nA: b\n",
                                                           "0\r\nA: b\rx",
                                                           "0\r\n\x01",
                                                           "1;" + std::string(17'000, 'x'),
                                                           "0\r\nA: " + std::string(17'000, 'x')}) {
    CAPTURE(bytes);
    BodyDecoder decoder = BodyDecoder::Chunked();
    std::string body;
    std::string_view in = bytes;
    CHECK_FALSE(decoder.Decode(in, body));
  }
}

TEST_CASE("Pipelined requests come out one by one", "[http][parser]") {
  RequestParser parser(1024, 1024);
  parser.Feed(Get("") + "PUT /x HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi" + Get("") + "GET");

  CHECK(parser.TakeRequest().request.method == "GET");
  REQUIRE(parser.state() == State::kDone);
  const RequestParser::Parsed second = parser.TakeRequest();
  CHECK(second.request.body == "hi");
  CHECK(second.http10);
  CHECK_FALSE(second.keep_alive);
  REQUIRE(parser.state() == State::kDone);
  CHECK(parser.TakeRequest().request.method == "GET");
  CHECK(parser.state() == State::kHeader);
}

TEST_CASE("What is not HTTP is refused with the status that fits", "[http][parser]") {
  struct Row {
    std::string name;
    std::string bytes;
    int status;
  };
  const std::string post = "POST / HTTP/1.1\r\nHost: h\r\n";
  for (const Row& row : std::vector<Row>{
           {"a sentence", "hello there\r\n\r\n", 400},
           {"no version", "GET /\r\n\r\n", 400},
           {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
           {"a TLS hello", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 15),
            400},
           {"bare line feeds", "GET / HTTP/1.1\nHost: h\n\n\r\n\r\n", 400},
           {"a control byte in the target", "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
           {"a space in the target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
           {"a relative target", "GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
           {"a foreign scheme", "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
           {"no Host", "GET / HTTP/1.1\r\n\r\n", 400},
           {"two Hosts", Get("Host: h\r\n"), 400},
           {"a field without a colon", Get("Name\r\n"), 400},
           {"a space before the colon", Get("Name : x\r\n"), 400},
           {"a field without a name", Get(": x\r\n"), 400},
           {"a NUL in a value", Get(std::string("X: a\0b\r\n", 8)), 400},
           {"a length that is no number", post + "Content-Length: x\r\n\r\n", 400},
           {"a negative length", post + "Content-Length: -1\r\n\r\n", 400},
           {"a length beyond 64 bits", post + "Content-Length: 18446744073709551616\r\n\r\n", 400},
           {"two lengths", post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
           {"the same length twice", post + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400},
           {"length and chunked", post + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400},
           {"chunked and length", post + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            400},
           {"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
           {"an unknown coding", post + "Transfer-Encoding: gzip\r\n\r\n", 501},
           {"chunked not last", post + "Transfer-Encoding: chunked, gzip\r\n\r\n", 501},
           {"chunked twice",
            post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
           {"a chunk size that is no number", post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            400},
           {"a chunk without its end", post + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n\r\n",
            400},
           {"an unknown expectation", post + "Expect: miracles\r\nContent-Length: 1\r\n\r\n", 417},
           {"a header beyond the limit", Get("X: " + std::string(2000, 'x') + "\r\n"), 431},
           {"a line without an end", std::string(2000, 'G'), 431},
           {"a body beyond the limit", post + "Content-Length: 1025\r\n\r\n", 413},
           {"chunks beyond the limit",
            post + "Transfer-Encoding: chunked\r\n\r\n300\r\n" + std::string(768, 'x') +
                "\r\n300\r\n" + std::string(768, 'x') + "\r\n",
            413},
       }) {
    CAPTURE(row.name);
    for (const bool bytewise : {false, true}) {
      RequestParser parser(1024, 1024);
      if (bytewise) {
        for (const char c : row.bytes) parser.Feed(std::string_view(&c, 1));
      } else {
        parser.Feed(row.bytes);
      }
      REQUIRE(parser.state() == State::kFailed);
      CHECK(parser.error().status == row.status);
      parser.Feed(Get(""));  // Nothing behind a broken request is looked at.
      CHECK(parser.state() == State::kFailed);
      CHECK(parser.buffered_bytes() == 0);
    }
  }
}

TEST_CASE("A client that waits for 100 Continue is known until its body is there",
          "[http][parser]") {
  RequestParser parser(1024, 1024);
  parser.Feed("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  CHECK(parser.state() == State::kBody);
  CHECK(parser.wants_continue());
  parser.Feed("ab");
  CHECK(parser.state() == State::kDone);
  CHECK_FALSE(parser.wants_continue());
}

TEST_CASE("Header fields that are sent cannot carry a second line", "[http][parser]") {
  CHECK(internal::StatusLineAndFields(200, {{"A", "x\r\nSet-Cookie: y"}, {"B\r\nC", "z"}}) ==
        "HTTP/1.1 200 OK\r\nA: x  Set-Cookie: y\r\n");
}

TEST_CASE("A response is read to the end its framing tells", "[http][parser]") {
  struct Row {
    std::string name;
    std::string bytes;
    bool needs_end;
    bool keep_alive;
    std::string body;
  };
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  for (const Row& row : std::vector<Row>{
           {"by length", ok + "Content-Length: 2\r\n\r\nhi", false, true, "hi"},
           {"chunked", ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", false, true,
            "hi"},
           {"chunked and empty", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false, true,
            ""},
           {"by the end of the connection", ok + "\r\nhi", true, false, "hi"},
           {"after 100", "HTTP/1.1 100 Continue\r\n\r\n" + ok + "Content-Length: 2\r\n\r\nhi",
            false, true, "hi"},
           {"closed", ok + "Connection: close\r\nContent-Length: 0\r\n\r\n", false, false, ""},
           {"204", "HTTP/1.1 204 No Content\r\n\r\n", false, true, ""},
       }) {
    for (size_t cut = 0; cut <= row.bytes.size(); ++cut) {
      CAPTURE(row.name, cut);
      ResponseParser parser(false);
      KEELSON_REQUIRE_OK(parser.Feed(std::string_view(row.bytes).substr(0, cut)));
      std::string body = parser.TakeBody();
      KEELSON_REQUIRE_OK(parser.Feed(std::string_view(row.bytes).substr(cut)));
      body += parser.TakeBody();
      CHECK(parser.done() != row.needs_end);
      KEELSON_REQUIRE_OK(parser.FeedEnd());
      CHECK(parser.done());
      CHECK(parser.keep_alive() == row.keep_alive);
      CHECK(body == row.body);
      REQUIRE(parser.head().has_value());
    }
  }
}

TEST_CASE("A response cut short or malformed is data loss", "[http][parser]") {
  for (const char* bytes :
       {"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n", "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"}) {
    CAPTURE(bytes);
    ResponseParser parser(false);
    absl::Status status = parser.Feed(bytes);
    if (status.ok()) status = parser.FeedEnd();
    KEELSON_CHECK_ERROR(status, absl::StatusCode::kDataLoss, "");
  }
}

TEST_CASE("An answer to HEAD has no body whatever it says", "[http][parser]") {
  ResponseParser parser(true);
  KEELSON_REQUIRE_OK(parser.Feed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"));
  CHECK(parser.done());
  CHECK(parser.keep_alive());
}

}  // namespace
}  // namespace keelson::http
