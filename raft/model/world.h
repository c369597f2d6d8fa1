// A state of the whole group, and what must be true of it.
#ifndef KEELSON_RAFT_MODEL_WORLD_H_
#define KEELSON_RAFT_MODEL_WORLD_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "raft/model/bounds.h"
#include "raft/model/catalog.h"
#include "raft/model/fingerprint.h"

namespace keelson::raft::model {

inline constexpr size_t kMaxTerm = 7;

// What has happened that the members may have forgotten.
struct History {
  struct Committed {
    EntryTag entry = 0;
    uint8_t in_term = 0;  // the term of the member that first reported it
    friend bool operator==(const Committed&, const Committed&) = default;
  };
  std::array<uint8_t, kMaxTerm + 1> leader = {};      // by term; 0: none yet
  std::array<Committed, kMaxLog + 1> committed = {};  // by index

  friend bool operator==(const History&, const History&) = default;
};

struct World {
  std::array<MemberNumber, kMaxNodes> members = {};
  uint8_t duplicates = 0;
  uint8_t drops = 0;
  uint8_t heartbeats = 0;
  uint8_t stalls = 0;
  History history;
  std::vector<MessageNumber> messages;  // under way: a set, ascending

  void AddMessage(MessageNumber number);
  void TakeMessage(MessageNumber number);

  friend bool operator==(const World&, const World&) = default;
};

// What is read of a World must have been written by Pack with the same number of nodes.
void Pack(const World& world, size_t nodes, std::vector<uint32_t>& out);
// Returns where the next one begins.
const uint32_t* Unpack(const uint32_t* packed, size_t nodes, World& world);

// The smallest fingerprint of `world` over all renamings.
Fingerprint PrintOf(const Catalog& catalog, size_t nodes, const World& world);

// Notes in the history what the member at `position` shows, which has just changed.
// Returns what is wrong with that, or nothing.
std::string Observe(const Catalog& catalog, size_t position, World& world);

// Checks what must hold at any time between the member at `position`, which has just changed, and
// the others. Returns what is broken, or nothing.
std::string CheckWorld(const Catalog& catalog, size_t nodes, size_t position, const World& world);

}  // namespace keelson::raft::model

#endif  // KEELSON_RAFT_MODEL_WORLD_H_
