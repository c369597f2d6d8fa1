#include "base/http/internal/parser.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <utility>

#include "base/check.h"

namespace keelson::http::internal {
namespace {

namespace beast = boost::beast;
using beast::error_code;

// A body in a string that grows with the bytes that come, never with what a header promises.
struct GrowingBody {
  using value_type = std::string;
  class reader {
   public:
    template <bool kRequest, class Fields>
    reader(beast::http::header<kRequest, Fields>&, value_type& body) : body_(body) {}
    void init(const boost::optional<uint64_t>&, error_code& error) { error = {}; }
    template <class Buffers>
    size_t put(const Buffers& buffers, error_code& error) {
      error = {};
      size_t total = 0;
      for (auto it = boost::asio::buffer_sequence_begin(buffers);
           it != boost::asio::buffer_sequence_end(buffers); ++it) {
        const boost::asio::const_buffer piece(*it);
        body_.append(static_cast<const char*>(piece.data()), piece.size());
        total += piece.size();
      }
      return total;
    }
    void finish(error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

std::string ToString(beast::string_view text) { return std::string(text.data(), text.size()); }

template <class Fields>
Headers CopyHeaders(const Fields& fields) {
  Headers headers;
  for (const auto& field : fields) {
    headers.Add(ToString(field.name_string()), ToString(field.value()));
  }
  return headers;
}

// Gives `buffer` to a Beast parser until it wants more, is done or fails, and once when
// the header becomes complete. On failure the bytes that are wrong stay in front.
template <class Parser>
error_code PutAll(Parser& parser, std::string& buffer) {
  size_t used = 0;
  error_code error;
  const bool had_header = parser.is_header_done();
  while (!parser.is_done() && used < buffer.size()) {
    used += parser.put(boost::asio::buffer(buffer.data() + used, buffer.size() - used), error);
    if (error || parser.is_header_done() != had_header) break;
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
  beast::http::request_parser<GrowingBody> parser;
};

RequestParser::RequestParser(size_t header_bytes_max, uint64_t body_bytes_max)
    : header_bytes_max_(header_bytes_max), body_bytes_max_(body_bytes_max) {}

RequestParser::~RequestParser() = default;

void RequestParser::Feed(std::string_view bytes) {
  if (state_ == State::kFailed) return;
  buffer_.append(bytes);
  if (state_ != State::kDone) Parse();
}

void RequestParser::Parse() {
  if (state_ == State::kIdle) {
    // RFC 9112, section 2.2: ignore empty lines before a request line.
    while (buffer_.starts_with("\r\n")) buffer_.erase(0, 2);
    if (buffer_.empty() || buffer_ == "\r") return;
    state_ = State::kHeader;
    impl_ = std::make_unique<Impl>();
    impl_->parser.header_limit(static_cast<uint32_t>(std::min<size_t>(header_bytes_max_, 1U << 30U)));
    impl_->parser.body_limit(body_bytes_max_);
    impl_->parser.eager(false);  // The header is checked before the body is read.
  }
  auto& parser = impl_->parser;
  while (state_ == State::kHeader || state_ == State::kBody) {
    if (buffer_.empty() && !parser.is_done()) return;
    const size_t before = buffer_.size();
    const error_code error = PutAll(parser, buffer_);
    if (error == beast::http::error::header_limit) return Fail(431, "header too large");
    if (error == beast::http::error::body_limit) return Fail(413, "body too large");
    if (error == beast::http::error::bad_version && NamesVersion(buffer_)) {
      return Fail(505, "only HTTP/1.1 is spoken here");
    }
    if (error) return Fail(400, "malformed request");
    if (state_ == State::kHeader && parser.is_header_done()) {
      state_ = State::kBody;
      CheckHeader();
      if (state_ == State::kFailed) return;  // `parser` is gone.
      parser.eager(true);
    }
    if (state_ == State::kBody && parser.is_done()) {
      state_ = State::kDone;
      wants_continue_ = false;
    } else if (buffer_.size() == before) {
      return;  // It wants more.
    }
  }
}

void RequestParser::CheckHeader() {
  const auto& message = impl_->parser.get();
  // Trailers of a chunked body would be added to the fields later; only what stands
  // before the body counts, so that nobody can slip a field past a check.
  Request& request = parsed_.request;
  request.headers = CopyHeaders(message);
  request.method = ToString(message.method_string());
  parsed_.http10 = message.version() < 11;
  parsed_.keep_alive = impl_->parser.keep_alive();

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
  if (const auto expect = request.headers.Find("Expect"); expect && !parsed_.http10) {
    if (!EqualsIgnoreCase(*expect, "100-continue")) return Fail(417, "unknown expectation");
    wants_continue_ = !impl_->parser.is_done();
  }
}

void RequestParser::Fail(int status, std::string_view text) {
  state_ = State::kFailed;
  error_ = TextResponse(status, std::string(text) + "\n");
  wants_continue_ = false;
  buffer_.clear();
  impl_.reset();
}

RequestParser::Parsed RequestParser::TakeRequest() {
  KEELSON_CHECK(state_ == State::kDone);
  Parsed parsed = std::exchange(parsed_, {});
  parsed.request.body = std::move(impl_->parser.get().body());
  impl_.reset();
  state_ = State::kIdle;
  if (!buffer_.empty()) Parse();
  return parsed;
}

struct ResponseParser::Impl {
  beast::http::response_parser<GrowingBody> parser;
};

ResponseParser::ResponseParser(bool head) : head_request_(head) {}
ResponseParser::~ResponseParser() = default;

absl::Status ResponseParser::Feed(std::string_view bytes) {
  buffer_.append(bytes);
  return Parse();
}

absl::Status ResponseParser::Parse() {
  while (!done_ && !buffer_.empty()) {
    if (!impl_) {
      impl_ = std::make_unique<Impl>();
      impl_->parser.header_limit(256 * 1024);
      impl_->parser.body_limit(boost::none);  // The client counts.
      impl_->parser.eager(true);
      impl_->parser.skip(head_request_);
    }
    auto& parser = impl_->parser;
    const size_t before = buffer_.size();
    if (const error_code error = PutAll(parser, buffer_)) {
      return absl::DataLossError("malformed response: " + error.message());
    }
    if (parser.is_header_done() && !head_) {
      const int status = static_cast<int>(parser.get().result_int());
      if (status < 200 && status != 101) {
        if (!parser.is_done()) return absl::OkStatus();
        impl_.reset();  // An interim answer: the final one follows.
        continue;
      }
      head_.emplace(Response{.status = status, .headers = CopyHeaders(parser.get())});
    }
    if (parser.is_done()) {
      done_ = true;
      keep_alive_ = parser.keep_alive() && buffer_.empty();
    }
    if (buffer_.size() == before) break;  // It wants more.
  }
  return absl::OkStatus();
}

absl::Status ResponseParser::FeedEnd() {
  if (done_) return absl::OkStatus();
  if (!impl_) return absl::DataLossError("the connection ended before the response");
  error_code error;
  if (impl_->parser.got_some()) impl_->parser.put_eof(error);
  if (error || !impl_->parser.is_done() || !head_) {
    return absl::DataLossError("the connection ended within the response");
  }
  done_ = true;
  return absl::OkStatus();
}

std::string ResponseParser::TakeBody() {
  return impl_ ? std::exchange(impl_->parser.get().body(), {}) : std::string();
}

}  // namespace keelson::http::internal
