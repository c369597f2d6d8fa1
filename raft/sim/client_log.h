// What clients asked for and were told, by key and without revisions, for the linearizability
// checker.
#ifndef KEELSON_RAFT_SIM_CLIENT_LOG_H_
#define KEELSON_RAFT_SIM_CLIENT_LOG_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "raft/sim/linearizability.h"

namespace keelson::raft::sim {

class ClientLog {
 public:
  // One operation between its call and its return.
  struct Call {
    std::string key;
    uint64_t at = 0;
    size_t place = 0;  // of a write among those of its key
  };

  // A write of `value`, which no other write has. Until EndWrite its outcome is unknown.
  Call BeginWrite(const std::string& key, const std::string& value);
  void EndWrite(const Call& call) { keys_[call.key][call.place].end = ++now_; }
  // It certainly never takes effect.
  void Refuse(const Call& call) { keys_[call.key][call.place].value = kRefused; }

  Call BeginRead(const std::string& key) { return {.key = key, .at = ++now_, .place = 0}; }
  // Null: there was no such key.
  void EndRead(const Call& call, const std::string* value);

  struct Finding {
    uint64_t keys_checked = 0;
    uint64_t keys_given_up = 0;  // too much at a time to decide
    std::optional<std::string> violation;
  };
  // Checks all keys, each with at most `max_steps` steps.
  [[nodiscard]] Finding Check(uint64_t max_steps) const;

 private:
  static constexpr uint64_t kRefused = kNever;
  static constexpr uint64_t kForeign = kNever - 1;  // a value that nobody wrote

  uint64_t now_ = 0;
  std::map<std::string, std::vector<RegisterOperation>> keys_;
  std::map<std::pair<std::string, std::string>, uint64_t> values_;  // (key, value) -> number
};

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_CLIENT_LOG_H_
