#include "base/rpc/internal/wire.h"

#include <catch2/catch.hpp>

#include <vector>

#include "base/testing/status_matchers.h"

namespace keelson::rpc::internal {
namespace {

std::string Framed(std::string_view message) {
  return MessagePrefix(message.size()).append(message);
}

// All messages of `bytes`, which come `step` at a time.
std::vector<std::string> Cut(std::string_view bytes, size_t step) {
  MessageReader reader(1000);
  std::vector<std::string> messages;
  while (!bytes.empty()) {
    reader.Add(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
    while (true) {
      KEELSON_ASSIGN_OR_FAIL(const std::optional<std::string_view> message, reader.Next());
      if (!message.has_value()) break;
      messages.emplace_back(*message);
    }
  }
  CHECK(reader.rest() == 0);
  return messages;
}

TEST_CASE("A stream of bytes is cut into messages, however it comes", "[rpc][wire]") {
  const std::vector<std::string> messages = {"", "a", std::string(300, 'b'), "",
                                             std::string(1000, 'c')};
  std::string bytes;
  for (const std::string& message : messages) bytes += Framed(message);

  for (size_t step = 1; step <= bytes.size(); ++step) {
    CAPTURE(step);
    CHECK(Cut(bytes, step) == messages);
  }
}

TEST_CASE("A prefix has the length in network order", "[rpc][wire]") {
  CHECK(MessagePrefix(0x01020304) == std::string("\0\x01\x02\x03\x04", 5));
}

TEST_CASE("What is no message of ours is refused, again and again", "[rpc][wire]") {
  std::string bytes = Framed("x");
  absl::StatusCode code = absl::StatusCode::kOk;
  SECTION("compressed") {
    bytes[0] = 1;
    code = absl::StatusCode::kUnimplemented;
  }
  SECTION("an unknown flag") {
    bytes[0] = 2;
    code = absl::StatusCode::kInternal;
  }
  SECTION("too long, as soon as the length is there") {
    bytes = MessagePrefix(1001);
    code = absl::StatusCode::kResourceExhausted;
  }
  MessageReader reader(1000);
  reader.Add(bytes);
  CHECK(reader.Next().status().code() == code);
  reader.Add("more");
  CHECK(reader.Next().status().code() == code);
}

TEST_CASE("Timeouts have up to eight digits and a unit", "[rpc][wire]") {
  CHECK(ParseTimeout("5S") == absl::Seconds(5));
  CHECK(ParseTimeout("99999999H") == absl::Hours(99999999));
  CHECK(ParseTimeout("2M") == absl::Minutes(2));
  CHECK(ParseTimeout("30m") == absl::Milliseconds(30));
  CHECK(ParseTimeout("7u") == absl::Microseconds(7));
  CHECK(ParseTimeout("0n") == absl::ZeroDuration());
  for (const char* bad : {"", "S", "5", "5s", "123456789S", "-1S", "1.5S", " 5S", "5S "}) {
    CAPTURE(bad);
    CHECK_FALSE(ParseTimeout(bad).has_value());
  }
}

TEST_CASE("Status messages are printable on the wire", "[rpc][wire]") {
  CHECK(EncodeStatusMessage("etcdserver: no leader") == "etcdserver: no leader");
  CHECK(EncodeStatusMessage("100%\n\xc3\xa9~") == "100%25%0A%C3%A9~");
}

TEST_CASE("Content types of gRPC with protobuf are known", "[rpc][wire]") {
  for (const char* good : {"application/grpc", "application/grpc+proto", "application/grpc;x=y",
                           "application/grpc+proto;x=y"}) {
    CAPTURE(good);
    CHECK(IsGrpcContentType(good));
  }
  for (const char* bad :
       {"", "application/json", "application/grpc-web", "application/grpc+json"}) {
    CAPTURE(bad);
    CHECK_FALSE(IsGrpcContentType(bad));
  }
}

TEST_CASE("A timeout that is sent is read as the same or a little more", "[rpc][wire]") {
  const auto timeout =
      GENERATE(absl::Nanoseconds(1), absl::Nanoseconds(99'999'999), absl::Nanoseconds(100'000'001),
               absl::Milliseconds(1500), absl::Hours(3), absl::Hours(24 * 365 * 100));
  CAPTURE(absl::FormatDuration(timeout));
  const std::optional<absl::Duration> read = ParseTimeout(FormatTimeout(timeout));
  REQUIRE(read.has_value());
  CHECK(*read >= timeout);
  CHECK(*read <= timeout + timeout / 1000 + absl::Nanoseconds(1));
  CHECK(FormatTimeout(-absl::Seconds(1)) == "1n");
}

TEST_CASE("A status message survives its encoding, and what is none stays as it is",
          "[rpc][wire]") {
  for (const std::string& message :
       {std::string("plain"), std::string("100 % \n\0 \xff", 10), std::string("\xc3\xa9")}) {
    CHECK(DecodeStatusMessage(EncodeStatusMessage(message)) == message);
  }
  for (const char* bad : {"%", "%4", "a%zz", "%g1", "%1"}) CHECK(DecodeStatusMessage(bad) == bad);
  CHECK(DecodeStatusMessage("%e2%82%AC") == "\xe2\x82\xac");
}

}  // namespace
}  // namespace keelson::rpc::internal
