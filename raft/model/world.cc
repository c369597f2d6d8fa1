#include "raft/model/world.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace keelson::raft::model {
namespace {

std::string EntryName(size_t index, EntryTag entry) {
  if (entry == 0) return absl::StrCat("no entry ", index);
  return absl::StrCat("entry ", index, " of term ", entry / 2);
}

// S3: equal (index, term) means equal prefixes.
std::string CheckLogsMatch(const View& a, const View& b) {
  bool equal = true;
  bool met = false;
  for (size_t index = std::min(a.last, b.last); index > 0; --index) {
    met = met || a.log[index] / 2 == b.log[index] / 2;
    if (met && a.log[index] != b.log[index]) equal = false;
  }
  if (equal) return "";
  return absl::StrCat("log matching: members ", a.id, " and ", b.id,
                      " agree on a term and differ before it");
}

// I9, I10: what a leader believes a member to hold is on that member's disk. Of itself it believes
// that from its election on, of entries that it inherited and perhaps still writes. That does no
// harm: by counting it commits only later ones, of its own term, and for these it waits.
std::string CheckMatch(const View& leader, const View& peer) {
  if (leader.role != Role::kLeader || peer.term > leader.term) return "";
  const size_t match = leader.match[peer.id];
  if (match == 0) return "";
  if (leader.id == peer.id && leader.log[match] / 2 != leader.term) return "";
  const bool held = match <= peer.disk_last && peer.disk[match] == leader.log[match];
  if (held) return "";
  return absl::StrCat("progress: leader ", leader.id, " counts entry ", match, " of member ",
                      peer.id, ", which has ", EntryName(match, peer.disk[match]), " on its disk");
}

// I6: what has been committed is durable on a quorum, for ever.
std::string CheckDurable(const Catalog& catalog, size_t nodes, const World& world) {
  for (size_t index = 1; index <= kMaxLog && world.history.committed[index].entry != 0; ++index) {
    size_t holders = 0;
    for (size_t i = 0; i < nodes; ++i) {
      const View& view = catalog.view(world.members[i]);
      holders += view.disk[index] == world.history.committed[index].entry ? 1 : 0;
    }
    if (holders <= nodes / 2) {
      return absl::StrCat("durability: committed ",
                          EntryName(index, world.history.committed[index].entry),
                          " is on the disks of ", holders);
    }
  }
  return "";
}

}  // namespace

void World::AddMessage(MessageNumber number) {
  const auto at = std::lower_bound(messages.begin(), messages.end(), number);
  if (at == messages.end() || *at != number) messages.insert(at, number);
}

void World::TakeMessage(MessageNumber number) {
  const auto at = std::lower_bound(messages.begin(), messages.end(), number);
  if (at != messages.end() && *at == number) messages.erase(at);
}

void Pack(const World& world, size_t nodes, std::vector<uint32_t>& out) {
  out.insert(out.end(), world.members.begin(),
             world.members.begin() + static_cast<ptrdiff_t>(nodes));
  size_t committed = 0;
  while (committed < kMaxLog && world.history.committed[committed + 1].entry != 0) ++committed;
  out.push_back(world.duplicates | uint32_t{world.drops} << 8 | uint32_t{world.heartbeats} << 16 |
                uint32_t{world.stalls} << 24);
  out.push_back(static_cast<uint32_t>(committed));
  uint32_t leaders = 0;
  for (size_t term = 0; term <= kMaxTerm; ++term) {
    leaders |= uint32_t{world.history.leader[term]} << (4 * term);
  }
  out.push_back(leaders);
  for (size_t index = 1; index <= committed; ++index) {
    const History::Committed& entry = world.history.committed[index];
    out.push_back(entry.entry | uint32_t{entry.in_term} << 8);
  }
  out.push_back(static_cast<uint32_t>(world.messages.size()));
  out.insert(out.end(), world.messages.begin(), world.messages.end());
}

const uint32_t* Unpack(const uint32_t* packed, size_t nodes, World& world) {
  world = World();
  for (size_t i = 0; i < nodes; ++i) world.members[i] = *packed++;
  const uint32_t counts = *packed++;
  world.duplicates = static_cast<uint8_t>(counts);
  world.drops = static_cast<uint8_t>(counts >> 8);
  world.heartbeats = static_cast<uint8_t>(counts >> 16);
  world.stalls = static_cast<uint8_t>(counts >> 24);
  const uint32_t committed = *packed++;
  const uint32_t leaders = *packed++;
  for (size_t term = 0; term <= kMaxTerm; ++term) {
    world.history.leader[term] = static_cast<uint8_t>(leaders >> (4 * term) & 15);
  }
  for (size_t index = 1; index <= committed; ++index, ++packed) {
    world.history.committed[index] = {static_cast<EntryTag>(*packed & 255),
                                      static_cast<uint8_t>(*packed >> 8)};
  }
  const uint32_t count = *packed++;
  world.messages.assign(packed, packed + count);
  return packed + count;
}

Fingerprint PrintOf(const Catalog& catalog, size_t nodes, const World& world) {
  const std::vector<Renaming>& renamings = catalog.renamings();
  std::array<Fingerprint, 120> sums = {};  // 5!
  const auto add = [&](const Fingerprint* prints) {
    for (size_t i = 0; i < renamings.size(); ++i) sums[i] += prints[i];
  };
  for (size_t i = 0; i < nodes; ++i) add(catalog.MemberPrints(world.members[i]));
  for (const MessageNumber number : world.messages) add(catalog.MessagePrints(number));

  uint64_t rest = world.duplicates | uint64_t{world.drops} << 8 | uint64_t{world.heartbeats} << 16 |
                  uint64_t{world.stalls} << 24;
  for (size_t index = 1; index <= kMaxLog && world.history.committed[index].entry != 0; ++index) {
    const History::Committed& entry = world.history.committed[index];
    rest = Mix(rest ^ entry.entry ^ uint64_t{entry.in_term} << 8);
  }
  Fingerprint smallest = {~uint64_t{0}, ~uint64_t{0}};
  for (size_t i = 0; i < renamings.size(); ++i) {
    uint64_t leaders = 0;
    for (size_t term = 0; term <= kMaxTerm; ++term) {
      leaders |= uint64_t{renamings[i][world.history.leader[term]]} << (4 * term);
    }
    sums[i] += {Mix(rest ^ leaders << 32), Mix(rest + leaders + 1)};
    smallest = std::min(smallest, {Mix(sums[i].high), Mix(sums[i].low)});
  }
  return smallest;
}

std::string Observe(const Catalog& catalog, size_t position, World& world) {
  const View& view = catalog.view(world.members[position]);
  History& history = world.history;
  if (view.role == Role::kLeader && history.leader[view.term] != view.id) {
    if (history.leader[view.term] != 0) {
      return absl::StrCat("election safety: members ", history.leader[view.term], " and ", view.id,
                          " lead term ", view.term);
    }
    history.leader[view.term] = static_cast<uint8_t>(view.id);
    for (size_t index = 1; index <= kMaxLog; ++index) {
      const History::Committed& committed = history.committed[index];
      if (committed.entry == 0 || committed.in_term >= view.term) continue;
      if (view.log[index] != committed.entry) {
        return absl::StrCat("leader completeness: leader ", view.id, " of term ", view.term,
                            " lacks the committed ", EntryName(index, committed.entry));
      }
    }
  }
  if (view.commit > view.last) {
    return absl::StrCat("member ", view.id, " commits ", view.commit, " of ", view.last);
  }
  for (size_t index = 1; index <= view.commit; ++index) {
    History::Committed& committed = history.committed[index];
    if (committed.entry == 0) {
      committed = {view.log[index], view.term};
    } else if (committed.entry != view.log[index]) {
      return absl::StrCat("state machine safety: committed ", EntryName(index, committed.entry),
                          "; member ", view.id, " commits ", EntryName(index, view.log[index]));
    }
  }
  return "";
}

std::string CheckWorld(const Catalog& catalog, size_t nodes, size_t position, const World& world) {
  const View& changed = catalog.view(world.members[position]);
  for (size_t i = 0; i < nodes; ++i) {
    const View& other = catalog.view(world.members[i]);
    if (std::string problem = CheckMatch(changed, other); !problem.empty()) return problem;
    if (i == position) continue;
    if (std::string problem = CheckMatch(other, changed); !problem.empty()) return problem;
    if (std::string problem = CheckLogsMatch(changed, other); !problem.empty()) return problem;
  }
  return CheckDurable(catalog, nodes, world);
}

}  // namespace keelson::raft::model
