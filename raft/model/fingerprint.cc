#include "raft/model/fingerprint.h"

#include <algorithm>
#include <numeric>

namespace keelson::raft::model {

std::vector<Renaming> Renamings(size_t nodes, bool symmetry) {
  std::vector<Renaming> all;
  Renaming renaming = {};
  std::iota(renaming.begin(), renaming.end(), uint8_t{0});
  do {
    all.push_back(renaming);
  } while (symmetry && std::next_permutation(renaming.begin() + 1,
                                             renaming.begin() + 1 + static_cast<ptrdiff_t>(nodes)));
  return all;
}

void Fingerprinter::Add(const Message& message) {
  (*this)(message.type, message.term, message.log_term, message.index, message.entries);
  Node(message.to);
  Node(message.from);
  Node(message.vote);
  (*this)(message.commit, message.commit_term, message.snapshot, message.reject);
  (*this)(message.reject_hint, std::string_view(message.context), message.responses);
}

}  // namespace keelson::raft::model
