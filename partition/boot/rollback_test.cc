#include "partition/boot/rollback.h"

#include <catch2/catch.hpp>

namespace keelson::partition {
namespace {

TEST_CASE("Versions whose tries are gone go on the ledger, but not the running one",
          "[partition][boot]") {
  const std::vector<BootCandidate> candidates = {
      {.id = "a.efi", .version = "1", .state = BootState::kGood},
      {.id = "b.efi", .version = "2", .state = BootState::kTrial, .tries_left = 1},
      {.id = "c.efi", .version = "3", .state = BootState::kBad},
      {.id = "d.efi", .version = "4", .state = BootState::kBad},
      {.id = "e.efi", .version = "", .state = BootState::kBad}};
  FailedVersions ledger;
  CHECK(NoteRolledBack(candidates, "d.efi", 1700000000, ledger) == std::vector<std::string>{"3"});
  REQUIRE(ledger.records().size() == 1);
  CHECK(ledger.records()[0].unix_time == 1700000000);
  CHECK(ledger.records()[0].reason == "the tries of 'c.efi' were used up without a good boot");
  // Called at each start: what is known stays as it was noted first.
  CHECK(NoteRolledBack(candidates, "a.efi", 1800000000, ledger) == std::vector<std::string>{"4"});
  CHECK(ledger.Find("3")->unix_time == 1700000000);
}

}  // namespace
}  // namespace keelson::partition
