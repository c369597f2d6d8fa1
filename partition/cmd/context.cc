#include <nlohmann/json.hpp>

#include <cstdio>

#include "absl/strings/str_format.h"
#include "partition/cmd/verbs.h"
#include "partition/gpt_disk.h"

namespace keelson::partition {

absl::StatusOr<std::unique_ptr<BlockDevice>> Context::OpenForChange(const std::string& path,
                                                                    bool in_use) const {
  return OpenBlockDevice(path, {.write = !dry_run, .in_use = in_use, .sector_bytes = sector_bytes});
}

absl::StatusOr<std::unique_ptr<BlockDevice>> Context::OpenForReading(
    const std::string& path) const {
  return OpenBlockDevice(path, {.sector_bytes = sector_bytes});
}

absl::Status CarryWrites(const Context& context, const std::string& name,
                         std::span<const DiskWrite> writes,
                         const std::function<absl::Status(const WriteObserver& say)>& carry_out,
                         std::optional<int> next) {
  nlohmann::ordered_json done = nlohmann::ordered_json::array();
  const WriteObserver say = [&](const DiskWrite& write) {
    done.push_back({{"what", write.what}, {"offset", write.offset}, {"bytes", write.data.size()}});
    if (context.json()) return;
    absl::FPrintF(stderr, "%s '%s': %s, %d bytes at byte %d\n",
                  context.dry_run ? "would write" : "writing", name, write.what, write.data.size(),
                  write.offset);
  };
  absl::Status status;
  if (context.dry_run) {
    for (const DiskWrite& write : writes) say(write);
  } else {
    status = carry_out(say);
  }
  if (writes.empty() && !context.json()) {
    absl::FPrintF(stderr, "'%s': nothing to write\n", name);
  }
  if (context.json()) {
    nlohmann::ordered_json answer = {{"disk", name}, {"dry_run", context.dry_run}};
    if (next.has_value()) answer["next"] = *next;
    answer["writes"] = done;
    std::printf("%s\n", answer.dump(2).c_str());
  }
  return status;
}

absl::Status Carry(const Context& context, BlockDevice& disk, std::span<const DiskWrite> writes) {
  return CarryWrites(context, disk.name(), writes,
                     [&](const WriteObserver& say) { return Apply(disk, writes, say); });
}

}  // namespace keelson::partition
