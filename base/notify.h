// Tells systemd how a Type=notify service is doing: the sd_notify protocol, one datagram to
// the socket named by $NOTIFY_SOCKET. Without that variable everything here does nothing.
//
//   (void)Notify("READY=1");                     // or "STOPPING=1", "WATCHDOG=1"
//   (void)Notify("STATUS=leader in term 7");
//
// Threading: thread-safe, as long as nobody changes the environment.
#ifndef KEELSON_BASE_NOTIFY_H_
#define KEELSON_BASE_NOTIFY_H_

#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace keelson {

// Sends `state`: assignments of sd_notify(3), separated by newlines. OK when sent or when
// nobody listens; callers may ignore an error, since the service works all the same.
//
// Errors:
//   INVALID_ARGUMENT  $NOTIFY_SOCKET is neither an absolute path nor abstract (`@name`).
//   any other         from the system.
absl::Status Notify(std::string_view state);

// How often systemd wants to hear "WATCHDOG=1" at the latest ($WATCHDOG_USEC); send it twice
// as often. Empty when it does not watch this process.
std::optional<absl::Duration> WatchdogInterval();

}  // namespace keelson

#endif  // KEELSON_BASE_NOTIFY_H_
