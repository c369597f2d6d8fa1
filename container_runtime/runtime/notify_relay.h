// sd_notify(3) for containers: a socket that the container's program finds, whose READY=1 is handed on to
// the service manager that started us.
#ifndef KEELSON_CONTAINER_RUNTIME_RUNTIME_NOTIFY_RELAY_H_
#define KEELSON_CONTAINER_RUNTIME_RUNTIME_NOTIFY_RELAY_H_

#include <sys/types.h>

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace keelson::container {

// The folder of a container's state that is mounted into it, and the socket's name there.
inline constexpr const char* kNotifyFolder = "notify";

class NotifyRelay {
 public:
  // Binds the socket in `folder`, in the place of one that may be there. Messages go to `manager`, the
  // manager's $NOTIFY_SOCKET: a path, or a name of the abstract kind that begins with "@".
  static absl::StatusOr<NotifyRelay> Open(const std::string& folder, std::string manager);

  // Readable when there is a message.
  [[nodiscard]] int fd() const { return socket_.get(); }

  // Takes the messages that are there. True when one was READY=1, which the manager has been told,
  // with `main_pid`. A manager that does not listen is no reason to stop the container.
  bool Take(pid_t main_pid);

  // Until READY=1 or the end of the process of `pidfd`, whose number is `main_pid`.
  absl::Status AwaitReady(int pidfd, pid_t main_pid);

 private:
  NotifyRelay(UniqueFd socket, std::string manager)
      : socket_(std::move(socket)), manager_(std::move(manager)) {}

  UniqueFd socket_;
  std::string manager_;
};

// Whether one of the lines of `message` says that the program is ready.
bool SaysReady(std::string_view message);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_RUNTIME_NOTIFY_RELAY_H_
