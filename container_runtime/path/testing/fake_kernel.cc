#include "container_runtime/path/testing/fake_kernel.h"

#include <sys/stat.h>
#include <sys/syscall.h>

#include <array>

#include "absl/strings/str_cat.h"

namespace keelson::container::testing {
namespace {

struct Known {
  long number;
  const char* name;
  int text;         // which argument is a text, from 0; -1: none
  bool descriptor;  // the answer is a new descriptor
};

constexpr std::array<Known, 26> kKnown = {
    {{SYS_openat2, "openat2", 1, true},         {SYS_openat, "openat", 1, true},
     {SYS_open_tree, "open_tree", 1, true},     {SYS_fsopen, "fsopen", 0, true},
     {SYS_fsmount, "fsmount", -1, true},        {SYS_fsconfig, "fsconfig", 2, false},
     {SYS_move_mount, "move_mount", -1, false}, {SYS_mount_setattr, "mount_setattr", -1, false},
     {SYS_pivot_root, "pivot_root", 0, false},  {SYS_umount2, "umount2", 0, false},
     {SYS_chroot, "chroot", 0, false},          {SYS_chdir, "chdir", 0, false},
     {SYS_fchdir, "fchdir", -1, false},         {SYS_setns, "setns", -1, false},
     {SYS_unshare, "unshare", -1, false},       {SYS_sethostname, "sethostname", 0, false},
     {SYS_mkdirat, "mkdirat", 1, false},        {SYS_mknodat, "mknodat", 1, false},
     {SYS_symlinkat, "symlinkat", 2, false},    {SYS_write, "write", -1, false},
     {SYS_setresuid, "setresuid", -1, false},   {SYS_setgroups, "setgroups", -1, false},
     {SYS_capset, "capset", -1, false},         {SYS_prctl, "prctl", -1, false},
     {SYS_close, "close", -1, false},           {SYS_setsid, "setsid", -1, false}}};

}  // namespace

long FakeKernel::Call(long number, long a, long b, long c, long, long, long) {
  const std::array<long, 3> arguments = {a, b, c};
  const Known* known = nullptr;
  for (const Known& entry : kKnown) {
    if (entry.number == number) known = &entry;
  }
  std::string line = known == nullptr ? absl::StrCat("call ", number) : std::string(known->name);
  absl::StrAppend(&line, "(");
  if (known == nullptr || known->text != 0) absl::StrAppend(&line, a);
  if (known != nullptr && known->text >= 0) {
    const auto* text = reinterpret_cast<const char*>(arguments[static_cast<size_t>(known->text)]);
    absl::StrAppend(&line, known->text == 0 ? "'" : ", '", text == nullptr ? "" : text, "'");
  }
  calls.push_back(absl::StrCat(line, ")"));
  // Everything that is looked at is a directory.
  if (number == SYS_newfstatat) reinterpret_cast<struct stat*>(c)->st_mode = S_IFDIR | 0755;
  const auto answer = answers.find(number);
  if (answer != answers.end()) return answer->second;
  return known != nullptr && known->descriptor ? next_descriptor_++ : 0;
}

int FakeKernel::Count(const std::string& name) const {
  int count = 0;
  for (const std::string& call : calls) count += call.rfind(name + "(", 0) == 0 ? 1 : 0;
  return count;
}

int FakeKernel::Find(const std::string& text) const {
  for (size_t i = 0; i < calls.size(); ++i) {
    if (calls[i].rfind(text, 0) == 0) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace keelson::container::testing
