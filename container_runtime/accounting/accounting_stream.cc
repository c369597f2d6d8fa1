#include "container_runtime/accounting/accounting_stream.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "container_runtime/cgroup/oom_watch.h"

namespace keelson::container {
namespace {

constexpr size_t kBufferBytes = 16384;
constexpr size_t kBufferBytesMax = 1 << 20;  // io.stat has a line for each disk

}  // namespace

AccountingStream::AccountingStream(CgroupSystem& system, HostLayout host,
                                   const AccountingOptions& options)
    : system_(system), host_(std::move(host)), options_(options), buffer_(kBufferBytes) {
  const bool v1_cpu = host_.OfController("cpuacct") != nullptr;
  for (const StatFile& file : StatFiles()) {
    if (!Wanted(file)) continue;
    const Hierarchy* hierarchy =
        file.controller.empty() ? host_.Unified() : host_.OfController(file.controller);
    if (hierarchy == nullptr || hierarchy->unified != file.unified) continue;
    // The same times once more.
    if (v1_cpu && file.unified && file.file == "cpu.stat") continue;
    kinds_.push_back(file);
    if (file.file == "memory.stat") kinds_.back().parse = ParseMemoryStatBriefly;
  }
}

absl::StatusOr<std::unique_ptr<AccountingStream>> AccountingStream::Open(
    CgroupSystem& system, const HostLayout& host, const AccountingOptions& options) {
  std::unique_ptr<AccountingStream> stream(new AccountingStream(system, host, options));
  stream->epoll_.Reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!stream->epoll_.ok()) return ErrnoError(errno, "epoll_create1");
  return stream;
}

bool AccountingStream::Wanted(const StatFile& file) const {
  if (file.detail) return false;
  if (absl::EndsWith(file.file, ".pressure")) return options_.pressure;
  if (absl::StartsWith(file.file, "cpu")) return options_.cpu;
  if (absl::StartsWith(file.file, "memory")) return options_.memory;
  if (absl::StartsWith(file.file, "pids")) return options_.pids;
  return options_.io;
}

size_t AccountingStream::DescriptorsPerContainer() const {
  const Hierarchy* memory = host_.OfController("memory");
  const size_t watch = !options_.oom || memory == nullptr ? 0 : memory->unified ? 1 : 2;
  return kinds_.size() + watch;
}

absl::Status AccountingStream::OpenFiles(const CgroupLocation& location, Entry& entry) {
  bool found = false;
  for (const Hierarchy& hierarchy : host_.hierarchies) {
    const auto path = location.paths.find(hierarchy.name);
    if (path == location.paths.end()) continue;
    const UniqueFd root(std::max(system_.OpenRoot(hierarchy.mount_point), -1));
    if (!root.ok()) continue;
    const int opened = system_.OpenFolder(root.get(), path->second.substr(1));
    if (opened == -ENOENT) continue;
    const auto error = [&](int number, const std::string& what) {
      return ErrnoError(
          number, absl::StrCat(what, " of cgroup '", path->second, "' (", hierarchy.name, ")"));
    };
    if (opened < 0) return error(-opened, "open the folder");
    const UniqueFd folder(opened);
    found = true;
    for (const StatFile& kind : kinds_) {
      if (kind.unified != hierarchy.unified) continue;
      if (!kind.controller.empty() && !hierarchy.Has(kind.controller)) continue;
      const int fd = system_.OpenFile(folder.get(), kind.file, O_RDONLY);
      // Not every kernel has every file, and a pressure file can be switched off.
      if (fd == -ENOENT || fd == -EOPNOTSUPP) continue;
      if (fd < 0) return error(-fd, absl::StrCat("open '", kind.file, "'"));
      entry.files.push_back({UniqueFd(fd), &kind});
    }
    if (options_.oom && hierarchy.Has("memory")) {
      KEELSON_ASSIGN_OR_RETURN(entry.oom,
                               NewOomWatch(system_, folder.get(), hierarchy.unified, path->second));
    }
  }
  return found ? absl::OkStatus()
               : absl::NotFoundError(absl::StrCat("container '", entry.id, "' has no cgroup"));
}

absl::Status AccountingStream::Add(const std::string& id, const CgroupLocation& location) {
  if (entries_.count(id) != 0) {
    return absl::AlreadyExistsError(absl::StrCat("container '", id, "' is in the stream"));
  }
  auto entry = std::make_unique<Entry>();
  entry->id = id;
  KEELSON_RETURN_IF_ERROR(OpenFiles(location, *entry));
  if (entry->oom != nullptr) {
    epoll_event event = {.events = entry->oom->poll_events(), .data = {.ptr = entry.get()}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, entry->oom->fd(), &event) != 0) {
      // Not a kernel's file (in tests), which is always ready: without notices, then.
      if (errno != EPERM) return ErrnoError(errno, absl::StrCat("epoll_ctl for '", id, "'"));
      entry->oom.reset();
    }
  }
  entries_.emplace(id, std::move(entry));
  return absl::OkStatus();
}

absl::Status AccountingStream::Remove(const std::string& id) {
  // The watch's descriptor leaves the epoll set when it is closed: there are no copies.
  if (entries_.erase(id) != 0) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("container '", id, "' is not in the stream"));
}

absl::Status AccountingStream::ReadFile(const File& file, Entry& entry) {
  while (true) {
    const ssize_t n = ::pread(file.fd.get(), buffer_.data(), buffer_.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == ENODEV) {
      entry.gone = true;
      return absl::OkStatus();
    }
    if (n < 0 && errno == EOPNOTSUPP) return absl::OkStatus();
    if (n < 0) {
      const int error = errno;
      return ErrnoError(error, absl::StrCat("read '", file.kind->file, "' of '", entry.id, "'"));
    }
    if (static_cast<size_t>(n) == buffer_.size() && buffer_.size() < kBufferBytesMax) {
      buffer_.resize(buffer_.size() * 2);
      continue;
    }
    return Annotate(
        file.kind->parse(file.kind->file, std::string_view(buffer_.data(), static_cast<size_t>(n)),
                         entry.stats),
        absl::StrCat("container '", entry.id, "'"));
  }
}

absl::Status AccountingStream::Sample(
    const std::function<void(const std::string& id, const CgroupStats&)>& take) {
  absl::Status first;
  for (const auto& [id, entry] : entries_) {
    // Those that the parsers append to, or fill by the first file that has something.
    entry->stats.block_io.service_bytes.clear();
    entry->stats.block_io.serviced.clear();
    absl::Status status;
    for (const File& file : entry->files) {
      if (status.ok() && !entry->gone) status = ReadFile(file, *entry);
    }
    if (entry->gone) continue;
    if (status.ok()) {
      take(id, entry->stats);
    } else if (first.ok()) {
      first = std::move(status);
    }
  }
  return first;
}

absl::StatusOr<std::vector<AccountingEvent>> AccountingStream::Wait(absl::Duration limit) {
  std::vector<AccountingEvent> events;
  for (auto it = entries_.begin(); it != entries_.end();) {
    if (it->second->gone) {
      events.push_back({.kind = AccountingEvent::kGone, .id = it->first});
      it = entries_.erase(it);
    } else {
      ++it;
    }
  }
  const absl::Duration end = system_.Monotonic() + limit;
  while (true) {
    const absl::Duration left = std::max(end - system_.Monotonic(), absl::ZeroDuration());
    KEELSON_RETURN_IF_ERROR(Collect(events.empty() ? left : absl::ZeroDuration(), events));
    // v2 also announces that a limit was reached, which need not kill anyone.
    if (!events.empty() || left == absl::ZeroDuration()) return events;
  }
}

absl::Status AccountingStream::Collect(absl::Duration limit, std::vector<AccountingEvent>& events) {
  epoll_event ready[64];
  const int64_t ms = std::clamp<int64_t>(absl::ToInt64Milliseconds(limit), 0, 1 << 30);
  const int count = ::epoll_wait(epoll_.get(), ready, std::size(ready), static_cast<int>(ms));
  if (count < 0 && errno != EINTR) return ErrnoError(errno, "epoll_wait");
  for (int i = 0; i < count; ++i) {
    Entry& entry = *static_cast<Entry*>(ready[i].data.ptr);
    const absl::StatusOr<uint64_t> kills = entry.oom->Take();
    if (kills.ok() && *kills > 0) {
      events.push_back({.kind = AccountingEvent::kOom, .id = entry.id, .count = *kills});
    } else if (absl::IsNotFound(kills.status())) {
      events.push_back({.kind = AccountingEvent::kGone, .id = entry.id});
      entries_.erase(std::string(entry.id));
    } else if (!kills.ok()) {
      return kills.status();
    }
  }
  return absl::OkStatus();
}

}  // namespace keelson::container
