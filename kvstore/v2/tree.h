// The tree of etcd's version 2 API: files and directories with an index that counts changes.
// Deterministic: the same requests in the same order make the same tree everywhere.
//
// The answers, indexes and errors are those of etcd 3.4 with --enable-v2 (kvstore.md section 15),
// found by comparing with it: tests/interop/v2_diff_test.
//
// Threading: a value; KeyStore (key_store.h) is the shared one.
#ifndef KEELSON_KVSTORE_V2_TREE_H_
#define KEELSON_KVSTORE_V2_TREE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "kvstore/api/v2.pb.h"
#include "kvstore/v2/error.h"
#include "kvstore/v2/event.h"

namespace keelson::kvstore::v2 {

using Outcome = std::variant<Event, Error>;

// "/a//b/../c/" becomes "/a/c"; nothing climbs above "/".
std::string CleanPath(std::string_view path);
// Whether an element of `path` begins with "_".
bool HasHiddenElement(std::string_view path);

class Tree {
 public:
  // Founding a cluster took etcd 3.4 three changes of its own tree; a client's first is the fourth.
  static constexpr uint64_t kFirstIndex = 3;

  Tree();
  ~Tree();
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  // What apart from the event a change was: the paths that are gone, children first.
  struct Change {
    Outcome outcome;
    std::vector<std::string> removed;
  };
  // Any operation but EXPIRE. `path` is clean.
  Change Apply(const V2Request& request);
  // Removes what is over at `time`, the oldest first, each as a change of its own.
  std::vector<Change> Expire(int64_t time);

  // `path` is clean; `now` is for the remaining time shown.
  [[nodiscard]] Outcome Get(const std::string& path, bool recursive, int64_t now) const;

  [[nodiscard]] uint64_t index() const { return index_; }
  // When the next node expires; nothing: none will.
  [[nodiscard]] std::optional<int64_t> NextExpiration() const;

  // --- Keeping it ---

  // The paths that changed since the last call; each is stored as it is now, or is gone.
  std::set<std::string> TakeTouched() { return std::exchange(touched_, {}); }
  [[nodiscard]] std::optional<V2Node> Stored(const std::string& path) const;
  // Puts back what was stored, parents first. False when `path` has no parent or is there.
  bool Restore(const std::string& path, const V2Node& stored);
  void RestoreIndex(uint64_t index) { index_ = index; }

 private:
  struct Node;
  // A node, or why there is none.
  using Found = std::variant<Node*, Error>;

  [[nodiscard]] Found Find(const std::string& path) const;
  // The directory `path`, made if it is missing with all above it.
  Found MakeDirectory(const std::string& path);
  Change Set(const V2Request& request);
  Change Create(const V2Request& request);
  Change Update(const V2Request& request);
  Change CompareAndSwap(const V2Request& request);
  Change Delete(const V2Request& request);
  Change CompareAndDelete(const V2Request& request);
  Change Put(const V2Request& request, std::string path, bool replace, std::string_view action);

  Node& AddChild(Node& parent, const std::string& path, bool directory);
  void SetExpiration(Node& node, int64_t expiration);
  // Takes `node` and all below it out, and notes their paths.
  void Remove(Node& node, std::vector<std::string>* removed);
  [[nodiscard]] Error MakeError(ErrorCode code, std::string cause) const {
    return {.code = code, .cause = std::move(cause), .index = index_};
  }

  std::unique_ptr<Node> root_;
  uint64_t index_ = kFirstIndex;
  std::set<std::pair<int64_t, std::string>> expirations_;
  std::set<std::string> touched_;
};

}  // namespace keelson::kvstore::v2

#endif  // KEELSON_KVSTORE_V2_TREE_H_
