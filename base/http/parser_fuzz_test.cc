// Both parsers, fed in pieces whose size comes from the input. Whatever the cut, the same
// requests must come out. (An error may be seen earlier in a whole than in pieces.)
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/http/internal/parser.h"

namespace {

using keelson::http::internal::RequestParser;
using keelson::http::internal::ResponseParser;

// A text of all that came out, to compare.
std::string ReadRequests(std::string_view bytes, size_t piece) {
  RequestParser parser(512, 256);
  std::string outcome;
  while (!bytes.empty()) {
    parser.Feed(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    while (parser.state() == RequestParser::State::kDone) {
      const RequestParser::Parsed parsed = parser.TakeRequest();
      KEELSON_CHECK(parsed.request.body.size() <= 256);
      outcome += parsed.request.method + " " + parsed.request.target + " " + parsed.request.body;
      outcome += parsed.keep_alive ? " keep\n" : " close\n";
    }
  }
  if (parser.state() == RequestParser::State::kFailed) {
    KEELSON_CHECK(parser.error().status >= 400);
    KEELSON_CHECK(parser.buffered_bytes() == 0);
  }
  return outcome;
}

// Empty when the bytes are no response.
std::string ReadResponse(std::string_view bytes, size_t piece, bool head) {
  ResponseParser parser(head);
  std::string outcome;
  while (!bytes.empty() && !parser.done()) {
    if (!parser.Feed(bytes.substr(0, piece)).ok()) return "";
    bytes.remove_prefix(std::min(piece, bytes.size()));
    outcome += parser.TakeBody();
  }
  if (!parser.FeedEnd().ok()) return "";
  KEELSON_CHECK(parser.done() && parser.head().has_value());
  return outcome + " " + std::to_string(parser.head()->status);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t piece = 1 + data[0] % 64;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string whole = ReadRequests(bytes, bytes.size() + 1);
  const std::string pieces = ReadRequests(bytes, piece);
  KEELSON_CHECK(whole == pieces) << "whole:\n"
                                 << whole << "\npieces of " << piece << ":\n"
                                 << pieces;
  const bool head = data[0] >= 128;
  KEELSON_CHECK(ReadResponse(bytes, bytes.size() + 1, head) == ReadResponse(bytes, piece, head));
  return 0;
}
