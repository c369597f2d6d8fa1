#include "tests/linearizability/checker.h"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "raft/sim/linearizability.h"
#include "tests/linearizability/watch_checker.h"

namespace keelson::linearizability {
namespace {

constexpr uint64_t kSearchSteps = 300'000;
constexpr size_t kSearchLength = 1'500;  // operations of one search
constexpr int64_t kSecond = 1'000'000'000;

std::string Name(const Operation& operation) {
  std::string what = operation.condition.has_value() ? "transaction" : "put";
  if (operation.effects.empty()) what = "read";
  std::string key;
  if (!operation.effects.empty()) {
    key = absl::StrCat(operation.effects[0].key, "=", operation.effects[0].value);
  } else if (!operation.readings.empty()) {
    key = operation.readings[0].key;
  }
  return absl::StrCat(
      what, " of '", key, "' by client ", operation.client, " from ", operation.call / 1000,
      " us to ", operation.end == kNoTime ? "never" : absl::StrCat(operation.end / 1000, " us"),
      ", told revision ", operation.revision);
}

class Sweep {
 public:
  Sweep(const History& history, const Log& log, Findings& findings, Verdict& verdict)
      : history_(history), log_(log), findings_(findings), verdict_(verdict) {}

  void Run() {
    IndexLog();
    PlaceOperations();
    CheckStrangers();
    Replay();
    CheckRealTime();
  }

 private:
  using Placed = std::pair<int64_t, size_t>;  // revision, operation

  void IndexLog() {
    for (const auto& [revision, events] : log_) {
      for (const WatchEvent& event : events) {
        if (event.deletion) continue;
        const auto [it, fresh] =
            where_.emplace(std::pair(event.pair.key, event.pair.value), revision);
        if (!fresh) {
          findings_.Add("effects", absl::StrCat("the put of ", ToString(event.pair),
                                                " took effect twice, first at ", it->second));
        }
      }
    }
  }

  // The revision at which the effects of `operation` stand in the log, if they do.
  std::optional<int64_t> Find(const Operation& operation) const {
    for (const Effect& effect : operation.effects) {
      if (effect.deletion) continue;
      const auto it = where_.find({effect.key, effect.value});
      if (it != where_.end()) return it->second;
    }
    return std::nullopt;
  }

  void PlaceOperations() {
    revisions_.resize(history_.operations.size());
    for (size_t i = 0; i < history_.operations.size(); ++i) {
      const Operation& operation = history_.operations[i];
      const std::optional<int64_t> found = Find(operation);
      switch (operation.outcome) {
        case Outcome::kRefused:
          ++verdict_.refused;
          if (found.has_value()) {
            findings_.Add("refused",
                          absl::StrCat("refused, but done at ", *found, ": ", Name(operation)));
          }
          continue;
        case Outcome::kUnknown:
          ++verdict_.unknown;
          if (!found.has_value()) continue;
          ++verdict_.unknown_effects;
          revisions_[i] = *found;
          break;
        case Outcome::kDone:
          (operation.Wrote() ? verdict_.writes : verdict_.reads) += 1;
          revisions_[i] = operation.revision;
          if (operation.Wrote() || !found.has_value()) break;
          findings_.Add("effects", absl::StrCat("its condition did not hold, but it was done at ",
                                                *found, ": ", Name(operation)));
          continue;
      }
      if (operation.outcome == Outcome::kUnknown || operation.Wrote()) {
        CheckWrite(operation, revisions_[i]);
      }
      placed_.emplace_back(revisions_[i], i);
    }
    std::sort(placed_.begin(), placed_.end());
  }

  // What the log has at `revision` is what `operation` does, and nothing else.
  void CheckWrite(const Operation& operation, int64_t revision) {
    if (!owned_.emplace(revision).second) {
      findings_.Add("revisions", absl::StrCat("two writes have one revision: ", Name(operation)));
    }
    const auto at = log_.find(revision);
    const size_t events = at == log_.end() ? 0 : at->second.size();
    bool same = events == operation.effects.size();
    for (size_t i = 0; same && i < events; ++i) {
      const WatchEvent& event = at->second[i];
      const Effect& effect = operation.effects[i];
      same = event.deletion == effect.deletion && event.pair.key == effect.key &&
             (effect.deletion ||
              (event.pair.value == effect.value && event.pair.lease == effect.lease));
    }
    if (!same) {
      findings_.Add("lost", absl::StrCat("not in the log at ", revision, ", which has ",
                                         events == 0 ? "nothing" : ToString(at->second[0]), ": ",
                                         Name(operation)));
    }
  }

  // Revisions that no operation claims.
  void CheckStrangers() {
    for (const auto& [revision, events] : log_) {
      if (owned_.count(revision) > 0) continue;
      for (const WatchEvent& event : events) {
        if (!event.deletion) {
          findings_.Add("stranger", absl::StrCat("nobody has asked for the ", ToString(event)));
        }
      }
    }
  }

  void Replay() {
    auto next = placed_.begin();
    for (auto at = log_.begin();; ++at) {
      const int64_t until = at == log_.end() ? kNoTime : at->first;
      // Writes stand before their own effects, everything else after those of its revision.
      for (; next != placed_.end() && next->first < until; ++next) CheckOn(next->second);
      if (at == log_.end()) break;
      for (auto write = next; write != placed_.end() && write->first == until; ++write) {
        if (IsWrite(write->second)) CheckOn(write->second);
      }
      for (const WatchEvent& event : at->second) Apply(event, owned_.count(until) > 0);
    }
    std::vector<Pair> left;
    for (const auto& [key, pair] : state_) left.push_back(pair);
    if (left != history_.final_pairs) {
      findings_.Add("final",
                    absl::StrCat("the log leads to ", left.size(), " pairs, the store has ",
                                 history_.final_pairs.size(), " or others"));
    }
  }

  [[nodiscard]] bool IsWrite(size_t number) const {
    const Operation& operation = history_.operations[number];
    return operation.Wrote() || operation.outcome == Outcome::kUnknown;
  }

  // The operation against the state of now.
  void CheckOn(size_t number) {
    const Operation& operation = history_.operations[number];
    // Called at its own revision for a write, and once more after it by the loop for the rest.
    if (IsWrite(number) && !checked_.emplace(number).second) return;
    if (operation.condition.has_value()) {
      const Condition& condition = *operation.condition;
      const auto it = state_.find(condition.key);
      const int64_t is = it == state_.end() ? 0
                         : condition.target == Condition::Target::kCreate
                             ? it->second.create_revision
                             : it->second.mod_revision;
      const bool holds = is == condition.revision;
      const bool told = operation.outcome == Outcome::kUnknown || operation.held;
      if (holds != told) {
        findings_.Add(
            "condition",
            absl::StrCat("'", condition.key, "' has revision ", is, " and not ", condition.revision,
                         ", so it ", holds ? "held" : "did not hold", ": ", Name(operation)));
      }
    }
    if (operation.outcome != Outcome::kDone) return;
    for (const Reading& reading : operation.readings) CheckReading(operation, reading);
  }

  void CheckReading(const Operation& operation, const Reading& reading) {
    std::vector<Pair> want;
    for (auto it = state_.lower_bound(reading.key);
         it != state_.end() && InRange(it->first, reading.key, reading.range_end); ++it) {
      want.push_back(it->second);
    }
    if (want == reading.pairs) return;
    const auto [a, b] =
        std::mismatch(want.begin(), want.end(), reading.pairs.begin(), reading.pairs.end());
    findings_.Add("reads",
                  absl::StrCat("it saw ", reading.pairs.size(), " pairs, ",
                               b == reading.pairs.end() ? "none" : ToString(*b),
                               " where the log has ", want.size(), ", ",
                               a == want.end() ? "none" : ToString(*a), ": ", Name(operation)));
  }

  void Apply(const WatchEvent& event, bool owned) {
    const auto before = state_.find(event.pair.key);
    if (event.deletion) {
      if (before == state_.end()) {
        findings_.Add("log", absl::StrCat("there was no such key: ", ToString(event)));
        return;
      }
      if (!owned && before->second.lease == 0) {
        findings_.Add("stranger", absl::StrCat("nobody has asked for the ", ToString(event)));
      }
      if (!owned) ++verdict_.expiries;
      state_.erase(before);
      return;
    }
    Pair want = event.pair;
    want.create_revision =
        before == state_.end() ? want.mod_revision : before->second.create_revision;
    want.version = before == state_.end() ? 1 : before->second.version + 1;
    if (want != event.pair) {
      findings_.Add("log", absl::StrCat("it ought to be ", ToString(want), ": ", ToString(event)));
    }
    state_[event.pair.key] = event.pair;
  }

  void CheckRealTime() {
    std::vector<size_t> by_call;
    std::vector<size_t> by_end;
    for (size_t i = 0; i < history_.operations.size(); ++i) {
      if (revisions_[i] == 0) continue;
      by_call.push_back(i);
      if (history_.operations[i].end != kNoTime) by_end.push_back(i);
    }
    const std::vector<Operation>& all = history_.operations;
    std::sort(by_call.begin(), by_call.end(),
              [&](size_t a, size_t b) { return all[a].call < all[b].call; });
    std::sort(by_end.begin(), by_end.end(),
              [&](size_t a, size_t b) { return all[a].end < all[b].end; });
    auto returned = by_end.begin();
    int64_t least = 0;
    size_t who = 0;
    for (const size_t number : by_call) {
      for (; returned != by_end.end() && all[*returned].end < all[number].call; ++returned) {
        if (revisions_[*returned] <= least) continue;
        least = revisions_[*returned];
        who = *returned;
      }
      const int64_t revision = revisions_[number];
      if (revision > least || (revision == least && !IsWrite(number))) continue;
      findings_.Add("real time", absl::StrCat("the ", Name(all[number]), " stands at ", revision,
                                              ", but was called after the end of the ",
                                              Name(all[who]), ", which stands at ", least));
    }
  }

  const History& history_;
  const Log& log_;
  Findings& findings_;
  Verdict& verdict_;
  std::map<std::pair<std::string, std::string>, int64_t> where_;  // of a put, by key and value
  std::vector<int64_t> revisions_;                                // by operation; 0: no effect
  std::vector<Placed> placed_;
  std::set<int64_t> owned_;  // revisions that an operation claims
  std::set<size_t> checked_;
  std::map<std::string, Pair> state_;
};

// --- Registers, without revisions ---

class Registers {
 public:
  Registers(const History& history, Findings& findings, Verdict& verdict)
      : history_(history), findings_(findings), verdict_(verdict) {}

  void Run() {
    for (const Operation& operation : history_.operations) Take(operation);
    for (auto& [key, operations] : operations_) CheckOne(key, operations);
  }

 private:
  using Register = raft::sim::RegisterOperation;

  void Take(const Operation& operation) {
    if (operation.outcome == Outcome::kRefused) return;
    Register one{
        .call = static_cast<uint64_t>(operation.call),
        .end = operation.end == kNoTime ? raft::sim::kNever : static_cast<uint64_t>(operation.end)};
    std::string key;
    if (!operation.effects.empty() && !operation.condition.has_value()) {
      one.write = true;
      one.value = NumberOf(operation.effects[0].value);
      key = operation.effects[0].key;
    } else if (operation.outcome == Outcome::kDone && operation.readings.size() == 1) {
      const Reading& reading = operation.readings[0];
      if (!reading.range_end.empty()) return;
      one.value = reading.pairs.empty() ? 0 : NumberOf(reading.pairs[0].value);
      key = reading.key;
    }
    if (absl::StartsWith(key, "reg/")) operations_[key].push_back(one);
  }

  uint64_t NumberOf(const std::string& value) {
    return numbers_.emplace(value, numbers_.size() + 1).first->second;
  }

  // Of a long history the beginning: what had been answered when it was cut.
  void CheckOne(const std::string& key, std::vector<Register>& operations) {
    std::sort(operations.begin(), operations.end(),
              [](const Register& a, const Register& b) { return a.call < b.call; });
    if (operations.size() > kSearchLength) {
      const uint64_t cut = operations[kSearchLength].call;
      operations.resize(kSearchLength);
      std::erase_if(operations, [cut](const Register& one) { return !one.write && one.end > cut; });
      for (Register& one : operations) {
        if (one.end > cut) one.end = raft::sim::kNever;
      }
    }
    const auto result = raft::sim::CheckRegister(operations, kSearchSteps);
    if (result.verdict == raft::sim::Linearizability::kGaveUp) {
      ++verdict_.registers_given_up;
      return;
    }
    ++verdict_.registers_checked;
    if (result.verdict == raft::sim::Linearizability::kYes) return;
    const Register& first = operations[result.unplaced.front()];
    findings_.Add("search", absl::StrCat("no order of the operations on '", key, "' explains the ",
                                         first.write ? "write" : "read", " from ",
                                         first.call / 1000, " us to ", first.end / 1000, " us"));
  }

  const History& history_;
  Findings& findings_;
  Verdict& verdict_;
  std::map<std::string, uint64_t> numbers_;
  std::map<std::string, std::vector<Register>> operations_;
};

// --- Leases ---

void CheckLeases(const History& history, const Log& log, Findings& findings) {
  std::map<int64_t, int64_t> heard;  // revision -> when it was first told
  for (const WatchRecord& watch : history.watches) {
    for (const WatchAnswer& answer : watch.answers) {
      for (const WatchEvent& event : answer.events) {
        const auto [it, fresh] = heard.emplace(event.pair.mod_revision, answer.time);
        if (!fresh) it->second = std::min(it->second, answer.time);
      }
    }
  }
  std::map<int64_t, int64_t> until;  // lease -> when it may end at the earliest
  for (const Renewal& renewal : history.renewals) {
    int64_t& end = until[renewal.lease];
    const auto ttl = static_cast<double>(renewal.ttl_seconds * kSecond);
    end = std::max(end, renewal.call + static_cast<int64_t>(ttl * (1 - history.clock_error)));
  }
  std::set<int64_t> asked;  // revisions of deletions that a client asked for
  for (const Operation& operation : history.operations) {
    if (operation.Wrote()) asked.insert(operation.revision);
  }
  std::map<std::string, int64_t> lease_of;
  std::set<std::string> unsure;  // keys that somebody may have deleted without an answer
  for (const Operation& operation : history.operations) {
    if (operation.outcome != Outcome::kUnknown) continue;
    for (const Effect& effect : operation.effects) {
      if (effect.deletion)
        unsure.insert(absl::StrCat(effect.key, "@", operation.condition->revision));
    }
  }
  std::map<std::string, int64_t> created;
  for (const auto& [revision, events] : log) {
    for (const WatchEvent& event : events) {
      if (!event.deletion) {
        lease_of[event.pair.key] = event.pair.lease;
        created[event.pair.key] = event.pair.create_revision;
        continue;
      }
      const int64_t lease = lease_of[event.pair.key];
      const bool may_be_asked =
          asked.count(revision) > 0 || history.revoked.count(lease) > 0 ||
          unsure.count(absl::StrCat(event.pair.key, "@", created[event.pair.key])) > 0;
      if (may_be_asked || until.count(lease) == 0 || heard[revision] >= until[lease]) continue;
      findings.Add("leases", absl::StrCat("lease ", lease, " ended at revision ", revision, ", ",
                                          (until[lease] - heard[revision]) / 1'000'000,
                                          " ms before the time that its owner was told"));
    }
  }
}

}  // namespace

Verdict Check(const History& history) {
  Verdict verdict;
  Findings findings;
  const Log log = CheckWatches(history, findings, verdict);
  Sweep(history, log, findings, verdict).Run();
  Registers(history, findings, verdict).Run();
  CheckLeases(history, log, findings);
  verdict.violations = findings.Lines();
  verdict.violation_count = findings.count();
  return verdict;
}

}  // namespace keelson::linearizability
