// Whatever systemd, or whoever sits on its socket, sends: decoding ends, and never reads outside.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "container_runtime/cgroup/internal/dbus_message.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace container = keelson::container;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto message = container::DecodeDBusMessage(bytes);
  if (!message.ok()) return 0;
  container::DBusReader reader(message->body);
  std::string_view signature = message->signature;
  while (reader.ok() && !signature.empty()) reader.Skip(signature);
  return 0;
}
