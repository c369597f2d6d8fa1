// A queue that costs no memory while it is empty, and none per element while it flows.
#ifndef KEELSON_RAFT_INTERNAL_FIFO_H_
#define KEELSON_RAFT_INTERNAL_FIFO_H_

#include <cstddef>
#include <iterator>
#include <utility>
#include <vector>

namespace keelson::raft {

// A ring in a vector, with the functions of std::deque that queues need. An empty std::deque holds 576
// bytes, of which a group has half a dozen; and it allocates a block for every few elements that pass.
// T must be movable and default-constructible. Any change invalidates references and iterators.
template <typename T>
class Fifo {
 public:
  using value_type = T;

  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] size_t size() const { return size_; }

  T& operator[](size_t i) { return ring_[At(i)]; }
  const T& operator[](size_t i) const { return ring_[At(i)]; }
  T& front() { return (*this)[0]; }
  const T& front() const { return (*this)[0]; }
  T& back() { return (*this)[size_ - 1]; }
  const T& back() const { return (*this)[size_ - 1]; }

  void push_back(T value) {
    if (size_ == ring_.size()) Grow();
    ring_[At(size_++)] = std::move(value);
  }
  void push_front(T value) {
    if (size_ == ring_.size()) Grow();
    first_ = first_ == 0 ? ring_.size() - 1 : first_ - 1;
    ++size_;
    ring_[first_] = std::move(value);
  }
  void pop_front() {
    ring_[first_] = T();  // Frees what it holds now.
    first_ = first_ + 1 == ring_.size() ? 0 : first_ + 1;
    if (--size_ == 0 && ring_.size() * sizeof(T) > kKeepBytes) clear();
  }
  void clear() {
    ring_ = std::vector<T>();
    first_ = 0;
    size_ = 0;
  }

  // Forward, for loops over all elements.
  template <typename Queue, typename Value>
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = Value*;
    using reference = Value&;

    Iterator() = default;
    Iterator(Queue* queue, size_t at) : queue_(queue), at_(at) {}
    Value& operator*() const { return (*queue_)[at_]; }
    Value* operator->() const { return &(*queue_)[at_]; }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    Iterator operator++(int) { return Iterator(queue_, at_++); }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    Queue* queue_ = nullptr;
    size_t at_ = 0;
  };
  using iterator = Iterator<Fifo, T>;
  using const_iterator = Iterator<const Fifo, const T>;
  iterator begin() { return {this, 0}; }
  iterator end() { return {this, size_}; }
  const_iterator begin() const { return {this, 0}; }
  const_iterator end() const { return {this, size_}; }

 private:
  // What an empty queue keeps. What a burst needed beyond is given back.
  static constexpr size_t kKeepBytes = 4096;

  [[nodiscard]] size_t At(size_t i) const {
    const size_t at = first_ + i;
    return at < ring_.size() ? at : at - ring_.size();
  }
  void Grow() {
    std::vector<T> larger(ring_.empty() ? 2 : 2 * ring_.size());
    for (size_t i = 0; i < size_; ++i) larger[i] = std::move((*this)[i]);
    ring_ = std::move(larger);
    first_ = 0;
  }

  std::vector<T> ring_;
  size_t first_ = 0;
  size_t size_ = 0;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_INTERNAL_FIFO_H_
