#include "base/rpc/internal/connection.h"

#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/rpc/internal/loop.h"

namespace keelson::rpc::internal {
namespace {

constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kWriteBytes = 256 << 10;
constexpr int32_t kStreamWindow = 1 << 20;
constexpr int32_t kConnectionWindow = 4 << 20;
// Of a client that does not read its answers no more calls than this are accepted.
constexpr size_t kCallsOfDeafClient = 1000;
// As grpc-go, which etcd is served by: two pings too many are forgiven, and without calls
// a client has nothing to ping for.
constexpr int kPingStrikesMax = 2;
constexpr absl::Duration kIdlePingInterval = absl::Hours(2);

// Neither name nor value is copied: both live until the frame has been made.
nghttp2_nv Field(std::string_view name, std::string_view value, bool copy_value = false) {
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  };
  const int flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | (copy_value ? 0 : NGHTTP2_NV_FLAG_NO_COPY_VALUE);
  return {bytes(name), bytes(value), name.size(), value.size(), static_cast<uint8_t>(flags)};
}

constexpr std::array<std::string_view, 17> kCodes = {
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"};

std::string_view CodeText(const absl::Status& status) {
  const auto code = static_cast<size_t>(status.code());
  return code < kCodes.size() ? kCodes[code] : kCodes[2];  // UNKNOWN
}

std::string MessageText(const absl::Status& status) {
  return EncodeStatusMessage(std::string(status.message()));
}

bool EndsStream(const nghttp2_frame& frame) {
  return (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
}

Stream* StreamOf(nghttp2_session* session, int32_t id) {
  return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
}

// A field that every client sends and nobody asks for.
bool IsNoise(std::string_view name) {
  return name == "te" || name == "user-agent" || name == "grpc-accept-encoding" ||
         name == "grpc-encoding" || name == "accept-encoding";
}

absl::Status UnknownMethod(std::string_view path, const Methods& methods) {
  const size_t slash = path.rfind('/');
  if (path.empty() || path[0] != '/' || slash == 0) {
    return absl::UnimplementedError("malformed method name: \"" + std::string(path) + "\"");
  }
  const std::string service(path.substr(1, slash - 1));
  for (const auto& [known, method] : methods) {
    if (std::string_view(known).starts_with(path.substr(0, slash + 1))) {
      return absl::UnimplementedError("unknown method " + std::string(path.substr(slash + 1)) +
                                      " for service " + service);
    }
  }
  return absl::UnimplementedError("unknown service " + service);
}

}  // namespace

// Called by nghttp2 while it reads or writes; none of them may call back into Flush.
struct Connection::Callbacks {
  static Connection& Self(void* user) { return *static_cast<Connection*>(user); }

  static int OnBeginHeaders(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    Connection& self = Self(user);
    const auto stream = std::make_shared<Stream>(self.loop_->mailbox, frame->hd.stream_id,
                                                 self.loop_->options->max_request_bytes);
    stream->connection = &self;
    stream->client_common_name = self.ClientCommonName();
    ++self.loop_->counters->calls;
    ++self.loop_->counters->calls_total;
    (void)nghttp2_session_set_stream_user_data(session, stream->id, stream.get());
    self.streams_.emplace(stream->id, stream);
    return 0;
  }

  static int OnHeader(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                      void* user) {
    Stream* const stream = StreamOf(session, frame->hd.stream_id);
    // Trailers of a request mean nothing in gRPC.
    if (stream == nullptr || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    const std::string_view key(reinterpret_cast<const char*>(name), name_size);
    const std::string_view text(reinterpret_cast<const char*>(value), value_size);
    stream->header_bytes += key.size() + text.size() + 32;  // RFC 9113, section 6.5.2
    if (stream->header_bytes > Self(user).loop_->options->max_metadata_bytes) return 0;
    if (key == ":path") {
      stream->path = text;
    } else if (key == ":method") {
      stream->http_method = text;
    } else if (key == "content-type") {
      stream->content_type = text;
    } else if (key == "grpc-timeout") {
      stream->timeout = text;
    } else if (!key.empty() && key[0] != ':' && !IsNoise(key)) {
      stream->metadata.emplace_back(key, text);
    }
    return 0;
  }

  static int OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    Connection& self = Self(user);
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
      case NGHTTP2_DATA: {
        Stream* const stream = StreamOf(session, frame->hd.stream_id);
        if (stream == nullptr) return 0;
        if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
          self.StartCall(*stream);
        }
        if (EndsStream(*frame)) {
          stream->half_closed = true;
          self.Deliver(*stream);
        }
        return 0;
      }
      case NGHTTP2_SETTINGS:
        self.greeted_ = true;
        return 0;
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) self.OnPing();
        return 0;
      default:
        return 0;
    }
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size,
                    void* user) {
    Connection& self = Self(user);
    // Only calls have flow control of ours; a call that is paused holds up no other.
    (void)nghttp2_session_consume_connection(session, size);
    Stream* const stream = StreamOf(session, id);
    if (stream == nullptr) return 0;
    stream->unconsumed_bytes += size;
    self.loop_->counters->received_bytes_total.fetch_add(size, std::memory_order_relaxed);
    if (stream->handler == nullptr || stream->broken) {
      self.Consume(*stream);
      return 0;
    }
    stream->reader.Add({reinterpret_cast<const char*>(data), size});
    self.Deliver(*stream);
    return 0;
  }

  static int OnFrameSent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    Self(user).sent_since_ping_ = true;
    const int32_t id = frame->hd.stream_id;
    if (EndsStream(*frame) && nghttp2_session_get_stream_remote_close(session, id) == 0) {
      // The answer is complete before the request: the rest of it is not wanted.
      (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
    }
    return 0;
  }

  static int OnStreamClosed(nghttp2_session*, int32_t id, uint32_t, void* user) {
    Connection& self = Self(user);
    const auto found = self.streams_.find(id);
    if (found == self.streams_.end()) return 0;
    const std::shared_ptr<Stream> stream = std::move(found->second);
    self.streams_.erase(found);
    self.EndStream(*stream);
    return 0;
  }

  static ssize_t ReadPieces(nghttp2_session* session, int32_t id, uint8_t* buffer, size_t size,
                            uint32_t* flags, nghttp2_data_source* source, void* user) {
    Connection& self = Self(user);
    auto& stream = *static_cast<Stream*>(source->ptr);
    size_t filled = 0;
    while (filled < size && stream.piece < stream.pieces.size()) {
      const std::string_view rest =
          std::string_view(stream.pieces[stream.piece]).substr(stream.piece_position);
      const size_t part = std::min(rest.size(), size - filled);
      std::memcpy(buffer + filled, rest.data(), part);
      filled += part;
      stream.piece_position += part;
      if (part == rest.size()) {
        stream.pieces[stream.piece++] = {};
        stream.piece_position = 0;
      }
    }
    self.loop_->counters->sent_bytes_total.fetch_add(filled, std::memory_order_relaxed);
    if (stream.Sent(filled)) self.roomy_.push_back(stream.shared_from_this());
    if (stream.piece < stream.pieces.size()) return static_cast<ssize_t>(filled);
    stream.pieces.clear();
    stream.piece = 0;
    if (stream.end.has_value()) {
      *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
      SubmitTrailers(session, id, *stream.end);
    } else if (filled == 0) {
      stream.deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    return static_cast<ssize_t>(filled);
  }

  static void SubmitTrailers(nghttp2_session* session, int32_t id, const absl::Status& status) {
    const std::string message = MessageText(status);
    const nghttp2_nv fields[] = {Field("grpc-status", CodeText(status)),
                                 Field("grpc-message", message, true)};
    (void)nghttp2_submit_trailer(session, id, fields, message.empty() ? 1 : 2);
  }

  static nghttp2_session_callbacks* Table() {
    static nghttp2_session_callbacks* const table = [] {
      nghttp2_session_callbacks* callbacks = nullptr;
      KEELSON_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
      nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, OnBeginHeaders);
      nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
      nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
      nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, OnFrameSent);
      nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnStreamClosed);
      return callbacks;
    }();
    return table;
  }

  static nghttp2_option* Options() {
    static nghttp2_option* const options = [] {
      nghttp2_option* made = nullptr;
      KEELSON_CHECK(nghttp2_option_new(&made) == 0);
      nghttp2_option_set_no_auto_window_update(made, 1);
      // etcdctl puts a whole URL into :authority, which nghttp2 would not have. What gRPC needs
      // of a request is checked in StartCall.
      nghttp2_option_set_no_http_messaging(made, 1);
      return made;
    }();
    return options;
  }
};

Connection::Connection(LoopContext* loop, std::unique_ptr<Socket> socket)
    : loop_(loop), socket_(std::move(socket)), opened_(loop->now), last_read_(loop->now) {
  KEELSON_CHECK(
      nghttp2_session_server_new2(&session_, Callbacks::Table(), this, Callbacks::Options()) == 0);
  const ServerOptions& options = *loop_->options;
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.max_concurrent_streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(options.max_metadata_bytes)}};
  (void)nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  (void)nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
  ++loop_->counters->connections;
  ++loop_->counters->connections_total;
}

Connection::~Connection() {
  roomy_.clear();
  const auto streams = std::exchange(streams_, {});
  for (const auto& [id, stream] : streams) EndStream(*stream);
  nghttp2_session_del(session_);
  --loop_->counters->connections;
}

// --- Requests ---

void Connection::StartCall(Stream& stream) {
  if (stream.http_method != "POST") return Refuse(stream, 405);
  if (!IsGrpcContentType(stream.content_type)) return Refuse(stream, 415);
  const auto refuse = [&](absl::Status status) {
    stream.end = std::move(status);
    Respond(stream);
  };
  if (stream.header_bytes > loop_->options->max_metadata_bytes) {
    return refuse(absl::ResourceExhaustedError("the header fields of the request are too large"));
  }
  const auto found = loop_->methods->find(stream.path);
  if (found == loop_->methods->end()) return refuse(UnknownMethod(stream.path, *loop_->methods));
  if (!stream.timeout.empty()) {
    const std::optional<absl::Duration> timeout = ParseTimeout(stream.timeout);
    if (!timeout.has_value()) {
      return refuse(absl::InternalError(absl::StrCat("malformed grpc-timeout: ", stream.timeout)));
    }
    stream.deadline = loop_->deadlines.emplace(loop_->now + *timeout, &stream);
  }
  stream.method = &found->second;
  if (stream.method->on_start != nullptr) stream.method->on_start();
  stream.handler = stream.method->start(stream.shared_from_this());
}

void Connection::Deliver(Stream& stream) {
  if (stream.handler == nullptr || stream.broken || stream.end.has_value()) return;
  DeliverMessages(stream);
  if (!stream.half_closed || stream.half_close_delivered || stream.broken || stream.paused()) {
    return;
  }
  stream.half_close_delivered = true;
  if (stream.reader.rest() > 0) {
    stream.broken = true;
    stream.Finish(absl::InternalError("the request ends within a message"));
    return;
  }
  stream.handler->OnHalfClose();
}

void Connection::DeliverMessages(Stream& stream) {
  while (!stream.paused()) {
    const absl::StatusOr<std::optional<std::string_view>> message = stream.reader.Next();
    if (!message.ok()) {
      stream.broken = true;
      stream.Finish(message.status());
      break;
    }
    if (!message->has_value()) break;
    stream.handler->OnMessage(**message);
  }
  if (!stream.paused()) Consume(stream);
}

void Connection::Consume(Stream& stream) {
  const size_t bytes = std::exchange(stream.unconsumed_bytes, 0);
  if (bytes > 0) (void)nghttp2_session_consume_stream(session_, stream.id, bytes);
}

void Connection::Refuse(Stream& stream, int http_status) {
  const std::string text = std::to_string(http_status);
  const nghttp2_nv field = Field(":status", text, true);
  (void)nghttp2_submit_response(session_, stream.id, &field, 1, nullptr);
}

void Connection::OnPing() {
  const absl::Duration since = loop_->now - std::exchange(last_ping_, loop_->now);
  if (std::exchange(sent_since_ping_, false)) {
    ping_strikes_ = 0;
    return;
  }
  const absl::Duration minimum =
      streams_.empty() ? kIdlePingInterval : loop_->options->ping_interval_min;
  if (since >= minimum || ++ping_strikes_ <= kPingStrikesMax) return;
  constexpr std::string_view kWhy = "too_many_pings";  // What gRPC clients look for.
  (void)nghttp2_submit_goaway(
      session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
      NGHTTP2_ENHANCE_YOUR_CALM, reinterpret_cast<const uint8_t*>(kWhy.data()), kWhy.size());
  close_when_written_ = true;
}

// --- Responses ---

void Connection::OnStream(const std::shared_ptr<Stream>& stream) {
  Stream::Outgoing outgoing = stream->TakeOutgoing();
  if (stream->pieces.empty()) {
    stream->pieces = std::move(outgoing.pieces);
  } else {
    std::move(outgoing.pieces.begin(), outgoing.pieces.end(), std::back_inserter(stream->pieces));
  }
  if (outgoing.end.has_value()) {
    stream->end = std::move(outgoing.end);
    ForgetDeadline(*stream);
  }
  Respond(*stream);
  Deliver(*stream);
}

void Connection::Respond(Stream& stream) {
  if (stream.responded) {
    if (std::exchange(stream.deferred, false)) {
      (void)nghttp2_session_resume_data(session_, stream.id);
    }
    return;
  }
  if (stream.pieces.empty() && !stream.end.has_value()) return;
  stream.responded = true;
  const nghttp2_nv status = Field(":status", "200");
  const nghttp2_nv type = Field("content-type", "application/grpc");
  if (stream.pieces.empty()) {
    const std::string message = MessageText(*stream.end);
    const nghttp2_nv fields[] = {status, type, Field("grpc-status", CodeText(*stream.end)),
                                 Field("grpc-message", message, true)};
    (void)nghttp2_submit_response(session_, stream.id, fields, message.empty() ? 3 : 4, nullptr);
    return;
  }
  const nghttp2_nv fields[] = {status, type};
  nghttp2_data_provider provider;
  provider.source.ptr = &stream;
  provider.read_callback = Callbacks::ReadPieces;
  (void)nghttp2_submit_response(session_, stream.id, fields, 2, &provider);
}

void Connection::ForgetDeadline(Stream& stream) {
  if (!stream.deadline.has_value()) return;
  loop_->deadlines.erase(*stream.deadline);
  stream.deadline.reset();
}

void Connection::EndStream(Stream& stream) {
  ForgetDeadline(stream);
  stream.connection = nullptr;
  const absl::Status status = stream.Close();
  const std::shared_ptr<CallHandler> handler = std::move(stream.handler);
  stream.handler = nullptr;
  --loop_->counters->calls;
  if (handler == nullptr) return;
  handler->OnDone();
  if (stream.method->on_end != nullptr) stream.method->on_end(status);
}

// --- The socket ---

void Connection::OnReadable() {
  Socket::Result result;
  do {
    loop_->input.resize(kReadBytes);
    result = socket_->Read(loop_->input.data(), kReadBytes);
    if (result.state == Socket::State::kClosed) failed_ = true;
    if (result.state != Socket::State::kDone) return;
    read_any_ = true;
    last_read_ = loop_->now;
    pinged_ = absl::InfiniteDuration();
    const auto* const bytes = reinterpret_cast<const uint8_t*>(loop_->input.data());
    // An error is one of ours or a flood; what breaks the protocol is answered by nghttp2.
    if (nghttp2_session_mem_recv(session_, bytes, result.bytes) < 0) failed_ = true;
  } while (result.more && !failed_);
}

bool Connection::Clogged() const { return output_position_ < output_.size(); }

bool Connection::WriteRest() {
  const Socket::Result result = socket_->Write(std::string_view(output_).substr(output_position_));
  if (result.state == Socket::State::kClosed) failed_ = true;
  output_position_ += result.bytes;
  if (Clogged()) return false;
  output_ = {};
  output_position_ = 0;
  return true;
}

bool Connection::Flush() {
  // A client of TLS has to be heard before it can be answered.
  while (!failed_ && read_any_) {
    if (Clogged() && !WriteRest()) break;
    std::string& output = loop_->output;
    output.clear();
    while (output.size() < kWriteBytes) {
      const uint8_t* data = nullptr;
      const ssize_t size = nghttp2_session_mem_send(session_, &data);
      if (size < 0) failed_ = true;
      if (size <= 0) break;
      output.append(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
    }
    if (output.empty()) break;
    const Socket::Result result = socket_->Write(output);
    if (result.state == Socket::State::kClosed) failed_ = true;
    if (result.bytes < output.size()) {
      output_ = output.substr(result.bytes);
      output_position_ = 0;
    }
  }
  MakeRoom();
  if (failed_) return false;
  if (Clogged()) return true;
  if (close_when_written_ || (draining_ && streams_.empty())) return false;
  return nghttp2_session_want_read(session_) != 0 || nghttp2_session_want_write(session_) != 0;
}

void Connection::MakeRoom() {
  for (const std::shared_ptr<Stream>& stream : std::exchange(roomy_, {})) {
    if (stream->handler != nullptr) stream->handler->OnRoom();
  }
}

uint32_t Connection::WantedEvents() const {
  const bool deaf = Clogged() && streams_.size() > kCallsOfDeafClient;
  uint32_t events = deaf ? 0 : static_cast<uint32_t>(EPOLLIN);
  if (Clogged() || socket_->read_wants_write()) events |= EPOLLOUT;
  return events;
}

void Connection::OnTimer(absl::Duration now) {
  const ServerOptions& options = *loop_->options;
  if (!greeted_) {
    if (now - opened_ >= options.handshake_timeout) failed_ = true;
    return;
  }
  if (options.keepalive_interval <= absl::ZeroDuration()) return;
  if (pinged_ != absl::InfiniteDuration()) {
    if (now - pinged_ >= options.keepalive_timeout) failed_ = true;
  } else if (now - last_read_ >= options.keepalive_interval) {
    pinged_ = now;
    (void)nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
  }
}

void Connection::Drain() {
  if (std::exchange(draining_, true)) return;
  (void)nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                              nullptr, 0);
}

}  // namespace keelson::rpc::internal
