#include "container_runtime/cgroup/internal/dbus_message.h"

#include <catch2/catch.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/testing/status_matchers.h"

namespace keelson::container {
namespace {

// Made by hand from the D-Bus Specification, "Message Format"; systemd itself reads such calls in
// systemd_root_test.cc.
TEST_CASE("A call has the bytes of the specification", "[cgroup][dbus]") {
  DBusWriter body;
  body.String("a.b");
  body.String("replace");

  const std::string bytes =
      EncodeCall({.path = "/o", .interface = "a.M", .member = "Stop", .signature = "ss"}, 7, body);

  CHECK(absl::BytesToHexString(bytes) ==
        // little-endian, call, no flags, version 1, 20 bytes of body, serial 7, 56 bytes of fields
        "6c010001140000000700000038000000"
        "01016f00020000002f6f000000000000"  // path "/o"
        "0201730003000000612e4d0000000000"  // interface "a.M"
        "030173000400000053746f7000000000"  // member "Stop"
        "0801670002737300"                  // signature "ss"
        "03000000612e6200070000007265706c61636500");
}

TEST_CASE("What is written is read", "[cgroup][dbus]") {
  DBusWriter body;
  body.Properties({{"B", true},
                   {"U", uint32_t{5}},
                   {"T", uint64_t{1} << 40},
                   {"D", 0.5},
                   {"S", std::string("text")},
                   {"AS", std::vector<std::string>{"a", "b"}},
                   {"AU", std::vector<uint32_t>{1, 2}},
                   {"AY", std::vector<uint8_t>{3}},
                   {"ASS", std::vector<std::pair<std::string, std::string>>{{"k", "v"}}},
                   {"E", std::vector<std::pair<std::string, std::string>>{}}});
  body.Uint32(0xabcd);
  const std::string bytes = EncodeCall({.member = "M", .signature = "a(sv)u"}, 9, body);

  KEELSON_ASSIGN_OR_FAIL(const DBusMessage message, DecodeDBusMessage(bytes));

  CHECK(message.member == "M");
  CHECK(message.path == "/org/freedesktop/systemd1");
  CHECK(message.signature == "a(sv)u");
  DBusReader reader(message.body);
  std::string_view signature = message.signature;
  reader.Skip(signature);
  CHECK(reader.ok());
  CHECK(signature == "u");
  CHECK(reader.Uint32() == 0xabcd);
}

TEST_CASE("A message cut anywhere, or with a byte changed, is refused or harmless",
          "[cgroup][dbus]") {
  DBusWriter body;
  body.Properties({{"AS", std::vector<std::string>{"a", "b"}}});
  const std::string bytes = EncodeCall({.member = "M", .signature = "a(sv)"}, 9, body);

  for (size_t size = 0; size < bytes.size(); ++size) {
    CHECK_FALSE(DecodeDBusMessage(std::string_view(bytes).substr(0, size)).ok());
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const char value : {'\0', '\x7f', '\xff', 'a', '(', 'v'}) {
      std::string changed = bytes;
      changed[at] = value;
      const auto message = DecodeDBusMessage(changed);
      if (!message.ok()) continue;
      DBusReader reader(message->body);
      std::string_view signature = message->signature;
      while (reader.ok() && !signature.empty()) reader.Skip(signature);
    }
  }
}

TEST_CASE("Types within one another end somewhere", "[cgroup][dbus]") {
  const std::string deep(200, 'a');
  std::string_view signature = deep;
  DBusReader reader(std::string_view("\0\0\0\0\0\0\0\0", 8));
  reader.Skip(signature);
  CHECK_FALSE(reader.ok());
}

TEST_CASE("An array of nothing ends", "[cgroup][dbus]") {
  std::string_view signature = "a()";
  DBusReader reader(std::string_view("\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16));
  reader.Skip(signature);
  CHECK_FALSE(reader.ok());
}

TEST_CASE("A message of more than 16 MiB is refused by its head", "[cgroup][dbus]") {
  std::string head = absl::HexStringToBytes("6c010001ffffffff0700000000000000");
  CHECK(DBusMessageSize(head).status().code() == absl::StatusCode::kResourceExhausted);
  head[0] = 'B';
  CHECK(DBusMessageSize(head).status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace keelson::container
