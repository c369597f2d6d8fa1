// What the bytes of a log must be like at every moment, whoever reads them back.
#ifndef KEELSON_RAFT_SIM_RECORD_ORDER_H_
#define KEELSON_RAFT_SIM_RECORD_ORDER_H_

#include <optional>
#include <string>

#include "base/file_system.h"
#include "raft/types.h"

namespace keelson::raft::sim {

struct EarlyEntry {
  Index index = 0;
  Term term = 0;
};
// The first entry in the log of one group in `dir` that stands before any record of its term or a
// later one: a power cut between the two would leave an entry of a term that the node has never been
// in. Nothing when there is none, or no log can be read.
std::optional<EarlyEntry> EntryBeforeItsTerm(FileSystem& fs, const std::string& dir);

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_RECORD_ORDER_H_
