#include "base/http/internal/parser.h"

#include <algorithm>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <utility>

#include "base/check.h"
#include "base/status.h"

namespace keelson::http::internal {
namespace {

namespace beast = boost::beast;
using beast::error_code;

constexpr uint32_t kResponseHeaderBytesMax = 256 * 1024;

std::string ToString(beast::string_view text) { return std::string(text.data(), text.size()); }

template <class Fields>
Headers CopyHeaders(const Fields& fields) {
  Headers headers;
  for (const auto& field : fields) {
    headers.Add(ToString(field.name_string()), ToString(field.value()));
  }
  return headers;
}

// Gives `buffer` to a Beast parser until the header is complete or it fails or wants more.
// On failure the bytes that are wrong stay in front.
template <class Parser>
error_code PutHeader(Parser& parser, std::string& buffer) {
  size_t used = 0;
  error_code error;
  while (!error && !parser.is_header_done() && used < buffer.size()) {
    const auto rest = boost::asio::buffer(buffer.data() + used, buffer.size() - used);
    const size_t taken = parser.put(rest, error);
    if (taken == 0) break;
    used += taken;
  }
  buffer.erase(0, used);
  return error == beast::http::error::need_more ? error_code() : error;
}

// True when the first line ends in " HTTP/1.7" or the like: another version, well-formed.
bool NamesVersion(std::string_view bytes) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  std::string_view line = bytes.substr(0, bytes.find("\r\n"));
  if (std::count(line.begin(), line.end(), ' ') != 2) return false;
  line = line.substr(std::min(line.size(), line.rfind(' ') + 1));
  return line.size() == 8 && line.starts_with("HTTP/") && digit(line[5]) && line[6] == '.' &&
         digit(line[7]);
}

// Turns "http://host/path", which proxies are sent, into "/path".
std::optional<std::string> OriginForm(std::string target) {
  if (target.starts_with('/') || target == "*") return target;
  const size_t scheme = target.find("://");
  if (scheme == std::string::npos || !target.starts_with("http")) return std::nullopt;
  const size_t path = target.find_first_of("/?", scheme + 3);
  if (path == std::string::npos) return "/";
  return target[path] == '/' ? target.substr(path) : "/" + target.substr(path);
}

}  // namespace

bool IsToken(std::string_view text) {
  static constexpr std::string_view kOther = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kOther.find(c) != std::string_view::npos;
  });
}

void AppendFields(std::string& out, const Headers& headers) {
  for (const Header& field : headers.fields()) {
    if (!IsToken(field.name)) continue;
    out.append(field.name).append(": ");
    for (const char c : field.value) out += c == '\r' || c == '\n' || c == '\0' ? ' ' : c;
    out += "\r\n";
  }
}

std::string StatusLineAndFields(int status, const Headers& headers) {
  std::string out = "HTTP/1.1 " + std::to_string(status) + " ";
  out.append(ReasonOf(status)).append("\r\n");
  AppendFields(out, headers);
  return out;
}

struct RequestParser::Impl {
  beast::http::request_parser<beast::http::empty_body> parser;
};

RequestParser::RequestParser(size_t header_bytes_max, uint64_t body_bytes_max)
    : header_bytes_max_(header_bytes_max), body_bytes_max_(body_bytes_max) {}

RequestParser::~RequestParser() = default;

void RequestParser::Feed(std::string_view bytes) {
  if (state_ == State::kFailed) return;
  buffer_.append(bytes);
  Parse();
}

void RequestParser::Parse() {
  if (state_ == State::kIdle) {
    // RFC 9112, section 2.2: ignore empty lines before a request line.
    while (buffer_.starts_with("\r\n")) buffer_.erase(0, 2);
    if (buffer_.empty() || buffer_ == "\r") return;
    state_ = State::kHeader;
    impl_ = std::make_unique<Impl>();
    const size_t limit = std::min<size_t>(header_bytes_max_, 1U << 30U);
    impl_->parser.header_limit(static_cast<uint32_t>(limit));
    impl_->parser.body_limit(boost::none);  // Checked below.
    impl_->parser.eager(false);             // Stops behind the header.
  }
  if (state_ == State::kHeader) ParseHeader();
  if (state_ == State::kBody) ParseBody();
}

void RequestParser::ParseHeader() {
  const error_code error = PutHeader(impl_->parser, buffer_);
  if (error == beast::http::error::header_limit) return Fail(431, "header too large");
  if (error == beast::http::error::bad_version && NamesVersion(buffer_)) {
    return Fail(505, "only HTTP/1.1 is spoken here");
  }
  if (error) return Fail(400, "malformed request");
  if (impl_->parser.is_header_done()) CheckHeader();
}

void RequestParser::ParseBody() {
  std::string& body = parsed_.request.body;
  std::string_view rest = buffer_;
  const bool well_formed = body_.Decode(rest, body);
  buffer_.erase(0, buffer_.size() - rest.size());
  if (!well_formed) return Fail(400, "malformed body");
  if (body.size() > body_bytes_max_) return Fail(413, "body too large");
  if (!body_.done()) return;
  state_ = State::kDone;
  wants_continue_ = false;
}

void RequestParser::CheckHeader() {
  const auto& message = impl_->parser.get();
  Request& request = parsed_.request;
  request.headers = CopyHeaders(message);
  request.method = ToString(message.method_string());
  parsed_.http10 = message.version() < 11;
  parsed_.keep_alive = message.keep_alive();

  std::optional<std::string> target = OriginForm(ToString(message.target()));
  if (!target && request.method != "CONNECT") return Fail(400, "malformed request target");
  request.target = target ? std::move(*target) : ToString(message.target());

  const size_t hosts = request.headers.FindAll("Host").size();
  if (hosts > 1 || (hosts == 0 && !parsed_.http10)) return Fail(400, "one Host field is needed");
  // A coding we do not know, or chunked not in the last place, leaves the end of the body
  // unknown; guessing is how requests are smuggled (RFC 9112, section 6.3).
  const auto codings = request.headers.FindAll("Transfer-Encoding");
  if (!codings.empty()) {
    if (parsed_.http10) return Fail(400, "Transfer-Encoding in HTTP/1.0");
    if (codings.size() > 1 || !EqualsIgnoreCase(codings[0], "chunked")) {
      return Fail(501, "unknown transfer coding");
    }
    if (request.headers.Find("Content-Length")) return Fail(400, "two lengths of one body");
  }
  if (request.headers.FindAll("Content-Length").size() > 1) {
    return Fail(400, "two lengths of one body");
  }
  const uint64_t length = impl_->parser.content_length().value_or(0);
  if (length > body_bytes_max_) return Fail(413, "body too large");
  body_ = codings.empty() ? BodyDecoder::Sized(length) : BodyDecoder::Chunked();
  if (const auto expect = request.headers.Find("Expect"); expect && !parsed_.http10) {
    if (!EqualsIgnoreCase(*expect, "100-continue")) return Fail(417, "unknown expectation");
    wants_continue_ = !body_.done();
  }
  state_ = State::kBody;
  impl_.reset();
}

void RequestParser::Fail(int status, std::string_view text) {
  state_ = State::kFailed;
  error_ = TextResponse(status, std::string(text) + "\n");
  wants_continue_ = false;
  buffer_.clear();
  parsed_ = {};
  impl_.reset();
}

RequestParser::Parsed RequestParser::TakeRequest() {
  KEELSON_CHECK(state_ == State::kDone);
  Parsed parsed = std::exchange(parsed_, {});
  state_ = State::kIdle;
  if (!buffer_.empty()) Parse();
  return parsed;
}

struct ResponseParser::Impl {
  beast::http::response_parser<beast::http::empty_body> parser;
};

ResponseParser::ResponseParser(bool head) : head_request_(head) {}
ResponseParser::~ResponseParser() = default;

absl::Status ResponseParser::Feed(std::string_view bytes) {
  buffer_.append(bytes);
  return Parse();
}

absl::Status ResponseParser::Parse() {
  while (!head_ && !buffer_.empty()) {
    KEELSON_RETURN_IF_ERROR(ParseHeader());
    if (impl_) return absl::OkStatus();  // It wants more.
  }
  if (!head_ || done_) return absl::OkStatus();
  std::string_view rest = buffer_;
  const bool well_formed = body_.Decode(rest, body_bytes_);
  buffer_.erase(0, buffer_.size() - rest.size());
  if (!well_formed) return absl::DataLossError("malformed response: its chunks");
  if (body_.done()) {
    done_ = true;
    keep_alive_ = keep_alive_ && buffer_.empty();  // Nobody asked for more.
  }
  return absl::OkStatus();
}

absl::Status ResponseParser::ParseHeader() {
  if (!impl_) {
    impl_ = std::make_unique<Impl>();
    impl_->parser.header_limit(kResponseHeaderBytesMax);
    impl_->parser.body_limit(boost::none);  // The client counts.
    impl_->parser.eager(false);             // Stops behind the header.
  }
  if (const error_code error = PutHeader(impl_->parser, buffer_)) {
    return absl::DataLossError("malformed response: " + error.message());
  }
  return impl_->parser.is_header_done() ? TakeHeader() : absl::OkStatus();
}

absl::Status ResponseParser::TakeHeader() {
  const std::unique_ptr<Impl> read = std::move(impl_);
  const auto& message = read->parser.get();
  const int status = static_cast<int>(message.result_int());
  if (status < 200 && status != 101) return absl::OkStatus();  // Interim: the final one follows.
  Headers headers = CopyHeaders(message);
  const auto codings = headers.FindAll("Transfer-Encoding");
  const auto length = read->parser.content_length();
  if (codings.size() > 1 || (!codings.empty() && !EqualsIgnoreCase(codings[0], "chunked"))) {
    return absl::DataLossError("malformed response: a transfer coding nobody asked for");
  }
  // What has no body is framed by that, whatever its fields say (RFC 9112, section 6.3).
  const bool no_body = head_request_ || status < 200 || status == 204 || status == 304;
  keep_alive_ = message.keep_alive();
  if (no_body) {
    body_ = BodyDecoder::Sized(0);
  } else if (!codings.empty()) {
    body_ = BodyDecoder::Chunked();
  } else if (length) {
    body_ = BodyDecoder::Sized(*length);
  } else {
    body_ = BodyDecoder::UntilEnd();
    keep_alive_ = false;
  }
  head_.emplace(Response{.status = status, .headers = std::move(headers)});
  return absl::OkStatus();
}

absl::Status ResponseParser::FeedEnd() {
  if (done_) return absl::OkStatus();
  if (!head_ && !impl_) return absl::DataLossError("the connection ended before the response");
  if (!head_ || !body_.until_end()) {
    return absl::DataLossError("the connection ended within the response");
  }
  done_ = true;
  return absl::OkStatus();
}

std::string ResponseParser::TakeBody() { return std::exchange(body_bytes_, {}); }

}  // namespace keelson::http::internal
