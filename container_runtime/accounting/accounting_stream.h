// What many containers use, from one loop: every file of a container's cgroups is opened once and read again and
// again, and one epoll descriptor tells of processes killed for want of memory and of containers that are gone.
//
//   KEELSON_ASSIGN_OR_RETURN(auto stream, AccountingStream::Open(RealCgroupSystem(), host, {}));
//   KEELSON_RETURN_IF_ERROR(stream->Add("web", location));
//   while (true) {
//     KEELSON_ASSIGN_OR_RETURN(std::vector<AccountingEvent> events, stream->Wait(absl::Seconds(1)));
//     stream->Sample([](const std::string& id, const CgroupStats& stats) { Show(id, stats); });
//   }
//
// A container costs up to 17 descriptors on v1 and 13 on v2; see DescriptorsPerContainer.
// Threading: one thread at a time.
#ifndef KEELSON_CONTAINER_RUNTIME_ACCOUNTING_ACCOUNTING_STREAM_H_
#define KEELSON_CONTAINER_RUNTIME_ACCOUNTING_ACCOUNTING_STREAM_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/unique_fd.h"
#include "container_runtime/cgroup/cgroup_location.h"
#include "container_runtime/cgroup/cgroup_manager.h"
#include "container_runtime/cgroup/cgroup_stats.h"
#include "container_runtime/cgroup/cgroup_system.h"
#include "container_runtime/cgroup/host_layout.h"

namespace keelson::container {

struct AccountingOptions {
  bool cpu = true;
  bool memory = true;  // usage, peak, limit, working set
  bool io = true;
  bool pids = true;
  bool pressure = true;
  bool oom = true;
};

struct AccountingEvent {
  enum Kind {
    kOom,   // the kernel killed `count` processes since the last event
    kGone,  // the cgroups are removed; the container is no longer in the stream
  };
  Kind kind = kOom;
  std::string id;
  uint64_t count = 0;
  friend bool operator==(const AccountingEvent&, const AccountingEvent&) = default;
};

class AccountingStream {
 public:
  // `system` outlives the stream.
  static absl::StatusOr<std::unique_ptr<AccountingStream>> Open(CgroupSystem& system,
                                                                const HostLayout& host,
                                                                const AccountingOptions& options);

  // Opens the files of a container. What a kernel does not have is left out.
  // Errors: ALREADY_EXISTS `id` is in the stream; NOT_FOUND none of its cgroups exists; RESOURCE_EXHAUSTED no descriptors
  // left (raise RLIMIT_NOFILE). Nothing is added then.
  absl::Status Add(const std::string& id, const CgroupLocation& location);

  // NOT_FOUND: it is not in the stream.
  absl::Status Remove(const std::string& id);

  [[nodiscard]] size_t size() const { return entries_.size(); }

  // Reads everything of every container and calls `take` for each in the order of their ids. The record is valid
  // during the call; memory.raw, cpuset, hugetlb and the counts for each processor are empty. A container whose cgroups
  // are gone is left out and reported by the next Wait.
  // Errors: INVALID_ARGUMENT a file that no kernel writes; others by errno. The other containers are read.
  absl::Status Sample(const std::function<void(const std::string& id, const CgroupStats&)>& take);

  // Events, as soon as there are some, or none after `limit`.
  absl::StatusOr<std::vector<AccountingEvent>> Wait(absl::Duration limit);

  // To be polled for input in a loop of the caller's: then Wait(absl::ZeroDuration()) has events.
  [[nodiscard]] int fd() const { return epoll_.get(); }

  // Descriptors that a container of this host needs at most.
  [[nodiscard]] size_t DescriptorsPerContainer() const;

 private:
  struct File {
    UniqueFd fd;
    const StatFile* kind = nullptr;
  };
  struct Entry {
    std::string id;
    std::vector<File> files;
    std::unique_ptr<OomWatch> oom;
    CgroupStats stats;
    bool gone = false;
  };

  AccountingStream(CgroupSystem& system, HostLayout host, const AccountingOptions& options);
  // The files of StatFiles that the options ask for.
  [[nodiscard]] bool Wanted(const StatFile& file) const;
  absl::Status OpenFiles(const CgroupLocation& location, Entry& entry);
  absl::Status ReadFile(const File& file, Entry& entry);
  // Adds what epoll has within `limit`, which may be nothing that anyone wants to know.
  absl::Status Collect(absl::Duration limit, std::vector<AccountingEvent>& events);

  CgroupSystem& system_;
  const HostLayout host_;
  const AccountingOptions options_;
  UniqueFd epoll_;
  std::vector<StatFile> kinds_;  // of this host and these options; files point into it
  std::map<std::string, std::unique_ptr<Entry>> entries_;
  std::vector<char> buffer_;
};

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_ACCOUNTING_ACCOUNTING_STREAM_H_
