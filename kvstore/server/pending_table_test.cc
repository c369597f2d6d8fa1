#include "kvstore/server/pending_table.h"

#include <catch2/catch.hpp>

#include <set>

using namespace keelson::kvstore;

namespace {

constexpr absl::Duration kDue = absl::Seconds(7);

struct Fixture {
  PendingTable table{0xabcdef0123456789, absl::FromUnixSeconds(1700000000)};
  std::vector<absl::Status> answers;
  uint64_t Add(absl::Duration deadline = kDue) {
    return table.Add(deadline, [this](CommandResult result) { answers.push_back(result.status); });
  }
};

}  // namespace

TEST_CASE("A result goes to who waits for it, once", "[kvstore][pending]") {
  Fixture f;
  const uint64_t id = f.Add();
  CHECK(f.table.Contains(id));

  CommandResult result;
  result.request_id = id;
  CHECK(f.table.Complete(result));
  CHECK_FALSE(f.table.Complete(result));

  CHECK(f.answers == std::vector<absl::Status>{absl::OkStatus()});
  CHECK_FALSE(f.table.Contains(id));
  CHECK(f.table.size() == 0);
}

TEST_CASE("Results of others are ignored", "[kvstore][pending]") {
  Fixture f;
  (void)f.Add();
  CommandResult result;
  result.request_id = 1;
  CHECK_FALSE(f.table.Complete(result));
  CHECK(f.answers.empty());
}

TEST_CASE("Who waits past the deadline is failed, others are not", "[kvstore][pending]") {
  Fixture f;
  const uint64_t early = f.Add(kDue);
  const uint64_t late = f.Add(kDue + absl::Seconds(1));
  const absl::Status timeout = absl::UnavailableError("late");

  CHECK(f.table.FailExpired(kDue - absl::Milliseconds(1), timeout) == 0);
  CHECK(f.table.FailExpired(kDue, timeout) == 1);

  CHECK(f.answers == std::vector<absl::Status>{timeout});
  CHECK_FALSE(f.table.Contains(early));
  CHECK(f.table.Contains(late));
}

TEST_CASE("What was answered is not failed at its deadline", "[kvstore][pending]") {
  Fixture f;
  (void)f.Add();
  const uint64_t id = f.Add();
  CHECK(f.table.Fail(id, absl::OkStatus()));
  CHECK(f.table.FailExpired(absl::Hours(1), absl::UnavailableError("late")) == 1);
  CHECK(f.answers.size() == 2);
}

TEST_CASE("FailAll answers everybody", "[kvstore][pending]") {
  Fixture f;
  for (int i = 0; i < 100; ++i) (void)f.Add();
  f.table.FailAll(absl::UnavailableError("stopped"));
  CHECK(f.answers.size() == 100);
  CHECK(f.table.size() == 0);
}

TEST_CASE("Ids differ between members, starts and calls", "[kvstore][pending]") {
  std::set<uint64_t> ids;
  for (const uint64_t member : {1, 2}) {
    for (const int64_t start : {1700000000, 1700000100}) {
      PendingTable table(member, absl::FromUnixSeconds(start));
      for (int i = 0; i < 1000; ++i) CHECK(ids.insert(table.NextId()).second);
    }
  }
  CHECK_FALSE(ids.contains(0));
}
