#include "tests/linearizability/watch_checker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace keelson::linearizability {

void Findings::Add(std::string_view kind, std::string text) {
  ++count_;
  std::vector<std::string>& lines = by_kind_.try_emplace(std::string(kind)).first->second;
  if (lines.size() < kMaxViolations) lines.push_back(std::move(text));
}

std::vector<std::string> Findings::Lines() const {
  std::vector<std::string> lines;
  for (size_t row = 0; row < kMaxViolations; ++row) {
    for (const auto& [kind, texts] : by_kind_) {
      if (row < texts.size() && lines.size() < kMaxViolations) {
        lines.push_back(absl::StrCat(kind, ": ", texts[row]));
      }
    }
  }
  return lines;
}

namespace {

bool IsWhole(const WatchRecord& watch, int64_t final_revision) {
  return watch.key == std::string(1, '\0') && watch.range_end == watch.key &&
         watch.start_revision <= 2 && watch.complete_to >= final_revision;
}

// Where the revision before the change has been compacted away, the pair before it may be left out.
bool Same(const WatchEvent& heard, const WatchEvent& want, int64_t compacted) {
  if (heard == want) return true;
  return !heard.prev.has_value() && heard.pair == want.pair && heard.deletion == want.deletion &&
         want.pair.mod_revision <= compacted;
}

// Order, uniqueness, atomicity and progress: what can be said of a watch by itself.
void CheckAlone(const WatchRecord& watch, Findings& findings, Verdict& verdict) {
  int64_t told = watch.start_revision - 1;  // everything up to here has been told
  int64_t last = told;
  for (const WatchAnswer& answer : watch.answers) {
    if (answer.events.empty()) {
      ++verdict.progress;
      told = std::max(told, answer.revision);
      continue;
    }
    const int64_t first = answer.events.front().pair.mod_revision;
    if (first <= told) {
      findings.Add("watch progress",
                   absl::StrCat(watch.name, " heard revision ", first,
                                first <= last ? " twice or out of order, after "
                                              : " after it was told of progress up to ",
                                told));
    }
    int64_t previous = first;
    for (const WatchEvent& event : answer.events) {
      ++verdict.events;
      if (event.pair.mod_revision < previous) {
        findings.Add("watch order", absl::StrCat(watch.name, " heard ", event.pair.mod_revision,
                                                 " after ", previous));
      }
      previous = event.pair.mod_revision;
    }
    if (answer.revision < previous) {
      findings.Add("watch header",
                   absl::StrCat(watch.name, " heard revision ", previous,
                                " from a store that says it is at ", answer.revision));
    }
    last = std::max(last, previous);
    // A revision comes at once: none of it may follow in another answer.
    told = std::max(told, previous);
  }
}

// The part of the log that the watch is about, event by event.
void CheckAgainst(const Log& log, const WatchRecord& watch, int64_t compacted, Findings& findings) {
  std::vector<const WatchEvent*> heard;
  int64_t reached = watch.complete_to;
  for (const WatchAnswer& answer : watch.answers) {
    for (const WatchEvent& event : answer.events) {
      heard.push_back(&event);
      reached = std::max(reached, event.pair.mod_revision);
    }
    if (answer.events.empty()) reached = std::max(reached, answer.revision);
  }
  size_t at = 0;
  for (auto it = log.lower_bound(watch.start_revision); it != log.end() && it->first <= reached;
       ++it) {
    for (const WatchEvent& want : it->second) {
      if (!InRange(want.pair.key, watch.key, watch.range_end)) continue;
      if (at < heard.size() && Same(*heard[at], want, compacted)) {
        ++at;
        continue;
      }
      findings.Add("watch content",
                   absl::StrCat(watch.name, " from ", watch.start_revision, " ought to hear the ",
                                ToString(want), " and heard ",
                                at < heard.size() ? ToString(*heard[at]) : "nothing more"));
      return;
    }
  }
  if (at < heard.size()) {
    findings.Add("watch content",
                 absl::StrCat(watch.name, " heard more than the log has: ", ToString(*heard[at])));
  }
}

// The pair before each change is what the change before left.
void CheckPrevious(const Log& log, Findings& findings) {
  std::map<std::string, Pair> state;
  for (const auto& [revision, events] : log) {
    for (const WatchEvent& event : events) {
      const auto it = state.find(event.pair.key);
      const bool same = it == state.end() ? !event.prev.has_value()
                                          : event.prev.has_value() && *event.prev == it->second;
      if (!same) {
        findings.Add("prev_kv",
                     absl::StrCat("it was ", it == state.end() ? "nothing" : ToString(it->second),
                                  ": ", ToString(event)));
      }
      if (event.deletion) {
        state.erase(event.pair.key);
      } else {
        state[event.pair.key] = event.pair;
      }
    }
  }
}

}  // namespace

Log CheckWatches(const History& history, Findings& findings, Verdict& verdict) {
  Log log;
  const auto whole = std::find_if(
      history.watches.begin(), history.watches.end(),
      [&](const WatchRecord& watch) { return IsWhole(watch, history.final_revision); });
  if (whole == history.watches.end()) {
    findings.Add("watch gap", absl::StrCat("no watch has told everything up to revision ",
                                           history.final_revision));
    return log;
  }
  for (const WatchAnswer& answer : whole->answers) {
    for (const WatchEvent& event : answer.events) log[event.pair.mod_revision].push_back(event);
  }
  for (const WatchRecord& watch : history.watches) {
    CheckAlone(watch, findings, verdict);
    CheckAgainst(log, watch, history.compacted, findings);
  }
  CheckPrevious(log, findings);
  // Every revision changes something.
  for (int64_t revision = 2; revision <= history.final_revision; ++revision) {
    if (log.count(revision) == 0) {
      findings.Add("watch gap", absl::StrCat("nobody has heard of revision ", revision));
    }
  }
  return log;
}

}  // namespace keelson::linearizability
