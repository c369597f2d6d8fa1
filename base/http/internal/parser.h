// HTTP/1.1 messages from bytes, without sockets: pure state machines. Boost.Beast reads the
// headers, internal/body.h the bodies.
#ifndef KEELSON_BASE_HTTP_INTERNAL_PARSER_H_
#define KEELSON_BASE_HTTP_INTERNAL_PARSER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "base/http/internal/body.h"
#include "base/http/message.h"

namespace keelson::http::internal {

// Reads the requests of one connection, one after the other.
//
//   parser.Feed(bytes);
//   if (parser.state() == RequestParser::State::kDone) Serve(parser.TakeRequest());
//
// After TakeRequest, bytes that came behind the request are read as the next one.
class RequestParser {
 public:
  enum class State {
    kIdle,    // No byte of the next request has come.
    kHeader,  // Its header is incomplete.
    kBody,    // Its header is complete, its body is not.
    kDone,    // TakeRequest has it.
    kFailed,  // Nothing more can be read: answer error() and close.
  };

  RequestParser(size_t header_bytes_max, uint64_t body_bytes_max);
  ~RequestParser();

  // Takes bytes of the stream. In kDone and kFailed they are only stored (kDone) or dropped.
  void Feed(std::string_view bytes);

  [[nodiscard]] State state() const { return state_; }

  // In kBody: the client waits for "100 Continue" before it sends the body.
  [[nodiscard]] bool wants_continue() const { return wants_continue_; }

  // In kDone.
  struct Parsed {
    Request request;
    bool keep_alive = false;
    bool http10 = false;  // The client speaks HTTP/1.0: no chunked coding.
  };
  Parsed TakeRequest();

  // In kFailed: the answer.
  [[nodiscard]] const Response& error() const { return error_; }

  // Bytes that are stored and not read yet.
  [[nodiscard]] size_t buffered_bytes() const { return buffer_.size(); }

 private:
  void Parse();
  void ParseHeader();
  void ParseBody();
  // Checks the header that Beast has read and chooses how to read the body.
  void CheckHeader();
  void Fail(int status, std::string_view text);

  const size_t header_bytes_max_;
  const uint64_t body_bytes_max_;
  struct Impl;
  std::unique_ptr<Impl> impl_;  // While the header is read.
  BodyDecoder body_ = BodyDecoder::Sized(0);
  std::string buffer_;
  State state_ = State::kIdle;
  bool wants_continue_ = false;
  Parsed parsed_;
  Response error_;
};

// Reads the answer to one request, final after any number of 1xx.
class ResponseParser {
 public:
  // `head`: the request was HEAD, so there is no body whatever the header says.
  explicit ResponseParser(bool head);
  ~ResponseParser();

  // Takes bytes. DATA_LOSS when they are not HTTP.
  absl::Status Feed(std::string_view bytes);
  // The peer closed. DATA_LOSS when the answer is not complete.
  absl::Status FeedEnd();

  // Status and fields once the header is complete; no body.
  [[nodiscard]] const std::optional<Response>& head() const { return head_; }
  // Takes the decoded bytes of the body that have come since the last call.
  std::string TakeBody();
  [[nodiscard]] bool done() const { return done_; }
  // When done: another request may be sent on this connection.
  [[nodiscard]] bool keep_alive() const { return keep_alive_; }

 private:
  absl::Status Parse();
  absl::Status ParseHeader();
  // Takes the header that Beast has read: as the answer's, unless it is an interim one.
  absl::Status TakeHeader();

  const bool head_request_;
  struct Impl;
  std::unique_ptr<Impl> impl_;  // While a header is read.
  BodyDecoder body_ = BodyDecoder::Sized(0);
  std::string buffer_;
  std::string body_bytes_;  // Decoded, not taken yet.
  std::optional<Response> head_;
  bool done_ = false;
  bool keep_alive_ = false;
};

// "HTTP/1.1 200 OK\r\n" and the fields, each with CR, LF and NUL of its value replaced by
// spaces, without the empty line that ends a header.
std::string StatusLineAndFields(int status, const Headers& headers);
// The fields alone, in the same way.
void AppendFields(std::string& out, const Headers& headers);

// True for a token of RFC 9110: what a method or a field name may be.
bool IsToken(std::string_view text);

}  // namespace keelson::http::internal

#endif  // KEELSON_BASE_HTTP_INTERNAL_PARSER_H_
