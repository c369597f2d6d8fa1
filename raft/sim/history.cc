#include "raft/sim/history.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace keelson::raft::sim {

void History::EndWrite(Index began, const KvCommand& command, Index revision) {
  ++counters_.writes;
  const OperationId id(command.client, command.sequence);
  const auto effect = effects_.find(id);
  if (effect == effects_.end() || effect->second != revision) {
    return invariants_.Fail("I16", absl::StrCat("the write ", id.first, "/", id.second,
                                                " was acknowledged at revision ", revision,
                                                ", where it did not take effect"));
  }
  if (revision <= began) {
    return invariants_.Fail(
        "LIN", absl::StrCat("the write ", id.first, "/", id.second, " got revision ", revision,
                            ", but what was committed before it began had ", began));
  }
  acknowledged_[id] = revision;
  Return(revision);
}

void History::EndRead(Index began, const std::string& key, const KvValue* value, Index revision) {
  ++counters_.reads;
  if (revision < began) {
    return invariants_.Fail("LIN",
                            absl::StrCat("a read of '", key, "' saw revision ", revision,
                                         ", but what was committed before it began had ", began));
  }
  const std::vector<std::pair<Index, std::string>>& versions = versions_[key];
  auto newer =
      std::upper_bound(versions.begin(), versions.end(), revision,
                       [](Index limit, const auto& version) { return limit < version.first; });
  const auto* want = newer == versions.begin() ? nullptr : &*std::prev(newer);
  const bool equal = value == nullptr || want == nullptr
                         ? value == nullptr && want == nullptr
                         : value->revision == want->first && value->value == want->second;
  if (!equal) {
    return invariants_.Fail("LIN", absl::StrCat("a read of '", key, "' at revision ", revision,
                                                " did not return its newest value"));
  }
  Return(revision);
}

void History::Refused(const KvCommand& command) {
  ++counters_.refused;
  const OperationId id(command.client, command.sequence);
  refused_.insert(id);
  if (effects_.count(id) > 0) {
    invariants_.Fail("I16", absl::StrCat("the write ", id.first, "/", id.second,
                                         " took effect and was refused"));
  }
}

void History::Applied(const Entry& entry, const KvState& state) {
  if (entry.index <= applied_) return;
  applied_ = entry.index;
  if (entry.type != EntryType::kNormal || entry.data.empty()) return;
  const absl::StatusOr<KvCommand> command = DecodeKvCommand(entry.data.view());
  if (!command.ok()) {
    return invariants_.Fail("I16", absl::StrCat("entry ", entry.index, " is nobody's command"));
  }
  const OperationId id(command->client, command->sequence);
  if (refused_.count(id) > 0) {
    return invariants_.Fail("I16", absl::StrCat("the write ", id.first, "/", id.second,
                                                " was refused and took effect"));
  }
  const auto session = state.sessions.find(command->client);
  if (session == state.sessions.end() || session->second.revision != entry.index) return;
  const auto [effect, fresh] = effects_.try_emplace(id, entry.index);
  if (!fresh) {
    return invariants_.Fail("I16",
                            absl::StrCat("the write ", id.first, "/", id.second, " took effect at ",
                                         effect->second, " and ", entry.index));
  }
  versions_[command->key].emplace_back(entry.index, command->value);
}

void History::CheckFinal(NodeId node, const KvState& state) {
  for (const auto& [id, revision] : acknowledged_) {
    const auto session = state.sessions.find(id.first);
    if (revision > state.applied.index || session == state.sessions.end() ||
        session->second.sequence < id.second) {
      return invariants_.Fail(
          "LOST", absl::StrCat("node ", node, " lacks the acknowledged write ", id.first, "/",
                               id.second, " of revision ", revision));
    }
  }
  for (const auto& [key, versions] : versions_) {
    if (versions.empty()) continue;
    const auto found = state.keys.find(key);
    if (found == state.keys.end() || found->second.revision < versions.back().first) {
      return invariants_.Fail("LOST",
                              absl::StrCat("node ", node, " has an old value of '", key, "'"));
    }
  }
}

}  // namespace keelson::raft::sim
