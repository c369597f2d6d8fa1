#include "raft/internal/read_barriers.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

namespace keelson::raft {
namespace {

constexpr absl::Duration kRetry = absl::Milliseconds(500);

absl::Duration At(int ms) { return absl::Milliseconds(ms); }

struct Fixture {
  ReadBarriers barriers{kRetry, 7};
  std::vector<std::string> log;

  void Add(const std::string& name, int deadline_ms = 10000) {
    barriers.Add(At(deadline_ms), [this, name](const absl::Status& status) {
      log.push_back(name + (status.ok() ? " ok" : " failed"));
    });
  }
  void Finish(const std::string& context) {
    for (const ReadBarriers::Done& done : barriers.Finish(context)) done(absl::OkStatus());
  }
};

}  // namespace

TEST_CASE("Reads that wait together share one round", "[raft][read_barriers]") {
  Fixture f;
  f.Add("a");
  f.Add("b");

  const auto context = f.barriers.StartRound(At(0));
  REQUIRE(context.has_value());
  f.Finish(*context);

  CHECK(f.log == std::vector<std::string>{"a ok", "b ok"});
  CHECK(f.barriers.rounds() == 1);
}

// The leader may still answer what this node asked before it crashed; writes have ended since.
TEST_CASE("An answer to a round of an earlier start confirms nothing", "[raft][read_barriers]") {
  ReadBarriers before(kRetry, 1);
  before.Add(At(10000), [](const absl::Status&) {});
  const auto old_context = before.StartRound(At(0));
  REQUIRE(old_context.has_value());

  ReadBarriers after(kRetry, 2);
  after.Add(At(10000), [](const absl::Status&) {});
  REQUIRE(after.StartRound(At(0)).has_value());
  CHECK(after.Finish(*old_context).empty());
}

// A read that arrives during a round may have been preceded by a write that the round's
// position does not cover.
TEST_CASE("A read that comes during a round waits for the next", "[raft][read_barriers]") {
  Fixture f;
  f.Add("early");
  const auto first = f.barriers.StartRound(At(0));
  REQUIRE(first.has_value());
  f.Add("late");
  CHECK_FALSE(f.barriers.StartRound(At(1)).has_value());

  f.Finish(*first);
  CHECK(f.log == std::vector<std::string>{"early ok"});

  const auto second = f.barriers.StartRound(At(2));
  REQUIRE(second.has_value());
  CHECK(*second != *first);
  f.Finish(*second);
  CHECK(f.log == std::vector<std::string>{"early ok", "late ok"});
}

// etcd issue 20418: an answer to an older request confirmed a newer one.
TEST_CASE("The answer to an abandoned round confirms nobody", "[raft][read_barriers]") {
  Fixture f;
  f.Add("a");
  const auto first = f.barriers.StartRound(At(0));

  SECTION("after the leader changed") {
    f.barriers.Restart();
    f.Add("b");
    const auto second = f.barriers.StartRound(At(1));
    REQUIRE(second.has_value());
    f.Finish(*first);
    CHECK(f.log.empty());
    f.Finish(*second);
  }
  SECTION("after a round without an answer was repeated") {
    f.Add("b");
    CHECK_FALSE(f.barriers.StartRound(At(499)).has_value());
    const auto second = f.barriers.StartRound(At(500));
    REQUIRE(second.has_value());
    f.Finish(*first);
    CHECK(f.log.empty());
    f.Finish(*second);
  }
  CHECK(f.log == std::vector<std::string>{"a ok", "b ok"});
}

TEST_CASE("A round that found no leader is tried again at once", "[raft][read_barriers]") {
  Fixture f;
  f.Add("a");
  REQUIRE(f.barriers.StartRound(At(0)).has_value());
  f.barriers.RoundFailed();

  const auto again = f.barriers.StartRound(At(1));
  REQUIRE(again.has_value());
  f.Finish(*again);
  CHECK(f.log == std::vector<std::string>{"a ok"});
}

TEST_CASE("Reads past their deadline are taken out wherever they wait", "[raft][read_barriers]") {
  Fixture f;
  f.Add("in round", 100);
  const auto context = f.barriers.StartRound(At(0));
  f.Add("behind", 100);
  f.Add("patient", 1000);

  for (const ReadBarriers::Done& done : f.barriers.Expire(At(100))) {
    done(absl::DeadlineExceededError("late"));
  }

  CHECK(f.log == std::vector<std::string>{"in round failed", "behind failed"});
  f.Finish(*context);
  CHECK(f.log.size() == 2);
  CHECK(f.barriers.StartRound(At(101)).has_value());
}

TEST_CASE("No round starts when nobody waits", "[raft][read_barriers]") {
  Fixture f;
  CHECK_FALSE(f.barriers.StartRound(At(0)).has_value());
}

}  // namespace keelson::raft
