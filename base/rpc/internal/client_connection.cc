#include "base/rpc/internal/client_connection.h"

#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace keelson::rpc::internal {
namespace {

constexpr size_t kReadBytes = 64 << 10;

ClientStream* StreamOf(nghttp2_session* session, int32_t id) {
  return static_cast<ClientStream*>(nghttp2_session_get_stream_user_data(session, id));
}

// gRPC's document "HTTP to gRPC Status Code Mapping".
absl::StatusCode CodeOfHttpStatus(std::string_view status) {
  if (status == "400") return absl::StatusCode::kInternal;
  if (status == "401") return absl::StatusCode::kUnauthenticated;
  if (status == "403") return absl::StatusCode::kPermissionDenied;
  if (status == "404") return absl::StatusCode::kUnimplemented;
  if (status == "429" || status == "502" || status == "503" || status == "504") {
    return absl::StatusCode::kUnavailable;
  }
  return absl::StatusCode::kUnknown;
}

// Of "gRPC over HTTP2", section "Errors".
absl::StatusCode CodeOfHttp2Error(uint32_t error) {
  switch (error) {
    case NGHTTP2_REFUSED_STREAM:
      return absl::StatusCode::kUnavailable;
    case NGHTTP2_CANCEL:
      return absl::StatusCode::kCancelled;
    case NGHTTP2_ENHANCE_YOUR_CALM:
      return absl::StatusCode::kResourceExhausted;
    case NGHTTP2_INADEQUATE_SECURITY:
      return absl::StatusCode::kPermissionDenied;
    default:
      return absl::StatusCode::kInternal;
  }
}

bool IsOwnField(std::string_view name) {
  return name != "content-type" && name != "grpc-encoding" && name != "grpc-accept-encoding" &&
         name != "accept-encoding" && name != "grpc-status" && name != "grpc-message";
}

}  // namespace

void ClientContext::End(ClientStream& stream, const absl::Status& status) {
  if (stream.deadline.has_value()) deadlines.erase(*stream.deadline);
  stream.deadline.reset();
  stream.End(status);
}

// Called by nghttp2 while it reads or writes; none of them may call back into Flush.
struct ClientConnection::Callbacks {
  static ClientConnection& Self(void* user) { return *static_cast<ClientConnection*>(user); }

  static int OnHeader(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                      void* user) {
    ClientStream* const stream = StreamOf(session, frame->hd.stream_id);
    if (stream == nullptr) return 0;
    const std::string_view key(reinterpret_cast<const char*>(name), name_size);
    const std::string_view text(reinterpret_cast<const char*>(value), value_size);
    stream->field_bytes += FieldBytes(key, text);
    if (stream->field_bytes > Self(user).context_->options.max_metadata_bytes) return 0;
    if (key == ":status") {
      stream->http_status = text;
    } else if (key == "content-type") {
      stream->content_type = text;
    } else if (key == "grpc-status") {
      int code = -1;
      const auto parsed = std::from_chars(text.data(), text.data() + text.size(), code);
      const bool known = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() &&
                         code >= 0 && code <= 16;
      stream->grpc_status = known ? code : static_cast<int>(absl::StatusCode::kUnknown);
    } else if (key == "grpc-message") {
      stream->grpc_message = DecodeStatusMessage(text);
    } else if (IsOwnField(key)) {
      stream->fields.emplace_back(key, text);
    }
    return 0;
  }

  static int OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    ClientConnection& self = Self(user);
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
      case NGHTTP2_DATA: {
        ClientStream* const stream = StreamOf(session, frame->hd.stream_id);
        if (stream == nullptr) return 0;
        stream->remote_closed |= EndsStream(*frame);
        if (frame->hd.type == NGHTTP2_HEADERS) {
          self.OnHeaders(*stream, EndsStream(*frame));
        } else if (EndsStream(*frame)) {
          self.OnEnd(*stream);
        }
        return 0;
      }
      case NGHTTP2_SETTINGS:
        self.greeted_ = true;
        return 0;
      case NGHTTP2_GOAWAY:
        self.draining_ = true;
        self.goaway_.assign(reinterpret_cast<const char*>(frame->goaway.opaque_data),
                            std::min<size_t>(frame->goaway.opaque_data_len, 100));
        return 0;
      default:
        return 0;
    }
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size,
                    void* user) {
    ClientConnection& self = Self(user);
    // Only calls have flow control of ours; a call that is paused holds up no other.
    (void)nghttp2_session_consume_connection(session, size);
    ClientStream* const stream = StreamOf(session, id);
    if (stream == nullptr) return 0;
    stream->unconsumed_bytes += size;
    stream->reader.Add({reinterpret_cast<const char*>(data), size});
    self.Deliver(*stream);
    return 0;
  }

  static int OnStreamClosed(nghttp2_session*, int32_t id, uint32_t error, void* user) {
    ClientConnection& self = Self(user);
    const auto found = self.streams_.find(id);
    if (found == self.streams_.end()) return 0;
    const std::shared_ptr<ClientStream> stream = found->second;
    stream->closed = true;
    if (stream->end.has_value()) {
      self.Deliver(*stream);  // It waits for its messages to be read.
      return 0;
    }
    std::string text = absl::StrCat("'", self.context_->options.address,
                                    "' reset the stream: ", nghttp2_http2_strerror(error));
    if (!self.goaway_.empty()) absl::StrAppend(&text, " (", self.goaway_, ")");
    const absl::Status status(CodeOfHttp2Error(error), text);
    // Also what nghttp2 says of calls that a GOAWAY leaves out.
    self.Conclude(*stream, error == NGHTTP2_REFUSED_STREAM ? NeverSent(status) : status);
    return 0;
  }

  static ssize_t ReadBytes(nghttp2_session*, int32_t, uint8_t* buffer, size_t size, uint32_t* flags,
                           nghttp2_data_source* source, void* user) {
    auto& stream = *static_cast<ClientStream*>(source->ptr);
    const size_t filled = stream.bytes.Fill(buffer, size);
    if (stream.Sent(filled)) Self(user).roomy_.push_back(stream.shared_from_this());
    if (!stream.bytes.empty()) return static_cast<ssize_t>(filled);
    if (stream.half_closed) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (filled == 0) {
      stream.deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    return static_cast<ssize_t>(filled);
  }

  static nghttp2_session_callbacks* Table() {
    static nghttp2_session_callbacks* const table = [] {
      nghttp2_session_callbacks* callbacks = nullptr;
      KEELSON_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
      nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
      nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
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
      return made;
    }();
    return options;
  }
};

ClientConnection::ClientConnection(ClientContext* context, std::unique_ptr<Socket> socket,
                                   absl::Duration give_up_at)
    : context_(context),
      socket_(std::move(socket)),
      give_up_at_(give_up_at),
      last_read_(context->now) {
  KEELSON_CHECK(
      nghttp2_session_client_new2(&session_, Callbacks::Table(), this, Callbacks::Options()) == 0);
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
       static_cast<uint32_t>(context_->options.max_metadata_bytes)}};
  (void)nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  (void)nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
}

ClientConnection::~ClientConnection() {
  EndAll(Failure());
  nghttp2_session_del(session_);
}

void ClientConnection::EndAll(const absl::Status& status) {
  roomy_.clear();
  const auto streams = std::exchange(streams_, {});
  for (const auto& [id, stream] : streams) {
    (void)nghttp2_session_set_stream_user_data(session_, id, nullptr);
    context_->End(*stream, status);
  }
}

absl::Status ClientConnection::Failure() const {
  std::string why = why_;
  if (!goaway_.empty()) absl::StrAppend(&why, why.empty() ? "" : ", ", "it said: ", goaway_);
  if (why.empty()) why = draining_ ? "the server is going away" : "it does not keep to HTTP/2";
  const absl::Status status =
      absl::UnavailableError(absl::StrCat("'", context_->options.address, "': ", why));
  return begun_ ? status : NeverSent(status);
}

void ClientConnection::Fail(std::string why) {
  if (std::exchange(failed_, true)) return;
  why_ = std::move(why);
}

// --- Requests ---

void ClientConnection::Begin(const std::shared_ptr<ClientStream>& stream) {
  const CallOptions& call = stream->options;
  std::string timeout;
  std::vector<nghttp2_nv> fields = {
      Field(":method", "POST"),
      Field(":scheme", context_->options.tls != nullptr ? "https" : "http"),
      Field(":path", call.path),
      Field(":authority", context_->options.address),
      Field("te", "trailers"),
      Field("content-type", "application/grpc"),
      Field("user-agent", "keelson"),
  };
  if (stream->deadline.has_value()) {
    timeout = FormatTimeout((*stream->deadline)->first - context_->now);
    fields.push_back(Field("grpc-timeout", timeout, true));
  }
  for (const auto& [name, value] : call.metadata) fields.push_back(Field(name, value));
  nghttp2_data_provider provider;
  provider.source.ptr = stream.get();
  provider.read_callback = Callbacks::ReadBytes;
  const int32_t id = nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(),
                                            &provider, stream.get());
  if (id < 0) {
    // All numbers of this connection are used up.
    draining_ = true;
    context_->End(*stream, NeverSent(absl::UnavailableError(absl::StrCat(
                               "'", context_->options.address, "': ", nghttp2_strerror(id)))));
    return;
  }
  if (streams_.empty()) last_read_ = context_->now;
  stream->id = id;
  stream->connection = this;
  streams_.emplace(id, stream);
}

void ClientConnection::OnStream(const std::shared_ptr<ClientStream>& stream,
                                ClientStream::Outgoing outgoing) {
  if (outgoing.cancelled) {
    Conclude(*stream, absl::CancelledError("cancelled"));
    return;
  }
  stream->bytes.Add(std::move(outgoing.pieces));
  stream->half_closed |= outgoing.half_closed;
  if (!stream->closed && std::exchange(stream->deferred, false)) {
    (void)nghttp2_session_resume_data(session_, stream->id);
  }
  Deliver(*stream);
}

// --- Responses ---

void ClientConnection::OnHeaders(ClientStream& stream, bool ends) {
  if (stream.field_bytes > context_->options.max_metadata_bytes) {
    Conclude(stream, absl::ResourceExhaustedError(absl::StrCat("'", context_->options.address,
                                                               "' sent too large header fields")));
    return;
  }
  stream.field_bytes = 0;
  Metadata fields = std::exchange(stream.fields, {});
  if (ends) return OnEnd(stream);
  if (stream.accepted) return;  // Trailers that end nothing: nghttp2 does not let them pass.
  if (stream.http_status.starts_with('1')) return;  // Another header follows.
  if (stream.http_status != "200" || !IsGrpcContentType(stream.content_type)) {
    return OnEnd(stream);
  }
  stream.accepted = true;
  stream.handler->OnAccepted(fields);
}

void ClientConnection::OnEnd(ClientStream& stream) {
  const std::string& address = context_->options.address;
  if (stream.grpc_status.has_value()) {
    stream.end = absl::Status(static_cast<absl::StatusCode>(*stream.grpc_status),
                              *stream.grpc_status == 0 ? "" : stream.grpc_message);
  } else if (stream.http_status != "200") {
    stream.end =
        absl::Status(CodeOfHttpStatus(stream.http_status),
                     absl::StrCat("'", address, "' answered with HTTP ", stream.http_status));
  } else if (!IsGrpcContentType(stream.content_type)) {
    stream.end = absl::UnknownError(absl::StrCat("'", address, "' answered with content of type '",
                                                 stream.content_type.substr(0, 100), "'"));
  } else {
    stream.end = absl::InternalError(absl::StrCat("'", address, "' ended without a status"));
  }
  Deliver(stream);
}

void ClientConnection::Deliver(ClientStream& stream) {
  if (stream.handler == nullptr) return;
  const auto keep = stream.shared_from_this();
  while (!stream.paused()) {
    const absl::StatusOr<std::optional<std::string_view>> message = stream.reader.Next();
    if (!message.ok()) {
      return Conclude(stream, absl::Status(message.status().code(),
                                           absl::StrCat("'", context_->options.address,
                                                        "': ", message.status().message())));
    }
    if (!message->has_value()) break;
    stream.handler->OnMessage(**message);
  }
  if (stream.paused()) return;
  Consume(stream);
  if (!stream.end.has_value()) return;
  if (stream.end->ok() && stream.reader.rest() > 0) {
    stream.end = absl::InternalError(
        absl::StrCat("'", context_->options.address, "': the response ends within a message"));
  }
  Conclude(stream, *stream.end);
}

void ClientConnection::Consume(ClientStream& stream) {
  const size_t bytes = std::exchange(stream.unconsumed_bytes, 0);
  if (bytes > 0 && !stream.closed) {
    (void)nghttp2_session_consume_stream(session_, stream.id, bytes);
  }
}

void ClientConnection::Conclude(ClientStream& stream, const absl::Status& status) {
  const auto keep = stream.shared_from_this();
  Abandon(stream);
  context_->End(stream, status);
}

void ClientConnection::Abandon(ClientStream& stream) {
  if (!stream.closed) {
    (void)nghttp2_session_set_stream_user_data(session_, stream.id, nullptr);
    const bool complete =
        stream.remote_closed && nghttp2_session_get_stream_local_close(session_, stream.id) == 1;
    if (!complete) {
      (void)nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_CANCEL);
    }
  }
  kept_.push_back(stream.shared_from_this());
  streams_.erase(stream.id);
}

// --- The socket ---

void ClientConnection::OnReadable() {
  Socket::Result result;
  do {
    context_->input.resize(kReadBytes);
    result = socket_->Read(context_->input.data(), kReadBytes);
    if (result.state == Socket::State::kClosed) Fail(socket_->Why());
    if (result.state != Socket::State::kDone) return;
    last_read_ = context_->now;
    pinged_ = absl::InfiniteDuration();
    const auto* const bytes = reinterpret_cast<const uint8_t*>(context_->input.data());
    const ssize_t used = nghttp2_session_mem_recv(session_, bytes, result.bytes);
    if (used < 0) Fail(absl::StrCat("not HTTP/2: ", nghttp2_strerror(static_cast<int>(used))));
  } while (result.more && !failed_);
}

bool ClientConnection::Flush() {
  if (!failed_) {
    const Output::Result result = output_.Write(session_, *socket_, context_->output);
    begun_ |= socket_->takes_bytes();
    if (result == Output::Result::kFailed) Fail(socket_->Why());
  }
  if (!output_.clogged()) kept_.clear();
  for (const std::shared_ptr<ClientStream>& stream : std::exchange(roomy_, {})) {
    if (stream->handler != nullptr) stream->handler->OnRoom();
  }
  if (failed_) return false;
  if (output_.clogged()) return true;
  if (draining_ && streams_.empty()) return false;
  return nghttp2_session_want_read(session_) != 0 || nghttp2_session_want_write(session_) != 0;
}

uint32_t ClientConnection::WantedEvents() const {
  uint32_t events = EPOLLIN;
  if ((output_.clogged() && !socket_->write_wants_read()) || socket_->read_wants_write()) {
    events |= EPOLLOUT;
  }
  return events;
}

void ClientConnection::OnTimer(absl::Duration now) {
  const ChannelOptions& options = context_->options;
  if (!greeted_) {
    if (now >= give_up_at_) {
      Fail(absl::StrCat("no greeting within ", absl::FormatDuration(options.connect_timeout)));
    }
    return;
  }
  if (options.keepalive_interval <= absl::ZeroDuration() || streams_.empty()) return;
  if (pinged_ != absl::InfiniteDuration()) {
    if (now - pinged_ >= options.keepalive_timeout) {
      Fail(absl::StrCat("silent for ", absl::FormatDuration(now - last_read_)));
    }
  } else if (now - last_read_ >= options.keepalive_interval) {
    pinged_ = now;
    (void)nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
  }
}

}  // namespace keelson::rpc::internal
