#include "raft/internal/mutation.h"

#include <catch2/catch.hpp>

namespace keelson::raft {
namespace {

constexpr bool NoneCanBePlanted() {
  for (int i = 0; i < static_cast<int>(Mutation::kCount); ++i) {
    if (Mutated(static_cast<Mutation>(i))) return false;
  }
  return true;
}

// Constant expressions: the compiler drops every condition that asks for a defect.
static_assert(NoneCanBePlanted() && !kMutationsCompiledIn);

TEST_CASE("A product has no defect to plant", "[raft][mutation]") {
  PlantMutation(Mutation::kVoteTwice);

  CHECK_FALSE(Mutated(Mutation::kVoteTwice));
}

}  // namespace
}  // namespace keelson::raft
