#include "partition/boot/rollback.h"

#include "absl/strings/str_cat.h"

namespace keelson::partition {

std::vector<std::string> NoteRolledBack(std::span<const BootCandidate> candidates,
                                        std::string_view running_id, int64_t unix_time,
                                        FailedVersions& ledger) {
  std::vector<std::string> noted;
  for (const BootCandidate& candidate : candidates) {
    if (candidate.state != BootState::kBad || candidate.id == running_id) continue;
    if (candidate.version.empty() || ledger.Find(candidate.version) != nullptr) continue;
    ledger.Add({.version = candidate.version,
                .reason = absl::StrCat("the tries of '", candidate.id,
                                       "' were used up without a good boot"),
                .unix_time = unix_time});
    noted.push_back(candidate.version);
  }
  return noted;
}

}  // namespace keelson::partition
