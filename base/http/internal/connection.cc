#include "base/http/internal/connection.h"

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/error.hpp>
#include <charconv>
#include <cstdio>
#include <ctime>

#include "base/check.h"
#include "base/clock.h"
#include "base/http/internal/exchange.h"

namespace keelson::http::internal {
namespace {

constexpr size_t kSmallRead = 4 * 1024;   // What a connection that waits holds.
constexpr size_t kLargeRead = 64 * 1024;  // Once a read filled the small one.
constexpr size_t kJoinBelow = 16 * 1024;  // Pieces below are sent together.
constexpr size_t kDiscardMax = 1024 * 1024;
constexpr absl::Duration kLingerTimeout = absl::Seconds(2);

bool IsEnd(error_code error) {
  return error == asio::error::eof || error == asio::ssl::error::stream_truncated;
}

// The Date field's value (RFC 9110, section 5.6.7), made once a second.
const std::string& DateText() {
  thread_local time_t made_at = 0;
  thread_local std::string text;
  const time_t now = absl::ToTimeT(RealClock().Now());
  if (now != made_at) {
    text = absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", absl::FromTimeT(now), absl::UTCTimeZone());
    made_at = now;
  }
  return text;
}

bool ReadLength(std::string_view text, uint64_t& length) {
  const auto result = std::from_chars(text.data(), text.data() + text.size(), length);
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

bool HasBody(int status) { return status != 204 && status != 304; }

}  // namespace

Connection::Connection(std::shared_ptr<Worker> worker, std::shared_ptr<ServerCore> core,
                       std::unique_ptr<Transport> transport, std::string peer_address)
    : worker_(std::move(worker)),
      core_(std::move(core)),
      transport_(std::move(transport)),
      peer_address_(std::move(peer_address)),
      timer_(worker_->thread.context(), [this] { OnDeadline(); }),
      parser_(core_->limits.header_bytes_max, core_->limits.body_bytes_max) {}

Connection::~Connection() { KEELSON_CHECK(phase_ == Phase::kClosed); }

void Connection::Start(std::string already_read) {
  worker_->connections.insert(this);
  already_read_ = std::move(already_read);
  if (transport_->ssl() == nullptr) return BeginReading();
  SetDeadline(core_->limits.handshake_timeout);
  transport_->Handshake(true, already_read_,
                        [self = shared_from_this()](error_code error, size_t bytes) {
                          if (self->phase_ == Phase::kClosed) return;
                          if (error) return self->Close();
                          self->already_read_.erase(0, bytes);
                          self->peer_certificate_ = ReadPeerCertificate(self->transport_->ssl());
                          // Bytes behind the handshake cannot be given back to OpenSSL.
                          if (!self->already_read_.empty()) return self->Close();
                          self->BeginReading();
                        });
}

void Connection::Refuse() {
  worker_->connections.insert(this);
  refusing_ = true;
  ++core_->refusals_open;
  Fail(TextResponse(503, "too many connections\n"));
}

void Connection::BeginReading() {
  phase_ = Phase::kReading;
  parser_.Feed(already_read_);
  already_read_ = std::string();
  Advance();
}

void Connection::Advance() {
  using State = RequestParser::State;
  const State state = parser_.state();
  if (state == State::kFailed) {
    ++core_->malformed_total;
    return Fail(parser_.error());
  }
  if (state == State::kDone) return Dispatch();
  if (state != deadline_state_) {
    deadline_state_ = state;
    // Each limit counts from the state's first byte: trickling bytes does not extend it.
    SetDeadline(state == State::kIdle     ? core_->limits.idle_timeout
                : state == State::kHeader ? core_->limits.header_timeout
                                          : core_->limits.body_timeout);
    if (parser_.wants_continue()) Queue("HTTP/1.1 100 Continue\r\n\r\n");
  }
  if (state == State::kIdle && core_->draining) return Close();
  ReadMore();
}

void Connection::Dispatch() {
  RequestParser::Parsed parsed = parser_.TakeRequest();
  phase_ = Phase::kHandling;
  deadline_state_ = RequestParser::State::kDone;
  SetDeadline(absl::InfiniteDuration());
  parsed.request.peer_address = peer_address_;
  parsed.request.peer_certificate = peer_certificate_;
  parsed.request.tls = transport_->ssl() != nullptr;
  current_ = std::make_shared<Exchange>(shared_from_this(),
                                        Exchange::About{.head = parsed.request.method == "HEAD",
                                                        .http10 = parsed.http10,
                                                        .keep_alive = parsed.keep_alive});
  current_->gone = read_closed_;
  ++core_->requests_total;
  auto writer = current_->NewWriter();
  ReadMore();  // To learn of a client that goes away.
  core_->handler(std::move(parsed.request), std::move(writer));
}

void Connection::ReadMore() {
  using State = RequestParser::State;
  if (reading_ || read_closed_ || phase_ == Phase::kClosed) return;
  // The next request has been read already, behind the one that is handled: what
  // else the client sends stays in its own buffers.
  const bool full = parser_.state() == State::kDone || parser_.state() == State::kFailed;
  if (phase_ == Phase::kHandling && full) return;
  if (read_buffer_.empty()) read_buffer_.resize(kSmallRead);
  reading_ = true;
  transport_->ReadSome(
      asio::buffer(read_buffer_),
      [self = shared_from_this()](error_code error, size_t bytes) { self->OnRead(error, bytes); });
}

void Connection::OnRead(error_code error, size_t bytes) {
  reading_ = false;
  if (phase_ == Phase::kClosed) return;
  if (phase_ == Phase::kLingering) {
    discarded_bytes_ += bytes;
    if (error || discarded_bytes_ > kDiscardMax) return Close();
    return ReadMore();
  }
  if (IsEnd(error)) return OnPeerClosed();
  if (error) return Close();
  parser_.Feed(std::string_view(read_buffer_).substr(0, bytes));
  if (bytes == read_buffer_.size()) {
    read_buffer_.resize(kLargeRead);
  } else if (read_buffer_.size() > kSmallRead && parser_.state() != RequestParser::State::kBody) {
    read_buffer_ = std::string(kSmallRead, '\0');
  }
  if (phase_ == Phase::kReading && !close_after_write_) return Advance();
  ReadMore();
}

void Connection::OnPeerClosed() {
  read_closed_ = true;
  if (phase_ == Phase::kReading && !close_after_write_) return Close();
  // The answer may still be wanted: only the handler can know.
  if (current_) current_->MarkGone();
}

void Connection::Queue(std::string bytes) {
  if (bytes.empty()) return;
  queued_total_ += bytes.size();
  if (current_) {
    current_->buffered_bytes += bytes.size();
  } else {
    uncounted_bytes_ += bytes.size();
  }
  const bool back_is_free = out_.size() > (writing_ ? 1U : 0U);
  if (back_is_free && out_.back().size() + bytes.size() < kJoinBelow) {
    out_.back() += bytes;
  } else {
    out_.push_back(std::move(bytes));
  }
  Pump();
}

void Connection::Pump() {
  if (writing_ || out_.empty() || phase_ == Phase::kClosed) return;
  writing_ = true;
  write_deadline_ = DeadlineAfter(core_->limits.write_timeout);
  UpdateTimer();
  const std::string& front = out_.front();
  transport_->WriteSome(asio::buffer(front.data() + out_offset_, front.size() - out_offset_),
                        [self = shared_from_this()](error_code error, size_t bytes) {
                          self->OnWritten(error, bytes);
                        });
}

void Connection::OnWritten(error_code error, size_t bytes) {
  writing_ = false;
  if (phase_ == Phase::kClosed) return;
  if (error) return Close();
  write_deadline_ = SteadyTime::max();
  written_total_ += bytes;
  // What was queued before the exchange (100 Continue) goes out before it.
  const size_t uncounted = std::min(bytes, uncounted_bytes_);
  uncounted_bytes_ -= uncounted;
  if (current_) current_->buffered_bytes -= bytes - uncounted;
  out_offset_ += bytes;
  if (out_offset_ == out_.front().size()) {
    out_.pop_front();
    out_offset_ = 0;
  }
  RunDrained();
  if (phase_ == Phase::kClosed || writing_) return;
  if (!out_.empty()) return Pump();
  UpdateTimer();
  if (current_ && current_->finished) return EndExchange();
  if (close_after_write_) return CloseGracefully();
}

void Connection::RunDrained() {
  std::vector<std::function<void()>> due;
  std::erase_if(drained_, [&](auto& entry) {
    if (phase_ != Phase::kClosed && entry.first > written_total_) return false;
    due.push_back(std::move(entry.second));
    return true;
  });
  for (const auto& callback : due) callback();
}

void Connection::EndExchange() {
  const std::shared_ptr<Exchange> ended = std::move(current_);
  ended->on_disconnect = nullptr;
  current_.reset();
  if (!ended->about.keep_alive || NothingFollows()) return CloseGracefully();
  phase_ = Phase::kReading;
  Advance();
}

bool Connection::NothingFollows() const {
  return read_closed_ && parser_.state() != RequestParser::State::kDone;
}

std::string Connection::Head(Exchange& exchange, int status, const Headers& headers,
                             std::optional<uint64_t> content_length) {
  Headers fields;
  for (const Header& field : headers.fields()) {
    if (EqualsIgnoreCase(field.name, "Connection")) {
      if (EqualsIgnoreCase(field.value, "close")) exchange.about.keep_alive = false;
    } else if (!EqualsIgnoreCase(field.name, "Content-Length") &&
               !EqualsIgnoreCase(field.name, "Transfer-Encoding")) {
      fields.Add(field.name, field.value);
    }
  }
  if (!fields.Find("Date")) fields.Add("Date", DateText());
  if (content_length) fields.Add("Content-Length", std::to_string(*content_length));
  if (exchange.chunked) fields.Add("Transfer-Encoding", "chunked");
  if (core_->draining || NothingFollows()) exchange.about.keep_alive = false;
  if (!exchange.about.keep_alive) {
    fields.Add("Connection", "close");
  } else if (exchange.about.http10) {
    fields.Add("Connection", "keep-alive");
  }
  return StatusLineAndFields(status, fields) + "\r\n";
}

void Connection::Send(Exchange& exchange, Response response) {
  if (current_.get() != &exchange || phase_ == Phase::kClosed) return;
  exchange.started = true;
  exchange.finished = true;
  const bool has_body = HasBody(response.status);
  std::optional<uint64_t> length;
  if (has_body) length = response.body.size();
  // A handler may know the length of a body that HEAD spares it to make.
  uint64_t stated = 0;
  if (const auto field = response.headers.Find("Content-Length");
      exchange.about.head && response.body.empty() && field && ReadLength(*field, stated)) {
    length = stated;
  }
  std::string head = Head(exchange, response.status, response.headers, length);
  if (!has_body || exchange.about.head) response.body.clear();
  if (response.body.size() < kJoinBelow) head += std::exchange(response.body, {});
  Queue(std::move(head));
  Queue(std::move(response.body));
}

void Connection::StartStream(Exchange& exchange, int status, const Headers& headers) {
  if (current_.get() != &exchange || phase_ == Phase::kClosed) return;
  exchange.started = true;
  exchange.bodyless = exchange.about.head || !HasBody(status);
  uint64_t stated = 0;
  if (const auto field = headers.Find("Content-Length"); field && ReadLength(*field, stated)) {
    exchange.bytes_left = stated;
  } else if (!exchange.bodyless) {
    exchange.chunked = !exchange.about.http10;
    if (exchange.about.http10) exchange.about.keep_alive = false;  // Its end is the body's end.
  }
  Queue(Head(exchange, status, headers, exchange.bytes_left));
}

void Connection::WritePiece(Exchange& exchange, std::string piece) {
  if (current_.get() != &exchange || phase_ == Phase::kClosed) return;
  if (exchange.bodyless || piece.empty()) return;
  if (exchange.bytes_left) {
    if (piece.size() > *exchange.bytes_left) return Close();  // More than the header promised.
    *exchange.bytes_left -= piece.size();
  }
  if (exchange.chunked) {
    char size[24];
    const int length = std::snprintf(size, sizeof(size), "%zx\r\n", piece.size());
    piece.insert(0, size, static_cast<size_t>(length));
    piece += "\r\n";
  }
  Queue(std::move(piece));
  if (exchange.buffered_bytes > core_->limits.buffered_bytes_max) {
    ++core_->timeouts_total;  // A client too slow for what it asked for.
    Close();
  }
}

void Connection::Finish(Exchange& exchange) {
  if (current_.get() != &exchange || phase_ == Phase::kClosed) return;
  // Less than the header promised: the client must not take it for the whole.
  if (!exchange.bodyless && exchange.bytes_left.value_or(0) > 0) return Close();
  exchange.finished = true;
  if (exchange.chunked) return Queue("0\r\n\r\n");
  if (!out_.empty()) return;
  asio::post(worker_->thread.context(),
             [self = shared_from_this(), ended = exchange.shared_from_this()] {
               if (self->current_ == ended) self->EndExchange();
             });
}

void Connection::Abandon(Exchange& exchange) {
  if (current_.get() != &exchange || phase_ == Phase::kClosed || exchange.finished) return;
  if (exchange.started) return Close();
  Send(exchange, TextResponse(500, "no answer\n"));
}

void Connection::OnDrained(Exchange& exchange, std::function<void()> callback) {
  if (current_.get() != &exchange || phase_ == Phase::kClosed || out_.empty()) return callback();
  drained_.emplace_back(queued_total_, std::move(callback));
}

void Connection::Fail(const Response& response) {
  phase_ = Phase::kReading;
  close_after_write_ = true;
  SetDeadline(absl::InfiniteDuration());  // The write's own limit is enough.
  Headers headers = response.headers;
  headers.Add("Date", DateText());
  headers.Add("Content-Length", std::to_string(response.body.size()));
  headers.Add("Connection", "close");
  Queue(StatusLineAndFields(response.status, headers) + "\r\n" + response.body);
  ReadMore();
}

void Connection::CloseGracefully() {
  phase_ = Phase::kLingering;
  SetDeadline(kLingerTimeout);
  // Closing a socket with unread input resets it, which can destroy the answer on its way
  // (RFC 9112, section 9.6). So read on until the client closes, for a while.
  transport_->ShutdownSend([self = shared_from_this()] {
    if (self->phase_ == Phase::kClosed) return;
    if (self->read_closed_) return self->Close();
    self->ReadMore();
  });
}

void Connection::OnDraining() {
  const bool idle =
      phase_ == Phase::kReading && out_.empty() && parser_.state() == RequestParser::State::kIdle;
  if (idle) Close();
}

void Connection::Close() {
  if (phase_ == Phase::kClosed) return;
  const auto self = shared_from_this();
  phase_ = Phase::kClosed;
  timer_.Cancel();
  transport_->Close();
  worker_->connections.erase(this);
  if (refusing_) {
    --core_->refusals_open;
  } else {
    absl::MutexLock lock(&core_->mu);
    --core_->connections_open;
  }
  RunDrained();
  if (const std::shared_ptr<Exchange> cut = std::exchange(current_, nullptr)) cut->MarkGone();
}

void Connection::SetDeadline(absl::Duration timeout) {
  read_deadline_ = DeadlineAfter(timeout);
  UpdateTimer();
}

void Connection::UpdateTimer() {
  timer_.Set(std::min(read_deadline_, write_deadline_), shared_from_this());
}

void Connection::OnDeadline() {
  if (phase_ == Phase::kClosed) return;
  const SteadyTime now = std::chrono::steady_clock::now();
  if (now >= write_deadline_) {
    ++core_->timeouts_total;
    return Close();
  }
  if (now < read_deadline_) return UpdateTimer();
  if (phase_ == Phase::kReading && parser_.state() != RequestParser::State::kIdle) {
    ++core_->timeouts_total;
    return Fail(TextResponse(408, "the request took too long\n"));
  }
  if (phase_ == Phase::kHandshake) ++core_->timeouts_total;
  Close();
}

}  // namespace keelson::http::internal
