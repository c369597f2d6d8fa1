// Runs the quorum and confchange transcripts of etcd-io/raft.
#ifndef KEELSON_RAFT_TESTING_GOLDEN_TABLES_H_
#define KEELSON_RAFT_TESTING_GOLDEN_TABLES_H_

#include <string>

#include "raft/internal/tracker.h"
#include "raft/testing/golden_file.h"

namespace keelson::raft::golden {

// Stateless: each case stands alone.
std::string RunQuorumCase(const Case& test);

// Each command changes the membership that the ones before have left.
class ConfChangeTable {
 public:
  std::string Run(const Case& test);

 private:
  internal::Tracker tracker_{10, 0};
  Index last_index_ = 0;
};

}  // namespace keelson::raft::golden

#endif  // KEELSON_RAFT_TESTING_GOLDEN_TABLES_H_
