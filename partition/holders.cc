// Names who uses a device. Everything here is for a message: what cannot be read is left out.
#include <dirent.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "partition/block_device.h"

namespace keelson::partition {
namespace {

std::vector<std::string> List(const std::string& path) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), &::closedir);
  if (dir == nullptr) return names;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string FirstLine(const std::string& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

bool IsNumber(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

std::string DeviceNumber(dev_t device) { return absl::StrCat(major(device), ":", minor(device)); }

bool IsSameFile(const struct stat& a, const struct stat& b) {
  if (S_ISBLK(a.st_mode)) return S_ISBLK(b.st_mode) && a.st_rdev == b.st_rdev;
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// Processes other than this one that have the file open.
void AddProcesses(const struct stat& wanted, std::vector<std::string>& out) {
  for (const std::string& pid : List("/proc")) {
    if (!IsNumber(pid) || pid == std::to_string(::getpid())) continue;
    const std::string fds = absl::StrCat("/proc/", pid, "/fd");
    for (const std::string& fd : List(fds)) {
      struct stat info = {};
      if (::stat(absl::StrCat(fds, "/", fd).c_str(), &info) != 0) continue;
      if (!IsSameFile(wanted, info)) continue;
      out.push_back(absl::StrCat("process ", pid, " (",
                                 FirstLine(absl::StrCat("/proc/", pid, "/comm")), ")"));
      break;
    }
  }
}

// The device and its partitions, as "major:minor".
std::set<std::string> Family(dev_t device) {
  std::set<std::string> family = {DeviceNumber(device)};
  const std::string sys = absl::StrCat("/sys/dev/block/", DeviceNumber(device));
  for (const std::string& name : List(sys)) {
    const std::string number = FirstLine(absl::StrCat(sys, "/", name, "/dev"));
    if (!number.empty()) family.insert(number);
  }
  return family;
}

void AddMounts(const std::set<std::string>& family, std::vector<std::string>& out) {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, where;
    if (fields >> id >> parent >> device >> root >> where && family.contains(device)) {
      out.push_back("mounted on " + where);
    }
  }
}

void AddMappings(const std::set<std::string>& family, std::vector<std::string>& out) {
  for (const std::string& number : family) {
    for (const std::string& holder : List(absl::StrCat("/sys/dev/block/", number, "/holders"))) {
      const std::string name = FirstLine(absl::StrCat("/sys/class/block/", holder, "/dm/name"));
      out.push_back(absl::StrCat("mapped by ", holder, name.empty() ? "" : " (" + name + ")"));
    }
  }
}

}  // namespace

std::string DescribeHolders(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return "";
  std::vector<std::string> holders;
  AddProcesses(info, holders);
  if (S_ISBLK(info.st_mode)) {
    const std::set<std::string> family = Family(info.st_rdev);
    AddMounts(family, holders);
    AddMappings(family, holders);
  }
  return absl::StrJoin(holders, ", ");
}

}  // namespace keelson::partition
