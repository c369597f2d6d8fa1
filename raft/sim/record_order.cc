#include "raft/sim/record_order.h"

#include <algorithm>

#include "raft/internal/wal_directory.h"

namespace keelson::raft::sim {

std::optional<EarlyEntry> EntryBeforeItsTerm(FileSystem& fs, const std::string& dir) {
  Term term = 0;
  std::optional<EarlyEntry> early;
  const auto visit = [&term, &early](const std::string&, const wal::Record& record) {
    const auto type = static_cast<wal::RecordType>(record.header.type);
    if (type == wal::RecordType::kHardState) {
      const auto state = wal::DecodeHardState(record.payload);
      if (state.ok()) term = std::max(term, state->term);
    } else if (type == wal::RecordType::kEntry && !early.has_value()) {
      const auto entry = wal::DecodeEntry(record.payload);
      if (entry.ok() && entry->term > term)
        early = EarlyEntry{.index = entry->index, .term = entry->term};
    }
  };
  const auto log = wal::LoadLog(fs, dir, std::nullopt, visit);
  return log.ok() ? early : std::nullopt;
}

}  // namespace keelson::raft::sim
