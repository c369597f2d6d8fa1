// Wakes other threads once at the end of a run of work, and not in its middle.
//
//   void ServeAll(std::span<Request> requests) {
//     Burst burst;
//     for (Request& request : requests) executor.Post([&] { Serve(request); });
//   }  // Now the executor's thread wakes, and finds all of them.
//
// Without it the first piece of work wakes a sleeping thread, which takes that piece alone, goes
// to sleep, and is woken again for the next: two switches of threads for each.
//
// Threading: a burst belongs to the thread that made it. Do not wait for another thread inside of
// one: it may not be awake.
#ifndef KEELSON_BASE_BURST_H_
#define KEELSON_BASE_BURST_H_

#include <memory>
#include <utility>
#include <vector>

namespace keelson {

// Something that sleeps and can be woken. Wake is thread-safe and harmless when it is awake.
class Sleeper {
 public:
  virtual ~Sleeper() = default;
  virtual void Wake() = 0;
};

class Burst {
 public:
  // Inside of another burst this one does nothing.
  Burst() : outer_(current_) {
    if (outer_ == nullptr) current_ = this;
  }
  ~Burst() {
    if (outer_ != nullptr) return;
    current_ = nullptr;
    for (const std::shared_ptr<Sleeper>& sleeper : sleepers_) sleeper->Wake();
  }
  Burst(const Burst&) = delete;
  Burst& operator=(const Burst&) = delete;

  // Wakes `sleeper` at the end of this thread's burst, or now without one.
  static void Wake(std::shared_ptr<Sleeper> sleeper) {
    if (current_ == nullptr) return sleeper->Wake();
    for (const std::shared_ptr<Sleeper>& other : current_->sleepers_) {
      if (other == sleeper) return;
    }
    current_->sleepers_.push_back(std::move(sleeper));
  }

 private:
  static inline thread_local Burst* current_ = nullptr;

  Burst* const outer_;
  std::vector<std::shared_ptr<Sleeper>> sleepers_;
};

}  // namespace keelson

#endif  // KEELSON_BASE_BURST_H_
