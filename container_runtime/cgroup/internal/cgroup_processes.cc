#include "container_runtime/cgroup/internal/cgroup_processes.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace keelson::container {
namespace {

constexpr int kDepthMax = 64;  // of nested folders; the kernel's paths end much earlier
constexpr absl::Duration kPauseMin = absl::Microseconds(200);
constexpr absl::Duration kPauseMax = absl::Milliseconds(20);

bool IsFrozen(const std::string& events) { return absl::StrContains(events, "frozen 1"); }
bool IsEmpty(const std::string& events) { return absl::StrContains(events, "populated 0"); }

// Pauses that double, for what the kernel does not announce.
class Backoff {
 public:
  Backoff(CgroupSystem& system, absl::Duration limit)
      : system_(system), end_(system.Monotonic() + limit) {}
  // False when the time is over.
  bool Pause() {
    if (system_.Monotonic() >= end_) return false;
    system_.Sleep(pause_);
    pause_ = std::min(pause_ * 2, kPauseMax);
    return true;
  }

 private:
  CgroupSystem& system_;
  const absl::Duration end_;
  absl::Duration pause_ = kPauseMin;
};

// Adds the pids of `folder` and below to `pids`. Errno, 0 for success; what vanishes meanwhile is none.
int Collect(CgroupSystem& system, int folder, int depth, std::vector<pid_t>& pids) {
  std::string text;
  int error = -system.Read(folder, "cgroup.procs", &text);
  // A threaded cgroup of v2 has no list of processes of its own: the domain above lists them.
  if (error == EOPNOTSUPP) {
    text.clear();
    error = 0;
  }
  if (error != 0) return IsGone(error) ? 0 : error;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    pid_t pid = 0;
    // 0 stands for a process that our PID namespace does not show.
    if (absl::SimpleAtoi(line, &pid) && pid > 0) pids.push_back(pid);
  }
  std::vector<std::string> names;
  error = -system.ListFolders(folder, &names);
  if (error != 0) return IsGone(error) ? 0 : error;
  if (depth >= kDepthMax) return names.empty() ? 0 : ELOOP;
  for (const std::string& name : names) {
    const UniqueFd below(system.OpenFolder(folder, name));
    if (!below.ok()) continue;
    error = Collect(system, below.get(), depth + 1, pids);
    if (error != 0) return error;
  }
  return 0;
}

}  // namespace

CgroupFolder* CgroupProcesses::Unified() {
  for (CgroupFolder& f : folders_) {
    if (f.unified()) return &f;
  }
  return nullptr;
}

CgroupFolder* CgroupProcesses::FreezerV1() {
  for (CgroupFolder& f : folders_) {
    if (!f.unified() && f.Has("freezer")) return &f;
  }
  return nullptr;
}

CgroupFolder* CgroupProcesses::ListedV1() {
  for (const char* controller : {"devices", "pids", "freezer", "memory"}) {
    for (CgroupFolder& f : folders_) {
      if (!f.unified() && f.Has(controller)) return &f;
    }
  }
  for (CgroupFolder& f : folders_) {
    if (!f.unified()) return &f;
  }
  return nullptr;
}

absl::StatusOr<std::vector<pid_t>> CgroupProcesses::PidsOf(CgroupFolder* folder) {
  std::vector<pid_t> pids;
  if (folder == nullptr) return pids;
  const int fd = folder->fd();
  const int error = fd < 0 ? -fd : Collect(system_, fd, 0, pids);
  if (error != 0 && !IsGone(error)) return folder->Error(error, "list the processes");
  std::sort(pids.begin(), pids.end());
  pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
  return pids;
}

absl::StatusOr<std::vector<pid_t>> CgroupProcesses::Pids() {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<pid_t> v2, PidsOf(Unified()));
  KEELSON_ASSIGN_OR_RETURN(const std::vector<pid_t> v1, PidsOf(ListedV1()));
  std::vector<pid_t> pids;
  std::set_union(v1.begin(), v1.end(), v2.begin(), v2.end(), std::back_inserter(pids));
  return pids;
}

absl::Status CgroupProcesses::Freeze(absl::Duration limit) {
  if (CgroupFolder* v2 = Unified()) {
    const int error = v2->TryWrite("cgroup.freeze", "1");
    if (error == 0) {
      const int wait = -system_.WaitUntil(v2->fd(), "cgroup.events", limit, IsFrozen);
      if (wait == 0) return absl::OkStatus();
      (void)v2->TryWrite("cgroup.freeze", "0");  // Half frozen is the worst of all states.
      return v2->Error(wait, "freeze");
    }
    // No cgroup.freeze before Linux 5.2: the v1 freezer, if there is one.
    if (error != ENOENT || FreezerV1() == nullptr) return v2->Error(error, "freeze");
  }
  CgroupFolder* v1 = FreezerV1();
  if (v1 == nullptr) {
    return absl::FailedPreconditionError(
        "freeze: the container is in no cgroup that has a freezer");
  }
  return FreezeV1(*v1, limit);
}

// A v1 cgroup stays FREEZING while its processes fork; writing again, and sometimes a thaw in
// between, gets it there (Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst).
absl::Status CgroupProcesses::FreezeV1(CgroupFolder& folder, absl::Duration limit) {
  Backoff backoff(system_, limit);
  for (int round = 1;; ++round) {
    std::string state;
    int error = folder.TryWrite("freezer.state", "FROZEN");
    if (error == 0) error = folder.TryRead("freezer.state", &state);
    if (error == 0 && absl::StartsWith(state, "FROZEN")) return absl::OkStatus();
    if (error == 0 && !backoff.Pause()) error = ETIMEDOUT;
    if (error != 0) {
      (void)folder.TryWrite("freezer.state", "THAWED");  // Half frozen is the worst of all states.
      return folder.Error(error, "freeze");
    }
    if (round % 50 == 0) (void)folder.TryWrite("freezer.state", "THAWED");
  }
}

absl::Status CgroupProcesses::Thaw() {
  CgroupFolder* v2 = Unified();
  CgroupFolder* v1 = FreezerV1();
  if (v2 != nullptr) {
    const int error = v2->TryWrite("cgroup.freeze", "0");
    if (error != 0 && (error != ENOENT || v1 == nullptr)) return v2->Error(error, "thaw");
  }
  if (v1 != nullptr) KEELSON_RETURN_IF_ERROR(v1->Write("freezer.state", "THAWED"));
  return absl::OkStatus();
}

absl::StatusOr<FreezerState> CgroupProcesses::Freezer() {
  std::string text;
  if (CgroupFolder* v2 = Unified()) {
    if (v2->TryRead("cgroup.freeze", &text) == 0 && absl::StartsWith(text, "1")) {
      const int error = v2->TryRead("cgroup.events", &text);
      if (error != 0) return v2->Error(error, "read 'cgroup.events'");
      return IsFrozen(text) ? FreezerState::kFrozen : FreezerState::kFreezing;
    }
  }
  if (CgroupFolder* v1 = FreezerV1()) {
    const int error = v1->TryRead("freezer.state", &text);
    if (IsGone(error)) return FreezerState::kThawed;
    if (error != 0) return v1->Error(error, "read 'freezer.state'");
    // Frozen by a cgroup above is not what anyone did to this container.
    if (absl::StartsWith(text, "THAWED")) return FreezerState::kThawed;
    std::string self;
    const bool own =
        v1->TryRead("freezer.self_freezing", &self) != 0 || absl::StartsWith(self, "1");
    if (own && absl::StartsWith(text, "FROZEN")) return FreezerState::kFrozen;
    if (own && absl::StartsWith(text, "FREEZING")) return FreezerState::kFreezing;
  }
  return FreezerState::kThawed;
}

void CgroupProcesses::ThawV1Tree(int folder, int depth) {
  (void)system_.Write(folder, "freezer.state", "THAWED");
  std::vector<std::string> names;
  if (depth >= kDepthMax || system_.ListFolders(folder, &names) != 0) return;
  for (const std::string& name : names) {
    const UniqueFd below(system_.OpenFolder(folder, name));
    if (below.ok()) ThawV1Tree(below.get(), depth + 1);
  }
}

absl::StatusOr<bool> CgroupProcesses::KillRound() {
  CgroupFolder* v2 = Unified();
  CgroupFolder* v1 = FreezerV1();
  if (v2 != nullptr && v2->TryWrite("cgroup.kill", "1") == 0) {
    if (v1 != nullptr && v1->fd() >= 0) ThawV1Tree(v1->fd(), 0);
    // The v2 cgroup is dealt with; left are those that are only in the v1 ones.
    KEELSON_ASSIGN_OR_RETURN(const std::vector<pid_t> dying, PidsOf(v2));
    KEELSON_ASSIGN_OR_RETURN(const std::vector<pid_t> listed, PidsOf(ListedV1()));
    std::vector<pid_t> pids;
    std::set_difference(listed.begin(), listed.end(), dying.begin(), dying.end(),
                        std::back_inserter(pids));
    KEELSON_RETURN_IF_ERROR(KillEach(pids));
    return !dying.empty() || !pids.empty();
  }
  // Before Linux 5.14, or on v1 alone. Kept still, nothing forks away between list and signal; when
  // it cannot be kept still, the rounds do it.
  if (v2 != nullptr) (void)v2->TryWrite("cgroup.freeze", "1");
  if (v1 != nullptr) (void)v1->TryWrite("freezer.state", "FROZEN");
  const absl::StatusOr<std::vector<pid_t>> pids = Pids();
  const absl::Status killed = pids.ok() ? KillEach(*pids) : pids.status();
  if (v2 != nullptr) (void)v2->TryWrite("cgroup.freeze", "0");
  if (v1 != nullptr && v1->fd() >= 0) ThawV1Tree(v1->fd(), 0);
  if (!killed.ok()) return killed;
  return !pids->empty();
}

absl::Status CgroupProcesses::KillEach(const std::vector<pid_t>& pids) {
  absl::Status result;
  for (const pid_t pid : pids) {
    const int error = -system_.Kill(pid, SIGKILL);
    if (error != 0 && error != ESRCH && result.ok()) {
      result = ErrnoError(error, absl::StrCat("kill process ", pid));
    }
  }
  return result;
}

absl::Status CgroupProcesses::Signal(int signal) {
  if (signal == SIGKILL) return KillRound().status();
  KEELSON_ASSIGN_OR_RETURN(const std::vector<pid_t> pids, Pids());
  for (const pid_t pid : pids) {
    const int error = -system_.Kill(pid, signal);
    if (error != 0 && error != ESRCH) {
      return ErrnoError(error, absl::StrCat("send signal ", signal, " to process ", pid));
    }
  }
  return absl::OkStatus();
}

absl::Status CgroupProcesses::Kill(absl::Duration limit) {
  Backoff backoff(system_, limit);
  while (true) {
    KEELSON_ASSIGN_OR_RETURN(const bool some, KillRound());
    CgroupFolder* v2 = Unified();
    if (!some) {
      // cgroup.procs lists no zombies, and no processes of other PID namespaces; this counts all.
      std::string events;
      if (v2 == nullptr || v2->TryRead("cgroup.events", &events) != 0 || IsEmpty(events)) {
        return absl::OkStatus();
      }
    }
    if (v2 != nullptr && v2->fd() >= 0 &&
        system_.WaitUntil(v2->fd(), "cgroup.events", kPauseMax, IsEmpty) == 0) {
      continue;  // Empty; the next round looks whether the v1 side is so too.
    }
    if (!backoff.Pause()) {
      KEELSON_ASSIGN_OR_RETURN(const std::vector<pid_t> left, Pids());
      return absl::DeadlineExceededError(absl::StrCat(
          "kill: ", left.size(), " processes are left after ", absl::FormatDuration(limit),
          left.empty() ? "" : absl::StrCat(", such as ", left.front())));
    }
  }
}

int CgroupProcesses::RemoveBelow(int parent, const std::string& name, int depth) {
  int error = -system_.RemoveFolder(parent, name);
  if (error != EBUSY && error != ENOTEMPTY) return IsGone(error) ? 0 : error;
  const UniqueFd folder(system_.OpenFolder(parent, name));
  if (!folder.ok()) return 0;
  std::vector<std::string> names;
  if (system_.ListFolders(folder.get(), &names) != 0 || names.empty() || depth >= kDepthMax) {
    return error;
  }
  for (const std::string& below : names) {
    const int failed = RemoveBelow(folder.get(), below, depth + 1);
    if (failed != 0) return failed;
  }
  error = -system_.RemoveFolder(parent, name);
  return IsGone(error) ? 0 : error;
}

absl::Status CgroupProcesses::Remove(CgroupFolder& folder, absl::Duration limit) {
  folder.Close();
  const int root = folder.root();
  if (root < 0) return IsGone(-root) ? absl::OkStatus() : folder.Error(-root, "remove");
  const std::vector<std::string>& names = folder.components();
  UniqueFd parent;
  int parent_fd = root;
  if (names.size() > 1) {
    const std::string& path = folder.path();
    const int fd = system_.OpenFolder(root, path.substr(1, path.rfind('/') - 1));
    if (fd < 0) return IsGone(-fd) ? absl::OkStatus() : folder.Error(-fd, "remove");
    parent.Reset(fd);
    parent_fd = fd;
  }
  Backoff backoff(system_, limit);
  while (true) {
    const int error = RemoveBelow(parent_fd, names.back(), 0);
    if (error == 0) return absl::OkStatus();
    if (error != EBUSY || !backoff.Pause()) {
      std::vector<pid_t> pids;
      const int fd = folder.fd();
      if (fd >= 0) (void)Collect(system_, fd, 0, pids);
      if (error != EBUSY || pids.empty()) return folder.Error(error, "remove");
      return absl::FailedPreconditionError(
          absl::StrCat("remove of cgroup '", folder.path(), "' (", folder.name(),
                       "): ", pids.size(), " processes live in it, such as ", pids.front()));
    }
  }
}

}  // namespace keelson::container
