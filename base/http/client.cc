#include "base/http/client.h"

#include <arpa/inet.h>
#include <openssl/x509_vfy.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/error.hpp>
#include <cerrno>
#include <list>
#include <unordered_set>
#include <utility>

#include "absl/synchronization/notification.h"
#include "base/http/internal/io.h"
#include "base/http/internal/parser.h"
#include "base/status.h"

namespace keelson::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using internal::error_code;
using internal::SteadyTime;
using internal::Transport;

constexpr absl::Duration kIdleMax = absl::Seconds(30);
constexpr size_t kReadBytes = 32 * 1024;

class Call;

// A connection that waits for its next request.
struct Idle {
  std::string key;
  std::unique_ptr<Transport> transport;
  SteadyTime expires;
};

// Shared by a client and its calls. All but `thread.Post` on the I/O thread.
struct ClientCore {
  internal::IoThread thread{"http-client"};
  std::shared_ptr<const TlsClientContext> tls;
  size_t idle_max = 0;
  std::list<Idle> idle;  // Oldest first.
  std::unordered_set<Call*> calls;

  std::unique_ptr<Transport> TakeIdle(const std::string& key);
  void KeepIdle(std::string key, std::unique_ptr<Transport> transport);
};

std::unique_ptr<Transport> ClientCore::TakeIdle(const std::string& key) {
  const SteadyTime now = std::chrono::steady_clock::now();
  idle.remove_if([now](const Idle& each) { return each.expires <= now; });
  for (auto it = idle.begin(); it != idle.end();) {
    if (it->key != key) {
      ++it;
      continue;
    }
    std::unique_ptr<Transport> transport = std::move(it->transport);
    it = idle.erase(it);
    // A server that closed it meanwhile left an end to read; one that is good, nothing.
    char byte = 0;
    if (::recv(transport->fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN) {
      return transport;
    }
  }
  return nullptr;
}

void ClientCore::KeepIdle(std::string key, std::unique_ptr<Transport> transport) {
  if (idle_max == 0) return;
  if (idle.size() >= idle_max) idle.pop_front();
  idle.push_back({std::move(key), std::move(transport), internal::DeadlineAfter(kIdleMax)});
}

std::string_view DescribeStage(bool connected) { return connected ? "exchange" : "connect"; }

// An alert of the other side or a certificate of it that is not good, or a broken connection.
absl::StatusCode CodeOf(error_code error) {
  return error.category() == asio::error::get_ssl_category() ? absl::StatusCode::kUnauthenticated
                                                             : absl::StatusCode::kUnavailable;
}

bool MayRepeat(const std::string& method) {
  return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE" ||
         method == "OPTIONS";
}

absl::Status CheckRequest(const FetchRequest& request) {
  if (!internal::IsToken(request.method)) {
    return absl::InvalidArgumentError("method '" + request.method + "' is not a token");
  }
  for (const Header& field : request.headers.fields()) {
    if (!internal::IsToken(field.name) ||
        field.value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
      return absl::InvalidArgumentError("header field '" + field.name + "' cannot be sent");
    }
  }
  return absl::OkStatus();
}

// One fetch, from the look-up of the name to the end of the answer. On the I/O thread.
class Call final : public std::enable_shared_from_this<Call> {
 public:
  Call(std::shared_ptr<ClientCore> core, FetchRequest request, Client::DoneCallback done)
      : core_(std::move(core)),
        request_(std::move(request)),
        done_(std::move(done)),
        timer_(core_->thread.context(), [this] { OnDeadline(); }),
        resolver_(core_->thread.context()),
        socket_(core_->thread.context()),
        parser_(std::make_unique<internal::ResponseParser>(request_.method == "HEAD")) {}

  void Start();
  void Finish(absl::StatusOr<Response> result);
  void Cancel() { Finish(absl::CancelledError("fetch of '" + request_.url + "' was cancelled")); }

 private:
  void Connect();
  void Secure();
  void Exchange(bool reused);
  void WriteMore();
  void ReadMore();
  void OnRead(error_code error, size_t bytes);
  void OnEnd(error_code error);
  absl::Status Deliver();
  void Succeed();
  void Fail(absl::Status status) { Finish(Annotate(status, "fetch '" + request_.url + "'")); }
  void OnDeadline();
  std::string RequestText() const;

  const std::shared_ptr<ClientCore> core_;  // First member, so that its io_context goes last.
  const FetchRequest request_;
  Client::DoneCallback done_;
  internal::DeadlineTimer timer_;
  tcp::resolver resolver_;
  tcp::socket socket_;  // While connecting.
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Transport> retired_;  // Closed; its callbacks are still to come.
  std::unique_ptr<internal::ResponseParser> parser_;

  Url url_;
  std::string key_;  // Of the pool of idle connections.
  SteadyTime deadline_ = SteadyTime::max();
  bool finished_ = false;
  bool connected_ = false;
  bool reused_ = false;
  bool got_bytes_ = false;
  std::string out_;
  size_t written_ = 0;
  std::string read_buffer_;
  bool announced_ = false;
  Response response_;
};

void Call::Start() {
  core_->calls.insert(this);
  if (absl::Status status = CheckRequest(request_); !status.ok()) return Fail(status);
  absl::StatusOr<Url> url = ParseUrl(request_.url);
  if (!url.ok()) return Finish(url.status());
  url_ = *std::move(url);
  if (url_.tls && !core_->tls) {
    absl::StatusOr<std::shared_ptr<const TlsClientContext>> tls = TlsClientContext::Create({});
    if (!tls.ok()) return Fail(tls.status());
    core_->tls = *tls;
  }
  key_ = (url_.tls ? "s " : "p ") + url_.host + " " + url_.port;
  deadline_ = internal::DeadlineAfter(request_.timeout);
  out_ = RequestText();
  transport_ = core_->TakeIdle(key_);
  if (transport_) return Exchange(true);
  Connect();
}

std::string Call::RequestText() const {
  const std::string default_port = url_.tls ? "443" : "80";
  const bool brackets = url_.host.find(':') != std::string::npos;
  std::string text = request_.method + " " + url_.target + " HTTP/1.1\r\n";
  Headers headers = request_.headers;
  if (!headers.Find("Host")) {
    text += "Host: " + (brackets ? "[" + url_.host + "]" : url_.host);
    text += (url_.port == default_port ? "" : ":" + url_.port) + "\r\n";
  }
  headers.Remove("Content-Length");
  headers.Remove("Connection");
  internal::AppendFields(text, headers);
  const bool may_have_body = request_.method != "GET" && request_.method != "HEAD";
  if (may_have_body || !request_.body.empty()) {
    text += "Content-Length: " + std::to_string(request_.body.size()) + "\r\n";
  }
  if (core_->idle_max == 0) text += "Connection: close\r\n";
  return text + "\r\n" + request_.body;
}

void Call::Connect() {
  const SteadyTime connect_deadline = internal::DeadlineAfter(request_.connect_timeout);
  timer_.Set(std::min(deadline_, connect_deadline), shared_from_this());
  resolver_.async_resolve(
      url_.host, url_.port, tcp::resolver::numeric_service,
      [self = shared_from_this()](error_code error, const tcp::resolver::results_type& results) {
        if (self->finished_) return;
        if (error) return self->Fail(absl::UnavailableError("look up: " + error.message()));
        asio::async_connect(
            self->socket_, results, [self](error_code connect_error, const tcp::endpoint&) {
              if (self->finished_) return;
              if (connect_error) {
                return self->Fail(absl::UnavailableError("connect: " + connect_error.message()));
              }
              self->Secure();
            });
      });
}

void Call::Secure() {
  error_code error;
  socket_.set_option(tcp::no_delay(true), error);
  UniqueFd fd(socket_.release(error));
  if (error) return Fail(absl::InternalError("release: " + error.message()));
  if (!url_.tls) {
    transport_ = internal::NewPlainTransport(core_->thread.context(), std::move(fd));
    return Exchange(false);
  }
  transport_ =
      internal::NewTlsTransport(core_->thread.context(), std::move(fd), core_->tls->ssl_ctx());
  if (!transport_ || !ExpectServerName(transport_->ssl(), url_.host)) {
    return Fail(absl::InternalError("TLS: " + TakeTlsErrors()));
  }
  transport_->Handshake(false, "", [self = shared_from_this()](error_code handshake_error, size_t) {
    if (self->finished_) return;
    if (!handshake_error) return self->Exchange(false);
    const long verified = SSL_get_verify_result(self->transport_->ssl());
    std::string why = handshake_error.message();
    if (verified != X509_V_OK) {
      why += std::string(": ") + X509_verify_cert_error_string(verified);
    }
    self->Fail(absl::Status(CodeOf(handshake_error), "TLS handshake: " + why));
  });
}

void Call::Exchange(bool reused) {
  connected_ = true;
  reused_ = reused;
  written_ = 0;
  timer_.Set(deadline_, shared_from_this());
  read_buffer_.resize(kReadBytes);
  WriteMore();
  // Read at the same time: a server may refuse a long request before all of it is sent.
  ReadMore();
}

void Call::WriteMore() {
  if (written_ == out_.size()) return;
  transport_->WriteSome(
      asio::buffer(out_.data() + written_, out_.size() - written_),
      [self = shared_from_this(), on = transport_.get()](error_code error, size_t bytes) {
        if (self->finished_ || self->transport_.get() != on) return;
        if (error) return;  // The read side tells what happened, perhaps an answer.
        self->written_ += bytes;
        self->WriteMore();
      });
}

void Call::ReadMore() {
  transport_->ReadSome(
      asio::buffer(read_buffer_),
      [self = shared_from_this(), on = transport_.get()](error_code error, size_t bytes) {
        if (self->finished_ || self->transport_.get() != on) return;
        self->OnRead(error, bytes);
      });
}

void Call::OnRead(error_code error, size_t bytes) {
  if (error) return OnEnd(error);
  got_bytes_ = true;
  absl::Status status = parser_->Feed(std::string_view(read_buffer_).substr(0, bytes));
  if (absl::Status delivered = Deliver(); status.ok()) status = std::move(delivered);
  if (finished_) return;  // By a callback.
  if (!status.ok()) return Fail(status);
  if (parser_->done()) return Succeed();
  ReadMore();
}

void Call::OnEnd(error_code error) {
  if (reused_ && !got_bytes_ && MayRepeat(request_.method)) {
    // The server closed the idle connection while our request was on its way.
    retired_ = std::move(transport_);
    retired_->Close();
    return Connect();
  }
  const bool closed = error == asio::error::eof || error == asio::ssl::error::stream_truncated;
  if (!closed) {
    return Fail(absl::Status(CodeOf(error), "read: " + error.message()));
  }
  if (!got_bytes_) {
    return Fail(absl::UnavailableError("the server closed the connection without an answer"));
  }
  absl::Status status = parser_->FeedEnd();
  if (absl::Status delivered = Deliver(); status.ok()) status = std::move(delivered);
  if (finished_) return;
  if (!status.ok()) return Fail(status);
  Succeed();
}

absl::Status Call::Deliver() {
  if (!announced_ && parser_->head()) {
    announced_ = true;
    response_ = *parser_->head();
    if (request_.on_head) request_.on_head(response_);
  }
  std::string piece = parser_->TakeBody();
  if (piece.empty() || finished_) return absl::OkStatus();
  if (request_.on_body) {
    if (!request_.on_body(piece)) return absl::CancelledError("by the reader of the body");
    return absl::OkStatus();
  }
  if (response_.body.size() + piece.size() > request_.body_bytes_max) {
    return absl::ResourceExhaustedError("the body is larger than " +
                                        std::to_string(request_.body_bytes_max) + " bytes");
  }
  response_.body += piece;
  return absl::OkStatus();
}

void Call::Succeed() {
  if (parser_->keep_alive() && written_ == out_.size()) {
    core_->KeepIdle(key_, std::move(transport_));
  }
  Finish(std::move(response_));
}

void Call::OnDeadline() {
  Fail(absl::DeadlineExceededError(std::string(DescribeStage(connected_)) + " took too long"));
}

void Call::Finish(absl::StatusOr<Response> result) {
  if (std::exchange(finished_, true)) return;
  const auto self = shared_from_this();
  core_->calls.erase(this);
  timer_.Cancel();
  resolver_.cancel();
  error_code ignored;
  socket_.close(ignored);
  if (transport_) transport_->Close();
  const auto done = std::exchange(done_, nullptr);
  done(std::move(result));
}

class ClientImpl final : public Client {
 public:
  explicit ClientImpl(const ClientOptions& options) : core_(std::make_shared<ClientCore>()) {
    core_->tls = options.tls;
    core_->idle_max = options.idle_connections_max;
  }
  ~ClientImpl() override {
    core_->thread.Stop([core = core_] {
      while (!core->calls.empty()) (*core->calls.begin())->Cancel();
      core->idle.clear();
    });
  }

  CancelFunction Fetch(FetchRequest request, DoneCallback done) override {
    auto call = std::make_shared<Call>(core_, std::move(request), std::move(done));
    core_->thread.Post([call] { call->Start(); });
    return [core = core_, weak = std::weak_ptr<Call>(call)] {
      core->thread.Post([weak] {
        if (const auto running = weak.lock()) running->Cancel();
      });
    };
  }

 private:
  const std::shared_ptr<ClientCore> core_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Create(const ClientOptions& options) {
  return std::unique_ptr<Client>(std::make_unique<ClientImpl>(options));
}

absl::StatusOr<Response> Client::FetchBlocking(FetchRequest request) {
  absl::Notification finished;
  absl::StatusOr<Response> result;
  Fetch(std::move(request), [&](absl::StatusOr<Response> response) {
    result = std::move(response);
    finished.Notify();
  });
  finished.WaitForNotification();
  return result;
}

}  // namespace keelson::http
