// What the clients of a store saw: the material that checker.h judges.
//
// Times are nanoseconds of one monotonic clock that all clients share. Every value that is put is
// unique, so that the effect of an operation without an answer is found in the log.
#ifndef KEELSON_TESTS_LINEARIZABILITY_HISTORY_H_
#define KEELSON_TESTS_LINEARIZABILITY_HISTORY_H_

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace keelson::linearizability {

inline constexpr int64_t kNoTime = std::numeric_limits<int64_t>::max();

// A key as the store tells it.
struct Pair {
  std::string key;
  std::string value;
  int64_t create_revision = 0;
  int64_t mod_revision = 0;
  int64_t version = 0;
  int64_t lease = 0;

  friend bool operator==(const Pair&, const Pair&) = default;
};
std::string ToString(const Pair& pair);

// Puts `value`, or deletes the one key.
struct Effect {
  std::string key;
  std::string value;
  int64_t lease = 0;
  bool deletion = false;
};

// Holds while the key has this revision; 0: while there is no such key.
struct Condition {
  enum class Target : uint8_t { kCreate, kMod } target = Target::kMod;
  std::string key;
  int64_t revision = 0;
};

// What was told of [key, range_end), or of the one key where range_end is empty.
struct Reading {
  std::string key;
  std::string range_end;
  std::vector<Pair> pairs;
};

enum class Outcome : uint8_t {
  kDone,     // answered
  kRefused,  // it has certainly had no effect
  kUnknown,  // no answer: it may take effect at any time after its call, once, or never
};

struct Operation {
  int client = 0;
  int64_t call = 0;
  int64_t end = kNoTime;
  Outcome outcome = Outcome::kUnknown;
  int64_t revision = 0;                // of the answer
  std::optional<Condition> condition;  // absent: it holds
  bool held = true;                    // whether the answer says that it held
  std::vector<Effect> effects;         // where it holds
  std::vector<Reading> readings;       // of the state before the effects

  // The answer says that it changed something.
  [[nodiscard]] bool Wrote() const { return outcome == Outcome::kDone && held && !effects.empty(); }
};

struct WatchEvent {
  bool deletion = false;
  Pair pair;                 // of a deletion: key and mod_revision
  std::optional<Pair> prev;  // as told

  friend bool operator==(const WatchEvent&, const WatchEvent&) = default;
};
std::string ToString(const WatchEvent& event);

struct WatchAnswer {
  int64_t time = 0;  // when it was heard
  int64_t revision = 0;
  std::vector<WatchEvent> events;  // none: progress
};

struct WatchRecord {
  std::string name;
  std::string key;
  std::string range_end;
  int64_t start_revision = 0;
  std::vector<WatchAnswer> answers;
  // It was told to wait for this revision, and did; 0: it was ended before.
  int64_t complete_to = 0;
};

// A lease was granted, or renewed: the answer to a call that began at `call` said that it has
// `ttl_seconds` from some moment after that.
struct Renewal {
  int64_t lease = 0;
  int64_t call = 0;
  int64_t ttl_seconds = 0;
};

struct History {
  std::vector<Operation> operations;
  std::vector<WatchRecord> watches;
  std::vector<Renewal> renewals;
  std::set<int64_t> revoked;  // leases whose owner has asked for their end
  std::vector<Pair> final_pairs;
  int64_t final_revision = 0;
  double clock_error = 0;  // by which share clocks of members may be fast
  int64_t compacted = 0;   // the largest revision that a compaction was asked for
};

// [key, range_end) as requests spell it.
bool InRange(const std::string& candidate, const std::string& key, const std::string& range_end);

}  // namespace keelson::linearizability

#endif  // KEELSON_TESTS_LINEARIZABILITY_HISTORY_H_
