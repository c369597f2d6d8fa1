// The judge finds each kind of broken promise in a history made by hand, and nothing in a sound one.
#include "tests/linearizability/checker.h"

#include <catch2/catch.hpp>

#include <string>
#include <utility>
#include <vector>

namespace keelson::linearizability {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

Pair MakePair(const std::string& key, const std::string& value, int64_t created, int64_t changed,
              int64_t version, int64_t lease = 0) {
  return {.key = key,
          .value = value,
          .create_revision = created,
          .mod_revision = changed,
          .version = version,
          .lease = lease};
}

Operation Put(int64_t call, int64_t end, const std::string& key, const std::string& value,
              int64_t revision, int64_t lease = 0) {
  return {.client = 1,
          .call = call,
          .end = end,
          .outcome = Outcome::kDone,
          .revision = revision,
          .effects = {{.key = key, .value = value, .lease = lease}}};
}

Operation Get(int64_t call, int64_t end, const std::string& key, std::vector<Pair> pairs,
              int64_t revision) {
  return {.client = 2,
          .call = call,
          .end = end,
          .outcome = Outcome::kDone,
          .revision = revision,
          .readings = {{.key = key, .range_end = "", .pairs = std::move(pairs)}}};
}

const Pair kA1 = MakePair("reg/a", "1", 2, 2, 1);
const Pair kA2 = MakePair("reg/a", "2", 2, 3, 2);
const Pair kLock = MakePair("lock", "me", 4, 4, 1, 77);

// reg/a=1 at 2, reg/a=2 at 3, lock with lease 77 at 4, which ends at 5.
History Sound() {
  History history;
  history.operations = {Put(10, 20, "reg/a", "1", 2), Get(21, 25, "reg/a", {kA1}, 2),
                        Put(30, 40, "reg/a", "2", 3), Get(41, 45, "reg/a", {kA2}, 3),
                        Put(50, 60, "lock", "me", 4, 77)};
  history.renewals = {{.lease = 77, .call = 49, .ttl_seconds = 3}};
  WatchRecord watch{.name = "all", .key = std::string(1, '\0'), .range_end = std::string(1, '\0')};
  watch.start_revision = 2;
  watch.answers = {
      {.time = 22, .revision = 2, .events = {{.deletion = false, .pair = kA1}}},
      {.time = 42, .revision = 3, .events = {{.deletion = false, .pair = kA2, .prev = kA1}}},
      {.time = 43, .revision = 3, .events = {}},
      {.time = 61, .revision = 4, .events = {{.deletion = false, .pair = kLock}}},
      {.time = 50 + 3 * kSecond,
       .revision = 5,
       .events = {{.deletion = true, .pair = {.key = "lock", .mod_revision = 5}, .prev = kLock}}}};
  watch.complete_to = 5;
  history.watches = {watch};
  history.final_pairs = {kA2};
  history.final_revision = 5;
  return history;
}

// The kind of the only finding; of several, all.
std::string KindsOf(const History& history) {
  std::string kinds;
  for (const std::string& line : Check(history).violations) {
    const std::string kind = line.substr(0, line.find(':'));
    if (kinds.find(kind) == std::string::npos) kinds += (kinds.empty() ? "" : ", ") + kind;
  }
  return kinds;
}

std::vector<WatchAnswer>& Heard(History& history) { return history.watches[0].answers; }

TEST_CASE("a sound history has no violation", "[kvstore][linearizability]") {
  const Verdict verdict = Check(Sound());
  CHECK(verdict.violations == std::vector<std::string>{});
  CHECK(verdict.writes == 3);
  CHECK(verdict.reads == 2);
  CHECK(verdict.expiries == 1);
  CHECK(verdict.events == 4);
  CHECK(verdict.progress == 1);
}

TEST_CASE("a stale read breaks real time, and has no place in any order",
          "[kvstore][linearizability]") {
  History history = Sound();
  history.operations[3] = Get(41, 45, "reg/a", {kA1}, 2);
  CHECK(KindsOf(history) == "real time, search");
}

TEST_CASE("a read of what the store did not hold is found", "[kvstore][linearizability]") {
  History history = Sound();
  history.operations[3] = Get(41, 45, "reg/a", {}, 3);
  CHECK(KindsOf(history) == "reads, search");
}

TEST_CASE("an answered write that is not in the log is lost", "[kvstore][linearizability]") {
  History history = Sound();
  history.operations.push_back(Put(70, 80, "reg/b", "9", 5));
  CHECK(KindsOf(history) == "lost");
}

TEST_CASE("two writes of one revision are found", "[kvstore][linearizability]") {
  History history = Sound();
  history.operations.push_back(Put(35, 80, "set/b", "9", 3));
  CHECK(KindsOf(history) == "lost, revisions");
}

TEST_CASE("a refused write that was done is found", "[kvstore][linearizability]") {
  History history = Sound();
  history.operations[2].outcome = Outcome::kRefused;
  CHECK(KindsOf(history).find("refused") != std::string::npos);
}

TEST_CASE("a write without an answer may be done once, at any time after its call",
          "[kvstore][linearizability]") {
  History history = Sound();
  history.operations[2].outcome = Outcome::kUnknown;
  history.operations[2].end = kNoTime;
  history.operations[2].revision = 0;
  CHECK(KindsOf(history).empty());
  // Or never.
  history.operations.push_back({.client = 3,
                                .call = 5,
                                .outcome = Outcome::kUnknown,
                                .effects = {{.key = "reg/a", .value = "never"}}});
  CHECK(KindsOf(history).empty());
  // But not before it.
  history.operations[2].call = 46;
  CHECK(KindsOf(history) == "real time, search");
}

TEST_CASE("a put that nobody asked for, or that is done twice, is found",
          "[kvstore][linearizability]") {
  History history = Sound();
  history.operations.erase(history.operations.begin() + 4);
  CHECK(KindsOf(history) == "stranger");
  history = Sound();
  Heard(history).push_back({.time = 70 + 3 * kSecond,
                            .revision = 6,
                            .events = {{.pair = MakePair("reg/a", "2", 2, 6, 3), .prev = kA2}}});
  history.final_revision = history.watches[0].complete_to = 6;
  history.final_pairs = {MakePair("reg/a", "2", 2, 6, 3)};
  CHECK(KindsOf(history) == "effects, stranger");
}

TEST_CASE("a condition that was judged wrongly is found", "[kvstore][linearizability]") {
  History history = Sound();
  // What is swapped is no register.
  std::erase_if(history.operations, [](const Operation& one) { return !one.Wrote(); });
  history.operations[1].condition = Condition{.key = "reg/a", .revision = 2};
  CHECK(KindsOf(history).empty());
  history.operations[1].condition->revision = 1;
  CHECK(KindsOf(history) == "condition");
}

TEST_CASE("a watch must not repeat, swap, leave out or tear events",
          "[kvstore][linearizability][watch]") {
  History history = Sound();
  history.watches.push_back(history.watches[0]);
  std::vector<WatchAnswer>& second = history.watches[1].answers;
  second.insert(second.begin(), second[0]);
  CHECK(KindsOf(history) == "watch content, watch progress");

  history.watches[1] = history.watches[0];
  second = history.watches[1].answers;
  second.erase(second.begin());
  CHECK(KindsOf(history) == "watch content");

  history.watches[1] = history.watches[0];
  std::swap(history.watches[1].answers[0], history.watches[1].answers[1]);
  CHECK(KindsOf(history).find("watch") != std::string::npos);

  // It says that it has told everything, and has not.
  history.watches[1] = history.watches[0];
  history.watches[1].answers.pop_back();
  CHECK(KindsOf(history) == "watch content");
  // Without that it may be behind.
  history.watches[1].complete_to = 0;
  CHECK(KindsOf(history).empty());
}

TEST_CASE("a revision in two answers is found", "[kvstore][linearizability][watch]") {
  History history = Sound();
  const WatchEvent other{.pair = MakePair("reg/b", "2", 3, 3, 1)};
  Heard(history)[1].events.push_back(other);
  history.operations[2].effects.push_back({.key = "reg/b", .value = "2"});
  history.final_pairs = {kA2, other.pair};
  CHECK(KindsOf(history).empty());
  Heard(history)[1].events.pop_back();
  Heard(history).insert(Heard(history).begin() + 2, {.time = 42, .revision = 3, .events = {other}});
  CHECK(KindsOf(history) == "watch progress");
}

TEST_CASE("progress ahead of events is found", "[kvstore][linearizability][watch]") {
  History history = Sound();
  Heard(history).insert(Heard(history).begin() + 1, {.time = 41, .revision = 3, .events = {}});
  CHECK(KindsOf(history) == "watch progress");
}

TEST_CASE("a wrong pair before a change is found", "[kvstore][linearizability][watch]") {
  History history = Sound();
  Heard(history)[1].events[0].prev = MakePair("reg/a", "0", 2, 2, 1);
  CHECK(KindsOf(history) == "prev_kv");
  Heard(history)[1].events[0].prev.reset();
  CHECK(KindsOf(history) == "prev_kv");
}

TEST_CASE("versions and creations that do not follow from the log are found",
          "[kvstore][linearizability]") {
  History history = Sound();
  Heard(history)[1].events[0].pair.version = 7;
  CHECK(KindsOf(history).find("log") != std::string::npos);
}

TEST_CASE("a gap in the revisions is found", "[kvstore][linearizability][watch]") {
  History history = Sound();
  history.final_revision = history.watches[0].complete_to = 6;
  CHECK(KindsOf(history) == "watch gap");
}

TEST_CASE("a lease that ends before its time is found", "[kvstore][linearizability][lease]") {
  History history = Sound();
  Heard(history)[4].time = 40 + 3 * kSecond;
  CHECK(KindsOf(history) == "leases");
  history.revoked.insert(77);  // Its owner wanted that.
  CHECK(KindsOf(history).empty());
}

TEST_CASE("a store that ends as something else than its log is found",
          "[kvstore][linearizability]") {
  History history = Sound();
  history.final_pairs.clear();
  CHECK(KindsOf(history) == "final");
}

}  // namespace
}  // namespace keelson::linearizability
