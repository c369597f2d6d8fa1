#include "raft/sim/client_log.h"

#include "absl/strings/str_cat.h"

namespace keelson::raft::sim {

ClientLog::Call ClientLog::BeginWrite(const std::string& key, const std::string& value) {
  std::vector<RegisterOperation>& operations = keys_[key];
  const Call call{.key = key, .at = ++now_, .place = operations.size()};
  const uint64_t number = values_.try_emplace({key, value}, values_.size() + 1).first->second;
  operations.push_back({.write = true, .value = number, .call = call.at, .end = kNever});
  return call;
}

void ClientLog::EndRead(const Call& call, const std::string* value) {
  uint64_t number = 0;
  if (value != nullptr) {
    const auto found = values_.find({call.key, *value});
    number = found == values_.end() ? kForeign : found->second;
  }
  keys_[call.key].push_back({.write = false, .value = number, .call = call.at, .end = ++now_});
}

ClientLog::Finding ClientLog::Check(uint64_t max_steps) const {
  Finding finding;
  for (const auto& [key, operations] : keys_) {
    std::vector<RegisterOperation> history;
    for (const RegisterOperation& operation : operations) {
      if (operation.value != kRefused) history.push_back(operation);
    }
    const LinearizabilityResult result = CheckRegister(history, max_steps);
    ++finding.keys_checked;
    if (result.verdict == Linearizability::kGaveUp) ++finding.keys_given_up;
    if (result.verdict != Linearizability::kNo) continue;
    std::string text = absl::StrCat("the history of '", key, "' is not linearizable; no place for");
    for (size_t i = 0; i < result.unplaced.size() && i < 4; ++i) {
      const RegisterOperation& operation = history[result.unplaced[i]];
      absl::StrAppend(&text, " ", operation.write ? "write" : "read", "(", operation.value, ")@",
                      operation.call, "-", operation.end == kNever ? 0 : operation.end);
    }
    finding.violation = text;
    return finding;
  }
  return finding;
}

}  // namespace keelson::raft::sim
