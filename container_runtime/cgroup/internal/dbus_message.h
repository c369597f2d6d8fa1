// Messages of D-Bus on the wire (D-Bus Specification, "Message Protocol"), little-endian, as far as talking to
// systemd needs them. Pure.
//
//   DBusWriter body;
//   body.String("a.scope");
//   body.String("replace");
//   std::string bytes = EncodeCall({.member = "StopUnit", .signature = "ss"}, 7, body);
#ifndef KEELSON_CONTAINER_RUNTIME_CGROUP_INTERNAL_DBUS_MESSAGE_H_
#define KEELSON_CONTAINER_RUNTIME_CGROUP_INTERNAL_DBUS_MESSAGE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "container_runtime/cgroup/unit_property.h"

namespace keelson::container {

// Appends values with the alignment of the wire; the caller keeps to the signature.
class DBusWriter {
 public:
  void Byte(uint8_t value) { bytes_ += static_cast<char>(value); }
  void Bool(bool value) { Uint32(value ? 1 : 0); }
  void Uint32(uint32_t value);
  void Uint64(uint64_t value);
  void String(std::string_view value);  // also object paths
  void Signature(std::string_view value);
  void Align(size_t boundary);
  void Variant(const UnitValue& value);
  // a(sv)
  void Properties(const std::vector<UnitProperty>& properties);

  // An array: `mark = BeginArray(8)`, elements, `EndArray(mark)`. `alignment` is that of an element.
  size_t BeginArray(size_t alignment);
  void EndArray(size_t mark);

  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
  std::vector<size_t> starts_;  // of the arrays that are open: where their elements begin
};

struct DBusCall {
  std::string destination;  // empty: the other end of a private connection
  std::string path = "/org/freedesktop/systemd1";
  std::string interface = "org.freedesktop.systemd1.Manager";
  std::string member;
  std::string signature;
};
std::string EncodeCall(const DBusCall& call, uint32_t serial, const DBusWriter& body);

struct DBusMessage {
  enum Type { kCall = 1, kReturn = 2, kError = 3, kSignal = 4 };
  int type = 0;
  uint32_t reply_serial = 0;
  std::string path, interface, member, error_name, signature;
  std::string body;
};

// The size of the whole message that begins with `head` (at least kDBusHeadBytes).
// Errors: INVALID_ARGUMENT not a message; RESOURCE_EXHAUSTED above kDBusMessageMax.
inline constexpr size_t kDBusHeadBytes = 16;
inline constexpr size_t kDBusMessageMax = 1 << 24;
absl::StatusOr<size_t> DBusMessageSize(std::string_view head);

// Errors: INVALID_ARGUMENT with the place where it is no message.
absl::StatusOr<DBusMessage> DecodeDBusMessage(std::string_view bytes);

// Reads values of a body; every call fails after the first failure.
class DBusReader {
 public:
  explicit DBusReader(std::string_view bytes) : bytes_(bytes) {}
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] size_t position() const { return at_; }
  uint8_t Byte();
  uint32_t Uint32();
  uint64_t Uint64();
  std::string String();
  std::string Signature();
  void Align(size_t boundary);
  // Passes over one value of the type at the beginning of `signature`, which loses it.
  void Skip(std::string_view& signature, int depth = 0);

 private:
  bool Need(size_t bytes);
  void SkipStruct(char end, std::string_view& signature, int depth);
  void SkipArray(std::string_view& signature, int depth);
  // Passes over a type without a value, for an array without elements.
  void SkipType(std::string_view& signature, int depth);
  std::string_view bytes_;
  size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CGROUP_INTERNAL_DBUS_MESSAGE_H_
