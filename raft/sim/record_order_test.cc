#include "raft/sim/record_order.h"

#include <catch2/catch.hpp>

#include <vector>

#include "base/random.h"
#include "base/testing/sim_file_system.h"
#include "base/testing/status_matchers.h"
#include "raft/wal.h"

namespace keelson::raft::sim {
namespace {

TEST_CASE("An entry stands behind a record of its term", "[raft][sim][invariants]") {
  SimFileSystem fs(Random(1), {});
  CHECK_FALSE(EntryBeforeItsTerm(fs, "wal").has_value());
  const Identity identity = {.cluster_id = 1, .node_id = 2};
  KEELSON_REQUIRE_OK(Wal::Create(fs, "wal", identity, {}, {}));
  Wal::Recovered recovered;
  KEELSON_ASSIGN_OR_FAIL(const auto wal, Wal::Open(fs, "wal", identity, {}, &recovered));
  const std::vector<Entry> entries = {{.term = 2, .index = 1}, {.term = 3, .index = 2}};
  KEELSON_REQUIRE_OK(wal->Append({.entries = entries, .hard_state = HardState{.term = 3}}));
  CHECK_FALSE(EntryBeforeItsTerm(fs, "wal").has_value());

  const std::vector<Entry> early = {{.term = 3, .index = 3}, {.term = 5, .index = 4}};
  KEELSON_REQUIRE_OK(wal->Append({.entries = early}));
  KEELSON_REQUIRE_OK(wal->Append({.hard_state = HardState{.term = 5}}));
  const auto found = EntryBeforeItsTerm(fs, "wal");
  REQUIRE(found.has_value());
  CHECK(found->index == 4);
  CHECK(found->term == 5);
}

}  // namespace
}  // namespace keelson::raft::sim
