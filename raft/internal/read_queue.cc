#include "raft/internal/read_queue.h"

#include <algorithm>
#include <utility>

namespace keelson::raft::internal {
namespace {

// Rounds that nobody answers are forgotten, oldest first; only the lease misses them.
constexpr size_t kMaxRounds = 256;

}  // namespace

void ReadQueue::Reset() {
  last_position_ = 0;
  reads_.clear();
  rounds_.clear();
  echoes_.clear();
}

uint64_t ReadQueue::NewRound(uint64_t tick) {
  ++last_position_;
  if (rounds_.size() == kMaxRounds) rounds_.pop_front();
  rounds_.push_back({last_position_, tick});
  return last_position_;
}

void ReadQueue::Add(Index commit, Message request) {
  reads_.push_back({last_position_, commit, std::move(request)});
}

bool ReadQueue::RecordEcho(NodeId from, uint64_t position) {
  if (position > last_position_) return false;
  uint64_t& newest = echoes_[from];
  newest = std::max(newest, position);
  return true;
}

std::optional<Index> ReadQueue::EchoOf(NodeId id) const {
  const auto it = echoes_.find(id);
  if (it == echoes_.end()) return std::nullopt;
  return it->second;
}

std::vector<ReadQueue::Read> ReadQueue::Release(uint64_t confirmed) {
  std::vector<Read> released;
  while (!reads_.empty() && reads_.front().position <= confirmed) {
    released.push_back(std::move(reads_.front()));
    reads_.pop_front();
  }
  return released;
}

std::optional<uint64_t> ReadQueue::RoundTick(uint64_t confirmed) {
  std::optional<uint64_t> tick;
  while (!rounds_.empty() && rounds_.front().position <= confirmed) {
    tick = rounds_.front().tick;
    rounds_.pop_front();
  }
  return tick;
}

std::string ReadQueue::EncodePosition(uint64_t position) {
  std::string context(8, '\0');
  for (size_t i = 0; i < 8; ++i) context[i] = static_cast<char>(position >> (56 - 8 * i));
  return context;
}

std::optional<uint64_t> ReadQueue::DecodePosition(std::string_view context) {
  if (context.size() != 8) return std::nullopt;
  uint64_t position = 0;
  for (const char c : context) position = position << 8 | static_cast<uint8_t>(c);
  return position;
}

}  // namespace keelson::raft::internal
