#include "base/http/internal/body.h"

#include <algorithm>

namespace keelson::http::internal {
namespace {

constexpr size_t kFramingBytesMax = 16 * 1024;

// -1 for what is no hexadecimal digit.
int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// What may stand in an extension or a trailer field.
bool IsText(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return c == '\t' || (byte >= 0x20 && byte != 0x7F);
}

}  // namespace

BodyDecoder BodyDecoder::Sized(uint64_t bytes) {
  BodyDecoder decoder(bytes == 0 ? State::kDone : State::kSized);
  decoder.left_ = bytes;
  return decoder;
}

BodyDecoder BodyDecoder::Chunked() { return BodyDecoder(State::kSizeFirst); }

BodyDecoder BodyDecoder::UntilEnd() { return BodyDecoder(State::kUntilEnd); }

bool BodyDecoder::Decode(std::string_view& in, std::string& out) {
  while (!in.empty() && state_ != State::kDone) {
    if (state_ == State::kUntilEnd || state_ == State::kSized || state_ == State::kChunk) {
      TakeData(in, out);
      continue;
    }
    if (++framing_bytes_ > kFramingBytesMax || !TakeFraming(in.front())) return false;
    in.remove_prefix(1);
  }
  return true;
}

void BodyDecoder::TakeData(std::string_view& in, std::string& out) {
  framing_bytes_ = 0;
  if (state_ == State::kUntilEnd) {
    out.append(in);
    in = {};
    return;
  }
  const auto size = static_cast<size_t>(std::min<uint64_t>(left_, in.size()));
  out.append(in.substr(0, size));
  in.remove_prefix(size);
  left_ -= size;
  if (left_ == 0) state_ = state_ == State::kChunk ? State::kChunkCr : State::kDone;
}

bool BodyDecoder::TakeFraming(char c) {
  // Goes on with `next` if the byte is the one that must come.
  const auto expect = [&](char wanted, State next) {
    state_ = next;
    return c == wanted;
  };
  switch (state_) {
    case State::kSizeFirst:
      left_ = 0;
      state_ = State::kSize;
      if (HexValue(c) < 0) return false;
      [[fallthrough]];
    case State::kSize:
      if (const int digit = HexValue(c); digit >= 0) {
        if (left_ >> 60U != 0) return false;  // The next digit would not fit in 64 bits.
        left_ = left_ << 4U | static_cast<uint64_t>(digit);
        return true;
      }
      if (c != ';' && c != ' ' && c != '\t') return expect('\r', State::kSizeLf);
      state_ = State::kExtension;
      return true;
    case State::kExtension:
      return IsText(c) || expect('\r', State::kSizeLf);
    case State::kSizeLf:
      return expect('\n', left_ == 0 ? State::kTrailerFirst : State::kChunk);
    case State::kChunkCr:
      return expect('\r', State::kChunkLf);
    case State::kChunkLf:
      return expect('\n', State::kSizeFirst);
    case State::kTrailerFirst:
      if (!IsText(c)) return expect('\r', State::kEndLf);
      state_ = State::kTrailer;
      return true;
    case State::kTrailer:
      return IsText(c) || expect('\r', State::kTrailerLf);
    case State::kTrailerLf:
      return expect('\n', State::kTrailerFirst);
    case State::kEndLf:
      return expect('\n', State::kDone);
    case State::kUntilEnd:
    case State::kSized:
    case State::kChunk:
    case State::kDone:
      break;
  }
  return false;
}

}  // namespace keelson::http::internal
