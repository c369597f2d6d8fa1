// An HTTP/2 client that says what a test wants said, for what a proper gRPC client never does.
// Each wait fails the test after 30 seconds.
#ifndef KEELSON_BASE_RPC_TESTING_HTTP2_CLIENT_H_
#define KEELSON_BASE_RPC_TESTING_HTTP2_CLIENT_H_

#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/unique_fd.h"

namespace keelson::testing {

class Http2Client {
 public:
  using Headers = std::vector<std::pair<std::string, std::string>>;

  // What has come for one request.
  struct Reply {
    std::map<std::string, std::string> headers;  // Trailers included.
    std::string body;
    bool closed = false;
    uint32_t error = 0;  // Of the RST_STREAM.
  };

  explicit Http2Client(UniqueFd fd) : fd_(std::move(fd)) {
    nghttp2_session_callbacks* callbacks = nullptr;
    REQUIRE(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnClose);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
    nghttp2_option* option = nullptr;
    REQUIRE(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_http_messaging(option, 1);
    REQUIRE(nghttp2_session_client_new2(&session_, callbacks, this, option) == 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    REQUIRE(nghttp2_submit_settings(session_, 0, nullptr, 0) == 0);
    Write();
  }
  ~Http2Client() { nghttp2_session_del(session_); }
  Http2Client(const Http2Client&) = delete;
  Http2Client& operator=(const Http2Client&) = delete;

  // The header fields of a gRPC call, `more` added or put in the place of those of the same name.
  static Headers CallHeaders(const std::string& path, const Headers& more = {}) {
    Headers headers = {{":method", "POST"},
                       {":scheme", "http"},
                       {":path", path},
                       {":authority", "test"},
                       {"content-type", "application/grpc"},
                       {"te", "trailers"}};
    for (const auto& field : more) {
      std::erase_if(headers, [&](const auto& each) { return each.first == field.first; });
      headers.push_back(field);
    }
    return headers;
  }
  static std::string Frame(std::string_view message, char flag = 0) {
    std::string bytes(5, '\0');
    bytes[0] = flag;
    bytes[3] = static_cast<char>(message.size() >> 8);
    bytes[4] = static_cast<char>(message.size());
    return bytes.append(message);
  }

  // Sends header fields and a body; `ends`: and no more.
  int32_t Request(const Headers& headers, std::string body, bool ends = true) {
    std::vector<nghttp2_nv> fields;
    for (const auto& [name, value] : headers) {
      fields.push_back({Bytes(name), Bytes(value), name.size(), value.size(), 0});
    }
    bodies_.push_back(std::make_unique<Body>(Body{std::move(body), 0, ends}));
    nghttp2_data_provider provider;
    provider.source.ptr = bodies_.back().get();
    provider.read_callback = ReadBody;
    const int32_t id =
        nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), &provider, nullptr);
    REQUIRE(id > 0);
    Write();
    return id;
  }
  void Reset(int32_t id) {
    REQUIRE(nghttp2_submit_rst_stream(session_, 0, id, NGHTTP2_CANCEL) == 0);
    Write();
  }
  void Ping() {
    REQUIRE(nghttp2_submit_ping(session_, 0, nullptr) == 0);
    Write();
  }

  // Reads and answers what HTTP/2 wants answered, until `done`.
  void ReadUntil(const std::function<bool()>& done) {
    while (!done()) {
      pollfd poll{.fd = fd_.get(), .events = POLLIN, .revents = 0};
      REQUIRE(::poll(&poll, 1, 30'000) == 1);
      char buffer[16 << 10];
      const ssize_t size = ::recv(fd_.get(), buffer, sizeof(buffer), 0);
      if (size <= 0) {
        disconnected_ = true;
        REQUIRE(done());
        return;
      }
      REQUIRE(nghttp2_session_mem_recv(session_, reinterpret_cast<uint8_t*>(buffer),
                                       static_cast<size_t>(size)) == size);
      if (answering_) Write();
    }
  }
  const Reply& ReadReply(int32_t id) {
    ReadUntil([&] { return replies_[id].closed; });
    return replies_[id];
  }
  void ReadUntilDisconnected() {
    ReadUntil([&] { return disconnected_; });
  }

  // From now on nothing is written: no answers to pings either.
  void StopAnswering() { answering_ = false; }
  // Of the GOAWAY that has come: the error, and the text with it.
  [[nodiscard]] const std::pair<uint32_t, std::string>& goaway() const { return goaway_; }
  Reply& reply(int32_t id) { return replies_[id]; }

 private:
  struct Body {
    std::string bytes;
    size_t position;
    bool ends;
  };

  static uint8_t* Bytes(const std::string& text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  }
  static Http2Client& Self(void* user) { return *static_cast<Http2Client*>(user); }

  static ssize_t ReadBody(nghttp2_session*, int32_t, uint8_t* buffer, size_t size, uint32_t* flags,
                          nghttp2_data_source* source, void*) {
    auto& body = *static_cast<Body*>(source->ptr);
    const size_t part = std::min(size, body.bytes.size() - body.position);
    std::copy_n(body.bytes.data() + body.position, part, buffer);
    body.position += part;
    if (body.position == body.bytes.size()) {
      if (part == 0 && !body.ends) return NGHTTP2_ERR_DEFERRED;
      if (body.ends) *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return static_cast<ssize_t>(part);
  }
  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                      void* user) {
    Self(user).replies_[frame->hd.stream_id].headers[std::string(name, name + name_size)] =
        std::string(value, value + value_size);
    return 0;
  }
  static int OnData(nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size,
                    void* user) {
    Self(user).replies_[id].body.append(data, data + size);
    return 0;
  }
  static int OnClose(nghttp2_session*, int32_t id, uint32_t error, void* user) {
    Self(user).replies_[id].closed = true;
    Self(user).replies_[id].error = error;
    return 0;
  }
  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_GOAWAY) return 0;
    const uint8_t* const text = frame->goaway.opaque_data;
    Self(user).goaway_ = {frame->goaway.error_code,
                          std::string(text, text + frame->goaway.opaque_data_len)};
    return 0;
  }

  void Write() {
    const uint8_t* data = nullptr;
    ssize_t size = 0;
    while ((size = nghttp2_session_mem_send(session_, &data)) > 0) {
      // The server may be gone already; then the next read says so.
      while (size > 0) {
        const ssize_t sent = ::send(fd_.get(), data, static_cast<size_t>(size), MSG_NOSIGNAL);
        if (sent <= 0) return;
        data += sent;
        size -= sent;
      }
    }
  }

  const UniqueFd fd_;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, Reply> replies_;
  std::vector<std::unique_ptr<Body>> bodies_;
  std::pair<uint32_t, std::string> goaway_;
  bool disconnected_ = false;
  bool answering_ = true;
};

}  // namespace keelson::testing

#endif  // KEELSON_BASE_RPC_TESTING_HTTP2_CLIENT_H_
