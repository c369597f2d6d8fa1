// Finds all ranges that hold a given key: an interval tree for real ranges
// beside a hash table for single keys. A look-up costs O(log ranges + matches).
//
// Threading: a value for one thread.
#ifndef KEELSON_KVSTORE_SERVER_RANGE_INDEX_H_
#define KEELSON_KVSTORE_SERVER_RANGE_INDEX_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kvstore/store.h"

namespace keelson::kvstore {

// Maps ranges to values of type T, many values to a range. Ranges are spelled
// as in requests (KeyRange); an empty range holds no key.
template <typename T>
class RangeIndex {
 public:
  // Adds `value` under `range`; the same pair may be added once only.
  void Insert(const KeyRange& range, T value) {
    ++size_;
    if (range.range_end.empty()) {
      single_keys_[range.key].push_back(std::move(value));
      return;
    }
    const Bounds bounds(range);
    Node* node = Find(bounds);
    if (node == nullptr) {
      auto fresh = std::make_unique<Node>();
      node = fresh.get();
      fresh->bounds = bounds;
      fresh->priority = NextPriority();
      fresh->Update();
      auto [low, high] = Split(std::move(root_), bounds);
      root_ = Merge(Merge(std::move(low), std::move(fresh)), std::move(high));
    }
    node->values.push_back(std::move(value));
  }

  // Removes `value` from `range`, where it is.
  void Remove(const KeyRange& range, const T& value) {
    --size_;
    if (range.range_end.empty()) {
      const auto found = single_keys_.find(range.key);
      Erase(found->second, value);
      if (found->second.empty()) single_keys_.erase(found);
      return;
    }
    const Bounds bounds(range);
    Node* const node = Find(bounds);
    Erase(node->values, value);
    if (node->values.empty()) root_ = Drop(std::move(root_), bounds);
  }

  // Calls `visit(value)` for each value whose range holds `key`.
  template <typename Visit>
  void ForEachMatch(std::string_view key, const Visit& visit) const {
    if (const auto found = single_keys_.find(key); found != single_keys_.end()) {
      for (const T& value : found->second) visit(value);
    }
    VisitMatches(root_.get(), key, visit);
  }

  [[nodiscard]] size_t size() const { return size_; }

 private:
  // [start, end), or everything from start on.
  struct Bounds {
    std::string start;
    std::string end;
    bool open = false;

    Bounds() = default;
    explicit Bounds(const KeyRange& range)
        : start(range.key), end(range.range_end), open(range.range_end == kFromKeyOn) {}

    [[nodiscard]] bool EndsAfter(std::string_view key) const { return open || key < end; }
    [[nodiscard]] bool EndsAfter(const Bounds& other) const {
      return open ? !other.open : !other.open && other.end < end;
    }
    friend bool operator==(const Bounds&, const Bounds&) = default;
    friend auto operator<=>(const Bounds&, const Bounds&) = default;
  };

  // A node of a treap: a search tree by bounds, a heap by random priority.
  struct Node {
    Bounds bounds;
    uint64_t priority = 0;
    const Node* last_to_end = this;  // of this subtree
    std::vector<T> values;
    std::unique_ptr<Node> low;
    std::unique_ptr<Node> high;

    void Update() {
      last_to_end = this;
      for (const Node* child : {low.get(), high.get()}) {
        if (child != nullptr && child->last_to_end->bounds.EndsAfter(last_to_end->bounds)) {
          last_to_end = child->last_to_end;
        }
      }
    }
  };
  using NodePtr = std::unique_ptr<Node>;

  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  static constexpr std::string_view kFromKeyOn{"\0", 1};

  static void Erase(std::vector<T>& values, const T& value) {
    values.erase(std::find(values.begin(), values.end(), value));
  }

  Node* Find(const Bounds& bounds) const {
    Node* node = root_.get();
    while (node != nullptr && node->bounds != bounds) {
      node = bounds < node->bounds ? node->low.get() : node->high.get();
    }
    return node;
  }

  // Parts the tree into what is below `bounds` and what is not.
  static std::pair<NodePtr, NodePtr> Split(NodePtr node, const Bounds& bounds) {
    if (node == nullptr) return {};
    if (node->bounds < bounds) {
      auto [low, high] = Split(std::move(node->high), bounds);
      node->high = std::move(low);
      node->Update();
      return {std::move(node), std::move(high)};
    }
    auto [low, high] = Split(std::move(node->low), bounds);
    node->low = std::move(high);
    node->Update();
    return {std::move(low), std::move(node)};
  }

  // Joins two trees; everything in `low` is below everything in `high`.
  static NodePtr Merge(NodePtr low, NodePtr high) {
    if (low == nullptr) return high;
    if (high == nullptr) return low;
    if (low->priority > high->priority) {
      low->high = Merge(std::move(low->high), std::move(high));
      low->Update();
      return low;
    }
    high->low = Merge(std::move(low), std::move(high->low));
    high->Update();
    return high;
  }

  static NodePtr Drop(NodePtr node, const Bounds& bounds) {
    if (node->bounds == bounds) return Merge(std::move(node->low), std::move(node->high));
    NodePtr& child = bounds < node->bounds ? node->low : node->high;
    child = Drop(std::move(child), bounds);
    node->Update();
    return node;
  }

  template <typename Visit>
  static void VisitMatches(const Node* node, std::string_view key, const Visit& visit) {
    while (node != nullptr && node->last_to_end->bounds.EndsAfter(key)) {
      VisitMatches(node->low.get(), key, visit);
      if (key < node->bounds.start) return;
      if (node->bounds.EndsAfter(key)) {
        for (const T& value : node->values) visit(value);
      }
      node = node->high.get();
    }
  }

  // splitmix64; the tree only needs priorities that do not depend on the
  // ranges.
  uint64_t NextPriority() {
    uint64_t z = (random_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  std::unordered_map<std::string, std::vector<T>, Hash, std::equal_to<>> single_keys_;
  NodePtr root_;
  uint64_t random_ = 0;
  size_t size_ = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_RANGE_INDEX_H_
