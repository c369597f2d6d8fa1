// The sockets by which a runtime hands descriptors to whoever started it.
#ifndef KEELSON_CONTAINER_RUNTIME_RUNTIME_SOCKETS_H_
#define KEELSON_CONTAINER_RUNTIME_RUNTIME_SOCKETS_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace keelson::container {

// Connects to the stream socket at `path`.
absl::StatusOr<UniqueFd> ConnectSocket(const std::string& path);

// Sends `fd` with `text` in one message.
absl::Status SendFd(int socket, int fd, std::string_view text);

// Takes one descriptor from a message.
absl::StatusOr<UniqueFd> ReceiveFd(int socket);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_RUNTIME_SOCKETS_H_
