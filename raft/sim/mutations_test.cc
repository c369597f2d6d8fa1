// A simulator that finds nothing proves nothing: each defect of the catalogue must be found.
#include "raft/sim/mutations.h"

#include <catch2/catch.hpp>

#include <set>
#include <string>

#include "raft/sim/catch_mutation.h"

namespace keelson::raft::sim {
namespace {

TEST_CASE("Every defect is in the catalogue once, under a name of its own",
          "[raft][sim][mutation]") {
  std::set<std::string> names;
  int next = 1;
  for (const MutationInfo& info : Mutations()) {
    CHECK(static_cast<int>(info.mutation) == next++);
    CHECK(names.insert(info.name).second);
    CHECK(info.of_class >= 1);
    CHECK(info.of_class <= 35);
  }
  CHECK(next == static_cast<int>(Mutation::kCount));
}

}  // namespace
}  // namespace keelson::raft::sim
