// Makes SyncTokens for tests and fakes, whose "disk" is durable by definition.
#ifndef KEELSON_RAFT_TESTING_TEST_SYNC_H_
#define KEELSON_RAFT_TESTING_TEST_SYNC_H_

#include "raft/durability.h"

namespace keelson::raft {

class TestSync {
 public:
  static SyncToken Token() { return SyncToken(); }
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_TESTING_TEST_SYNC_H_
