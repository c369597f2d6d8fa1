// The body of an HTTP/1.1 message, taken out of the bytes that carry it. Pure.
//
// Boost.Beast 1.81 has a decoder too, but aborts the process on a last chunk that comes
// first and in pieces ("0 CR LF", then "CR").
#ifndef KEELSON_BASE_HTTP_INTERNAL_BODY_H_
#define KEELSON_BASE_HTTP_INTERNAL_BODY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace keelson::http::internal {

// RFC 9112, section 6.3: how a message's header frames its body.
class BodyDecoder {
 public:
  // A body of `bytes` bytes, 0 for none.
  static BodyDecoder Sized(uint64_t bytes);
  // Section 7.1. Extensions and trailer fields are skipped: 16 KiB of framing in a row
  // without a byte of the body are malformed.
  static BodyDecoder Chunked();
  // All bytes until the connection ends; never done.
  static BodyDecoder UntilEnd();

  // Takes bytes from the front of `in`, as far as they belong to the body, and appends what
  // they carry to `out`. False when they are malformed; then no more calls. Nothing that
  // was taken needs to be given again.
  bool Decode(std::string_view& in, std::string& out);

  [[nodiscard]] bool done() const { return state_ == State::kDone; }
  [[nodiscard]] bool until_end() const { return state_ == State::kUntilEnd; }

 private:
  enum class State {
    kUntilEnd,
    kSized,      // left_ bytes are the rest of the body.
    kSizeFirst,  // The first digit of a chunk's size.
    kSize,
    kExtension,  // Up to the line's CR.
    kSizeLf,
    kChunk,  // left_ bytes are the rest of the chunk.
    kChunkCr,
    kChunkLf,
    kTrailerFirst,  // The first byte of a trailer field, or the CR of the empty line.
    kTrailer,       // Up to the line's CR.
    kTrailerLf,
    kEndLf,
    kDone,
  };

  explicit BodyDecoder(State state) : state_(state) {}
  void TakeData(std::string_view& in, std::string& out);
  // One byte of what is around the chunks; false when it must not stand there.
  bool TakeFraming(char c);

  State state_;
  uint64_t left_ = 0;
  size_t framing_bytes_ = 0;  // Since the last byte of the body.
};

}  // namespace keelson::http::internal

#endif  // KEELSON_BASE_HTTP_INTERNAL_BODY_H_
