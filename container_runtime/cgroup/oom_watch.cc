#include "container_runtime/cgroup/oom_watch.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace keelson::container {
namespace {

// The number after "oom_kill " in memory.oom_control (v1) or memory.events (v2).
absl::StatusOr<uint64_t> ReadKills(int fd, const std::string& path) {
  char buffer[1024];
  const ssize_t n = ::pread(fd, buffer, sizeof buffer, 0);
  if (n < 0 && (errno == ENODEV || errno == ENOENT)) {
    return absl::NotFoundError(absl::StrCat("cgroup '", path, "' is gone"));
  }
  if (n < 0) return ErrnoError(errno, absl::StrCat("read OOM events of cgroup '", path, "'"));
  for (absl::string_view line :
       absl::StrSplit(absl::string_view(buffer, static_cast<size_t>(n)), '\n')) {
    uint64_t count = 0;
    if (absl::ConsumePrefix(&line, "oom_kill ") && absl::SimpleAtoi(line, &count)) return count;
  }
  // A kernel before 4.13 does not count; the notice itself is then all there is.
  return absl::UnimplementedError("no oom_kill count");
}

class Watch final : public OomWatch {
 public:
  Watch(UniqueFd counts, UniqueFd event, std::string path, uint64_t seen)
      : counts_(std::move(counts)), event_(std::move(event)), path_(std::move(path)), seen_(seen) {}

  // v1: the eventfd. v2: the file itself, of which kernfs announces changes as EPOLLPRI.
  int fd() const override { return event_.ok() ? event_.get() : counts_.get(); }
  uint32_t poll_events() const override { return event_.ok() ? EPOLLIN : EPOLLPRI; }

  absl::StatusOr<uint64_t> Take() override {
    uint64_t notices = 0;
    if (event_.ok() && ::read(event_.get(), &notices, sizeof notices) < 0 && errno != EAGAIN) {
      return ErrnoError(errno, absl::StrCat("read the OOM eventfd of cgroup '", path_, "'"));
    }
    const absl::StatusOr<uint64_t> kills = ReadKills(counts_.get(), path_);
    if (absl::IsUnimplemented(kills.status())) return notices;
    if (!kills.ok()) return kills.status();
    const uint64_t news = *kills - seen_;
    seen_ = *kills;
    // v1 announces that the group is under OOM, also when nothing is killed because the killer is
    // switched off; that is an event as well.
    return news > 0 ? news : notices;
  }

 private:
  UniqueFd counts_, event_;
  const std::string path_;
  uint64_t seen_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<OomWatch>> NewOomWatch(CgroupSystem& system, int folder,
                                                      bool unified, const std::string& path) {
  const std::string file = unified ? "memory.events" : "memory.oom_control";
  const auto error = [&](int number, const std::string& what) {
    return ErrnoError(number, absl::StrCat(what, " '", file, "' of cgroup '", path, "'"));
  };
  const int opened = system.OpenFile(folder, file, O_RDONLY);
  if (opened < 0) return error(-opened, "open");
  UniqueFd counts(opened);
  UniqueFd event;
  if (!unified) {
    event.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!event.ok()) return error(errno, "make an eventfd for");
    const int failed =
        -system.Write(folder, "cgroup.event_control", absl::StrCat(event.get(), " ", counts.get()));
    if (failed != 0) return error(failed, "ask for notices by 'cgroup.event_control' on");
  }
  // What was killed before is not news. Reading also tells kernfs which state we know.
  const absl::StatusOr<uint64_t> seen = ReadKills(counts.get(), path);
  if (!seen.ok() && !absl::IsUnimplemented(seen.status())) return seen.status();
  std::unique_ptr<OomWatch> watch =
      std::make_unique<Watch>(std::move(counts), std::move(event), path, seen.ok() ? *seen : 0);
  return watch;
}

}  // namespace keelson::container
