#include "base/http/server.h"

#include <catch2/catch.hpp>

#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <cstdlib>
#include <deque>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/http/client.h"
#include "base/http/message.h"
#include "base/http/testing/raw_client.h"
#include "base/testing/status_matchers.h"
#include "base/unique_fd.h"

namespace keelson::http {
namespace {

using testing::RawClient;
using WriterPtr = std::shared_ptr<ResponseWriter>;

std::unique_ptr<Server> MustStart(Handler handler, ServerLimits limits = {}, int io_threads = 1) {
  auto server = Server::Start(
      {.listen = {"127.0.0.1:0"}, .limits = limits, .io_threads = io_threads}, std::move(handler));
  KEELSON_REQUIRE_OK(server);
  return *std::move(server);
}

std::unique_ptr<Client> MustCreateClient(ClientOptions options = {}) {
  auto client = Client::Create(options);
  KEELSON_REQUIRE_OK(client);
  return *std::move(client);
}

std::string UrlOf(const Server& server, const std::string& target = "/") {
  return "http://" + server.addresses()[0] + target;
}

// Answers method, target and body.
void Echo(Request request, WriterPtr writer) {
  writer->Send(TextResponse(200, request.method + " " + request.target + " " + request.body));
}

// Keeps writers until the test answers.
class Waiting {
 public:
  Handler AsHandler() {
    return [this](Request request, WriterPtr writer) {
      absl::MutexLock lock(&mu_);
      writers_.push_back(std::move(writer));
      requests_.push_back(std::move(request));
    };
  }
  WriterPtr Take() {
    absl::MutexLock lock(&mu_);
    const auto some = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !writers_.empty(); };
    REQUIRE(mu_.AwaitWithTimeout(absl::Condition(&some), absl::Seconds(30)));
    WriterPtr writer = std::move(writers_.front());
    writers_.pop_front();
    return writer;
  }

 private:
  absl::Mutex mu_;
  std::deque<WriterPtr> writers_ ABSL_GUARDED_BY(mu_);
  std::deque<Request> requests_ ABSL_GUARDED_BY(mu_);
};

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
constexpr char kGetClose[] = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

TEST_CASE("A request reaches the handler whole and its answer comes back", "[http][server]") {
  const int io_threads = GENERATE(1, 3);
  const auto server = MustStart(Echo, {}, io_threads);
  const auto client = MustCreateClient();
  const std::string body = GENERATE(std::string(), std::string("x"), std::string(1'500'000, 'y'));

  KEELSON_ASSIGN_OR_FAIL(
      const Response response,
      client->FetchBlocking({.method = "PUT", .url = UrlOf(*server, "/a?b"), .body = body}));

  CHECK(response.status == 200);
  CHECK(response.body == "PUT /a?b " + body);
  CHECK(response.headers.Find("content-type") == "text/plain; charset=utf-8");
  CHECK(response.headers.Find("date").has_value());
}

TEST_CASE("Connections are kept alive and used again", "[http][server]") {
  const auto server = MustStart(Echo);
  const auto client = MustCreateClient();

  for (int i = 0; i < 5; ++i) KEELSON_REQUIRE_OK(client->FetchBlocking({.url = UrlOf(*server)}));

  CHECK(server->Stats().connections_total == 1);
  CHECK(server->Stats().requests_total == 5);
}

TEST_CASE("A client that keeps nothing idle closes each connection", "[http][client]") {
  const auto server = MustStart(Echo);
  const auto client = MustCreateClient({.idle_connections_max = 0});

  for (int i = 0; i < 3; ++i) KEELSON_REQUIRE_OK(client->FetchBlocking({.url = UrlOf(*server)}));

  CHECK(server->Stats().connections_total == 3);
}

TEST_CASE("The bytes of an answer are those of the standard", "[http][server]") {
  const auto server = MustStart([](const Request&, const WriterPtr& writer) {
    writer->Send({.status = 201, .headers = {{"X-A", "b"}, {"Date", "D"}}, .body = "hi"});
  });
  RawClient client(server->port());

  client.Send(kGetClose);

  CHECK(client.ReadAll() ==
        "HTTP/1.1 201 Created\r\nX-A: b\r\nDate: D\r\nContent-Length: 2\r\n"
        "Connection: close\r\n\r\nhi");
}

TEST_CASE("HEAD is answered without a body but with its length", "[http][server]") {
  const auto server = MustStart(Echo);
  const auto client = MustCreateClient();

  KEELSON_ASSIGN_OR_FAIL(const Response response,
                         client->FetchBlocking({.method = "HEAD", .url = UrlOf(*server)}));
  KEELSON_ASSIGN_OR_FAIL(const Response next, client->FetchBlocking({.url = UrlOf(*server)}));

  CHECK(response.headers.Find("Content-Length") == "7");
  CHECK(response.body.empty());
  CHECK(next.body == "GET / ");
  CHECK(server->Stats().connections_total == 1);
}

TEST_CASE("Status 204 has neither body nor length", "[http][server]") {
  const auto server = MustStart([](const Request&, const WriterPtr& writer) {
    writer->Send({.status = 204, .body = "must not be sent"});
  });
  RawClient client(server->port());

  client.Send(kGetClose);

  const std::string answer = client.ReadAll();
  CHECK(answer.find("Content-Length") == std::string::npos);
  CHECK(answer.ends_with("\r\n\r\n"));
}

TEST_CASE("Pipelined requests are answered in order", "[http][server]") {
  Waiting waiting;
  const auto server = MustStart(waiting.AsHandler());
  RawClient client(server->port());

  client.Send(std::string(kGet) + kGet + kGetClose);
  const WriterPtr first = waiting.Take();
  CHECK(server->Stats().requests_total == 1);  // The second waits for the first.
  first->Send(TextResponse(200, "one"));
  waiting.Take()->Send(TextResponse(200, "two"));
  waiting.Take()->Send(TextResponse(200, "three"));

  const std::string answers = client.ReadAll();
  const size_t one = answers.find("one");
  const size_t two = answers.find("two");
  const size_t three = answers.find("three");
  REQUIRE(three != std::string::npos);
  CHECK(one < two);
  CHECK(two < three);
}

TEST_CASE("Requests sent before the client closed its direction are all answered",
          "[http][server]") {
  const auto server = MustStart(Echo);
  RawClient client(server->port());

  client.Send(std::string(kGet) + kGet);
  client.ShutdownSend();

  const std::string answers = client.ReadAll();
  CHECK(answers.find("GET / ") != answers.rfind("GET / "));
}

TEST_CASE("An answer streams in pieces as they are written", "[http][stream]") {
  Waiting waiting;
  const auto server = MustStart(waiting.AsHandler());
  RawClient client(server->port());
  client.Send(kGet);
  const WriterPtr writer = waiting.Take();

  writer->Start(200, {{"X-Index", "7"}});
  const std::string head = client.ReadUntil("\r\n\r\n");  // Before any piece is written.
  CHECK(head.find("X-Index: 7\r\n") != std::string::npos);
  CHECK(head.find("Transfer-Encoding: chunked\r\n") != std::string::npos);
  CHECK(writer->Write("hello"));
  CHECK(client.ReadUntil("hello\r\n") == "5\r\nhello\r\n");
  CHECK(writer->Write(""));  // Would end the body if it were sent.
  CHECK(writer->Write(std::string(300, 'x')));
  client.ReadUntil("12c\r\n" + std::string(300, 'x') + "\r\n");
  writer->Finish();
  client.ReadUntil("0\r\n\r\n");

  client.Send(kGet);  // The connection goes on.
  waiting.Take()->Send(TextResponse(200, "next"));
  client.ReadUntil("next");
}

TEST_CASE("A stream to HTTP/1.0 ends with the connection", "[http][stream]") {
  Waiting waiting;
  const auto server = MustStart(waiting.AsHandler());
  RawClient client(server->port());
  client.Send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const WriterPtr writer = waiting.Take();

  writer->Start(200, {});
  writer->Write("raw");
  writer->Finish();

  const std::string answer = client.ReadAll();
  CHECK(answer.find("chunked") == std::string::npos);
  CHECK(answer.ends_with("\r\n\r\nraw"));
}

TEST_CASE("A stream of stated length is sent as it is, and cut when the length is wrong",
          "[http][stream]") {
  Waiting waiting;
  const auto server = MustStart(waiting.AsHandler());
  const auto client = MustCreateClient();
  absl::StatusOr<Response> response;
  absl::Notification done;
  client->Fetch({.url = UrlOf(*server)}, [&](absl::StatusOr<Response> result) {
    response = std::move(result);
    done.Notify();
  });
  const WriterPtr writer = waiting.Take();
  writer->Start(200, {{"Content-Length", "4"}});
  writer->Write("ab");

  SECTION("right") {
    writer->Write("cd");
    writer->Finish();
    done.WaitForNotification();
    KEELSON_REQUIRE_OK(response);
    CHECK(response->body == "abcd");
  }
  SECTION("too short") {
    writer->Finish();
    done.WaitForNotification();
    CHECK_FALSE(response.ok());
  }
  SECTION("too long") {
    writer->Write("cdefg");
    done.WaitForNotification();
    CHECK_FALSE(response.ok());
  }
}

TEST_CASE("A client that goes away is noticed while its request waits", "[http][disconnect]") {
  Waiting waiting;
  const auto server = MustStart(waiting.AsHandler());
  RawClient client(server->port());
  client.Send(kGet);
  WriterPtr writer = waiting.Take();
  CHECK(writer->IsConnected());
  absl::Notification gone;
  writer->OnDisconnect([&gone] { gone.Notify(); });

  client.Close();

  REQUIRE(gone.WaitForNotificationWithTimeout(absl::Seconds(30)));
  CHECK_FALSE(writer->IsConnected());
  absl::Notification told_late;
  writer->OnDisconnect([&told_late] { told_late.Notify(); });
  CHECK(told_late.WaitForNotificationWithTimeout(absl::Seconds(30)));
  writer->Start(200, {});  // Harmless.
  CHECK_FALSE(writer->Write("x"));
}

TEST_CASE("A client that half-closes can still get its answer", "[http][disconnect]") {
  Waiting waiting;
  const auto server = MustStart(waiting.AsHandler());
  RawClient client(server->port());
  client.Send(kGet);
  const WriterPtr writer = waiting.Take();
  absl::Notification gone;
  writer->OnDisconnect([&gone] { gone.Notify(); });

  client.ShutdownSend();
  REQUIRE(gone.WaitForNotificationWithTimeout(absl::Seconds(30)));
  writer->Send(TextResponse(200, "still here"));

  CHECK(client.ReadAll().ends_with("still here"));
}

TEST_CASE("The disconnect callback is dropped when the answer is finished", "[http][disconnect]") {
  Waiting waiting;
  const auto server = MustStart(waiting.AsHandler());
  RawClient client(server->port());
  client.Send(kGet);
  auto called = std::make_shared<std::atomic<bool>>(false);
  {
    const WriterPtr writer = waiting.Take();
    writer->OnDisconnect([called] { *called = true; });
    writer->Send(TextResponse(200, "bye"));
    client.ReadUntil("bye");
  }
  client.Send(kGet);  // The exchange before is over now.
  const WriterPtr next = waiting.Take();

  CHECK(called.use_count() == 1);
  CHECK_FALSE(*called);
}

TEST_CASE("A forgotten writer answers 500, a forgotten stream is cut", "[http][server]") {
  Waiting waiting;
  const auto server = MustStart(waiting.AsHandler());
  RawClient client(server->port());
  client.Send(kGet);

  SECTION("never started") {
    waiting.Take().reset();
    client.ReadUntil("HTTP/1.1 500 Internal Server Error\r\n");
  }
  SECTION("started") {
    WriterPtr writer = waiting.Take();
    writer->Start(200, {});
    writer->Write("part");
    writer.reset();
    CHECK(client.ReadAll().find("0\r\n\r\n") == std::string::npos);
  }
}

TEST_CASE("A slow reader is seen in the bytes buffered, then drained", "[http][backpressure]") {
  Waiting waiting;
  const auto server = MustStart(waiting.AsHandler());
  RawClient client(server->port());
  client.Send(kGetClose);
  const WriterPtr writer = waiting.Take();
  const std::string piece(16 * 1024 * 1024, 'x');  // More than the sockets' buffers hold.
  absl::Notification drained;

  writer->Start(200, {});
  writer->Write(piece);
  writer->OnDrained([&drained] { drained.Notify(); });
  CHECK(writer->BufferedBytes() > 0);
  CHECK_FALSE(drained.HasBeenNotified());
  writer->Finish();

  const std::string answer = client.ReadAll();
  CHECK(answer.size() > piece.size());
  REQUIRE(drained.WaitForNotificationWithTimeout(absl::Seconds(30)));
  CHECK(writer->BufferedBytes() == 0);
}

TEST_CASE("A reader too slow for the buffer is cut", "[http][backpressure]") {
  Waiting waiting;
  const auto server = MustStart(waiting.AsHandler(), {.buffered_bytes_max = 20 * 1024 * 1024});
  RawClient client(server->port());
  client.Send(kGet);
  const WriterPtr writer = waiting.Take();
  absl::Notification gone;
  writer->OnDisconnect([&gone] { gone.Notify(); });

  writer->Start(200, {});
  for (int i = 0; i < 64 && writer->IsConnected(); ++i)
    writer->Write(std::string(1024 * 1024, 'x'));

  REQUIRE(gone.WaitForNotificationWithTimeout(absl::Seconds(30)));
}

TEST_CASE("A reader that takes nothing is cut after the write limit", "[http][limits]") {
  Waiting waiting;
  const auto server = MustStart(waiting.AsHandler(), {.write_timeout = absl::Milliseconds(50)});
  RawClient client(server->port());
  client.Send(kGet);
  const WriterPtr writer = waiting.Take();
  absl::Notification gone;
  writer->OnDisconnect([&gone] { gone.Notify(); });

  writer->Start(200, {});
  writer->Write(std::string(32 * 1024 * 1024, 'x'));

  REQUIRE(gone.WaitForNotificationWithTimeout(absl::Seconds(30)));
  CHECK(server->Stats().timeouts_total == 1);
}

TEST_CASE("What breaks HTTP gets its status and the connection ends", "[http][limits]") {
  const auto server = MustStart(Echo, {.header_bytes_max = 1024, .body_bytes_max = 100});
  const std::string post = "POST / HTTP/1.1\r\nHost: h\r\n";
  struct Row {
    std::string bytes;
    std::string status;
  };
  for (const Row& row : std::vector<Row>{
           {"nonsense\r\n\r\n", "400"},
           {"GET / HTTP/1.1\r\n\r\n", "400"},
           {post + "X: " + std::string(2000, 'x') + "\r\n\r\n", "431"},
           {post + "Content-Length: 101\r\n\r\n" + std::string(101, 'x'), "413"},
           {post + "Expect: 100-continue\r\nContent-Length: 101\r\n\r\n", "413"},
           {post + "Transfer-Encoding: gzip\r\n\r\n", "501"},
           {std::string(kGet) + "nonsense\r\n\r\n", "400"},
       }) {
    CAPTURE(row.bytes);
    RawClient client(server->port());
    client.Send(row.bytes);
    const std::string answer = client.ReadAll();
    CHECK(answer.find("HTTP/1.1 " + row.status) != std::string::npos);
    CHECK(answer.find("Connection: close\r\n") != std::string::npos);
  }
  CHECK(server->Stats().malformed_total == 7);
  CHECK(server->Stats().requests_total == 1);
}

TEST_CASE("A long upload that is refused still sees why", "[http][limits]") {
  const auto server = MustStart(Echo, {.body_bytes_max = 100});
  const auto client = MustCreateClient();

  KEELSON_ASSIGN_OR_FAIL(
      const Response response,
      client->FetchBlocking(
          {.method = "PUT", .url = UrlOf(*server), .body = std::string(500'000, 'x')}));

  CHECK(response.status == 413);
}

TEST_CASE("100 Continue is said once the header is accepted", "[http][server]") {
  const auto server = MustStart(Echo);
  RawClient client(server->port());

  client.Send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  CHECK(client.ReadUntil("\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send("hi");
  client.ReadUntil("PUT / hi");
}

// Each waits for the real end of a short limit; nothing sleeps.
TEST_CASE("Slow clients are cut off at each stage", "[http][limits]") {
  const absl::Duration limit = absl::Milliseconds(50);
  struct Row {
    std::string name;
    ServerLimits limits;
    std::string bytes;
    std::string answer;
    uint64_t timeouts;
  };
  for (const Row& row : std::vector<Row>{
           {"header", {.header_timeout = limit}, "GET / HT", "HTTP/1.1 408", 1},
           {"body",
            {.body_timeout = limit},
            "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab",
            "HTTP/1.1 408",
            1},
           {"idle", {.idle_timeout = limit}, "", "", 0},
           {"idle again", {.idle_timeout = limit}, kGet, "HTTP/1.1 200", 0},
       }) {
    CAPTURE(row.name);
    const auto server = MustStart(Echo, row.limits);
    RawClient client(server->port());
    client.Send(row.bytes);
    const std::string answer = client.ReadAll();
    CHECK(answer.starts_with(row.answer));
    CHECK(answer.empty() == row.answer.empty());
    CHECK(server->Stats().timeouts_total == row.timeouts);
  }
}

TEST_CASE("Trickled bytes do not extend the header's limit", "[http][limits]") {
  const auto server = MustStart(Echo, {.header_timeout = absl::Milliseconds(200)});
  RawClient client(server->port());

  // Sends one byte at a time for as long as the server takes them: for ever, if bytes extended the limit.
  client.Send("GET / HTTP/1.1\r\nX: ");
  size_t sent = 0;
  while (client.Send("x") && server->Stats().timeouts_total == 0) {
    REQUIRE(++sent < 16'000);
    pollfd none{};
    (void)::poll(&none, 0, 1);  // Paces the bytes; no state is waited for.
  }

  CHECK(client.ReadAll().starts_with("HTTP/1.1 408"));
  CHECK(server->Stats().timeouts_total == 1);
}

TEST_CASE("Connections beyond the limit are told 503, and there is room again later",
          "[http][limits]") {
  Waiting waiting;
  const auto server = MustStart(waiting.AsHandler(), {.connections_max = 2});
  RawClient first(server->port());
  first.Send(kGetClose);
  const WriterPtr first_writer = waiting.Take();
  RawClient second(server->port());
  second.Send(kGet);
  const WriterPtr second_writer = waiting.Take();

  RawClient third(server->port());
  CHECK(third.ReadAll().starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
  CHECK(server->Stats().connections_refused_total == 1);

  first_writer->Send(TextResponse(200, "done"));
  CHECK(first.ReadAll().ends_with("done"));
  first.Close();
  while (server->Stats().connections_open > 1) std::this_thread::yield();
  RawClient fourth(server->port());
  fourth.Send(kGet);
  waiting.Take()->Send(TextResponse(200, "room"));
  fourth.ReadUntil("room");
}

TEST_CASE("Draining lets running requests finish and refuses new ones", "[http][drain]") {
  Waiting waiting;
  const auto server = MustStart(waiting.AsHandler());
  RawClient idle(server->port());
  idle.Send(kGet);
  waiting.Take()->Send(TextResponse(200, "served"));
  idle.ReadUntil("served");
  RawClient busy(server->port());
  busy.Send(kGet);
  const WriterPtr writer = waiting.Take();

  bool finished = false;
  std::jthread drain([&] { finished = server->Drain(absl::Seconds(30)); });
  CHECK(idle.ReadAll().empty());  // Closed at once.
  writer->Send(TextResponse(200, "last"));
  const std::string answer = busy.ReadAll();
  busy.Close();
  drain.join();

  CHECK(answer.find("Connection: close\r\n") != std::string::npos);
  CHECK(answer.ends_with("last"));
  CHECK(finished);
}

TEST_CASE("Draining cuts what does not finish in time", "[http][drain]") {
  Waiting waiting;
  const auto server = MustStart(waiting.AsHandler());
  RawClient client(server->port());
  client.Send(kGet);
  const WriterPtr writer = waiting.Take();

  CHECK_FALSE(server->Drain(absl::Milliseconds(10)));

  CHECK(client.ReadAll().empty());
  CHECK_FALSE(writer->IsConnected());
  writer->Send(TextResponse(200, "nobody hears"));
}

TEST_CASE("A writer may outlive its server", "[http][drain]") {
  Waiting waiting;
  auto server = MustStart(waiting.AsHandler());
  RawClient client(server->port());
  client.Send(kGet);
  const WriterPtr writer = waiting.Take();

  server.reset();

  writer->Start(200, {});
  CHECK_FALSE(writer->Write("x"));
  writer->OnDrained([] {});
  writer->Finish();
}

TEST_CASE("Two servers in one process do not know each other", "[http][server]") {
  const auto answer = [](const char* text) {
    return
        [text](const Request&, const WriterPtr& writer) { writer->Send(TextResponse(200, text)); };
  };
  const auto a = MustStart(answer("a"));
  const auto b = MustStart(answer("b"));
  const auto client = MustCreateClient();

  KEELSON_ASSIGN_OR_FAIL(const Response from_a, client->FetchBlocking({.url = UrlOf(*a)}));
  KEELSON_ASSIGN_OR_FAIL(const Response from_b, client->FetchBlocking({.url = UrlOf(*b)}));

  CHECK(from_a.body == "a");
  CHECK(from_b.body == "b");
}

TEST_CASE("A server without an address serves adopted sockets", "[http][adopt]") {
  KEELSON_ASSIGN_OR_FAIL(const auto server, Server::Start({}, Echo));
  CHECK(server->port() == 0);
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  RawClient client{UniqueFd(pair[0])};
  client.Send("\r\nHost: h\r\nConnection: close\r\n\r\n");

  server->AdoptConnection(UniqueFd(pair[1]), {.already_read = "GET /adopted HTTP/1.1"});

  CHECK(client.ReadAll().ends_with("GET /adopted "));
}

TEST_CASE("A TLS connection for a server without TLS is closed", "[http][adopt]") {
  KEELSON_ASSIGN_OR_FAIL(const auto server, Server::Start({}, Echo));
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  RawClient client{UniqueFd(pair[0])};

  server->AdoptConnection(UniqueFd(pair[1]), {.tls = true});

  CHECK(client.ReadAll().empty());
}

TEST_CASE("Addresses and limits that cannot be used are refused", "[http][server]") {
  const auto server = MustStart(Echo);
  KEELSON_CHECK_ERROR(Server::Start({.listen = {server->addresses()[0]}}, Echo),
                      absl::StatusCode::kAlreadyExists, server->addresses()[0]);
  KEELSON_CHECK_ERROR(Server::Start({.listen = {"nowhere"}}, Echo),
                      absl::StatusCode::kInvalidArgument, "'nowhere'");
  KEELSON_CHECK_ERROR(Server::Start({.limits = {.idle_timeout = absl::ZeroDuration()}}, Echo),
                      absl::StatusCode::kInvalidArgument, "time limit");
  KEELSON_CHECK_ERROR(Server::Start({.limits = {.connections_max = 0}}, Echo),
                      absl::StatusCode::kInvalidArgument, "limit");
}

TEST_CASE("Answers may come from any thread, in any number at once", "[http][threads]") {
  const auto server = MustStart(
      [](Request request, WriterPtr writer) {
        std::thread([request = std::move(request), writer = std::move(writer)] {
          writer->Start(200, {});
          for (int i = 0; i < 10; ++i) writer->Write(std::to_string(i));
          writer->Finish();
        }).detach();
      },
      {}, 2);
  const auto client = MustCreateClient();
  constexpr int kFetches = 200;
  absl::Mutex mu;
  int right = 0;
  int done = 0;

  for (int i = 0; i < kFetches; ++i) {
    client->Fetch({.url = UrlOf(*server)}, [&](absl::StatusOr<Response> response) {
      absl::MutexLock lock(&mu);
      ++done;
      if (response.ok() && response->body == "0123456789") ++right;
    });
  }

  absl::MutexLock lock(&mu);
  const auto all = [&] { return done == kFetches; };
  REQUIRE(mu.AwaitWithTimeout(absl::Condition(&all), absl::Seconds(60)));
  CHECK(right == kFetches);
}

TEST_CASE("The client tells errors apart", "[http][client]") {
  Waiting waiting;
  const auto server = MustStart(waiting.AsHandler());
  const auto client = MustCreateClient();

  KEELSON_CHECK_ERROR(client->FetchBlocking({.url = "http://h h/"}),
                      absl::StatusCode::kInvalidArgument, "h h");
  KEELSON_CHECK_ERROR(client->FetchBlocking({.method = "G T", .url = UrlOf(*server)}),
                      absl::StatusCode::kInvalidArgument, "G T");
  KEELSON_CHECK_ERROR(
      client->FetchBlocking({.url = UrlOf(*server), .headers = {{"X", "a\r\nY: b"}}}),
      absl::StatusCode::kInvalidArgument, "'X'");
  KEELSON_CHECK_ERROR(
      client->FetchBlocking({.url = UrlOf(*server), .timeout = absl::Milliseconds(20)}),
      absl::StatusCode::kDeadlineExceeded, "took too long");
  // A port that was ours and is free again: nobody listens.
  std::string closed;
  {
    const auto short_lived = MustStart(Echo);
    closed = UrlOf(*short_lived);
  }
  KEELSON_CHECK_ERROR(client->FetchBlocking({.url = closed}), absl::StatusCode::kUnavailable,
                      "connect");
}

TEST_CASE("A fetch can be cancelled at any time", "[http][client]") {
  Waiting waiting;
  const auto server = MustStart(waiting.AsHandler());
  auto client = MustCreateClient();
  absl::StatusOr<Response> response;
  absl::Notification done;
  const Client::CancelFunction cancel =
      client->Fetch({.url = UrlOf(*server)}, [&](absl::StatusOr<Response> result) {
        response = std::move(result);
        done.Notify();
      });
  const WriterPtr writer = waiting.Take();
  absl::Notification gone;
  writer->OnDisconnect([&gone] { gone.Notify(); });

  SECTION("by its caller") { cancel(); }
  SECTION("by the end of the client") { client.reset(); }

  REQUIRE(done.WaitForNotificationWithTimeout(absl::Seconds(30)));
  KEELSON_CHECK_ERROR(response, absl::StatusCode::kCancelled, "cancelled");
  CHECK(gone.WaitForNotificationWithTimeout(absl::Seconds(30)));
  cancel();
}

TEST_CASE("A body can be read piece by piece, and refused", "[http][client]") {
  const auto server = MustStart([](const Request&, const WriterPtr& writer) {
    writer->Send(TextResponse(200, std::string(300'000, 'x')));
  });
  const auto client = MustCreateClient();
  size_t bytes = 0;
  int heads = 0;

  KEELSON_ASSIGN_OR_FAIL(const Response response,
                         client->FetchBlocking({.url = UrlOf(*server),
                                                .body_bytes_max = 10,
                                                .on_head =
                                                    [&](const Response& head) {
                                                      CHECK(head.status == 200);
                                                      ++heads;
                                                    },
                                                .on_body =
                                                    [&](std::string_view piece) {
                                                      bytes += piece.size();
                                                      return true;
                                                    }}));
  CHECK(bytes == 300'000);
  CHECK(heads == 1);
  CHECK(response.body.empty());

  KEELSON_CHECK_ERROR(client->FetchBlocking({.url = UrlOf(*server),
                                             .on_body = [](std::string_view) { return false; }}),
                      absl::StatusCode::kCancelled, "");
  KEELSON_CHECK_ERROR(client->FetchBlocking({.url = UrlOf(*server), .body_bytes_max = 299'999}),
                      absl::StatusCode::kResourceExhausted, "299999");
}

TEST_CASE("An idle connection that the server closed is replaced unseen", "[http][client]") {
  const auto client = MustCreateClient();
  const auto server = MustStart(Echo, {.idle_timeout = absl::Milliseconds(20)});

  KEELSON_REQUIRE_OK(client->FetchBlocking({.method = "POST", .url = UrlOf(*server)}));
  while (server->Stats().connections_open > 0) std::this_thread::yield();
  KEELSON_REQUIRE_OK(client->FetchBlocking({.method = "POST", .url = UrlOf(*server)}));

  CHECK(server->Stats().connections_total == 2);
}

TEST_CASE("curl gets what it asks for", "[http][interop]") {
  if (std::system("command -v curl >/dev/null 2>&1") != 0) {
    WARN("SKIPPED: the program curl is not installed");
    return;
  }
  const auto server = MustStart(Echo);
  // Two transfers over one connection; the second with a body that curl announces by Expect.
  const std::string command =
      "head -c 1500000 /dev/zero | tr '\\0' x | curl -sS --fail --noproxy '*' -o /dev/null " +
      UrlOf(*server, "/a") + " --next -sS --fail --noproxy '*' -o /dev/null -T - " +
      UrlOf(*server, "/b");

  CHECK(std::system(command.c_str()) == 0);

  CHECK(server->Stats().requests_total == 2);
}

}  // namespace
}  // namespace keelson::http
