// The first and only process of a test machine: says on the console that it runs, and with which
// command line, then does what the command line asks: keelson.then=reboot, else powers off.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace {

// Answers with an empty text for a file that is not there.
const char* ReadOnce(const char* path, char* buffer, size_t size) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t got = fd < 0 ? 0 : ::read(fd, buffer, size - 1);
  buffer[got > 0 ? got : 0] = '\0';
  buffer[std::strcspn(buffer, "\n")] = '\0';
  return buffer;
}

}  // namespace

int main() {
  (void)::mkdir("/proc", 0755);  // It may be there.
  (void)::mount("proc", "/proc", "proc", 0, nullptr);
  char cmdline[4096];
  const char* text = ReadOnce("/proc/cmdline", cmdline, sizeof(cmdline));
  std::printf("\nKEELSON-INIT %s KEELSON-END\n", text);
  (void)std::fflush(stdout);
  (void)::sync();
  const bool again = std::strstr(text, "keelson.then=reboot") != nullptr;
  (void)::reboot(again ? RB_AUTOBOOT : RB_POWER_OFF);
  return 1;  // The kernel panics, which the test sees.
}
