// Tells ThreadSanitizer about Abseil's locks.
//
// Debian's Abseil is not instrumented, so ThreadSanitizer sees neither that a lock was taken nor
// that it was given back, and reports each access that a lock protects. The functions here stand
// before those of the shared library, as symbols of the program do: each calls the real one and
// says what it means for the order of memory accesses.
//
// Not told: the order that absl::Notification::HasBeenNotified gives, which is inline.
#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include <cstdio>
#include <cstdlib>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);

namespace {

// The library's function of this (mangled) name.
template <typename Function>
Function Real(const char* name) {
  void* symbol = ::dlsym(RTLD_NEXT, name);
  if (symbol == nullptr) {
    std::fprintf(stderr, "bazel/tsan: Abseil has no %s; this file is made for Debian 12's\n", name);
    std::abort();
  }
  return reinterpret_cast<Function>(symbol);
}

void Acquired(const void* lock) { __tsan_acquire(const_cast<void*>(lock)); }
void Releasing(const void* lock) { __tsan_release(const_cast<void*>(lock)); }

// Abseil evaluates a waiter's condition on whichever thread gives the lock back, and on the waiter
// before we hear that it has the lock. Those reads are protected, at moments we cannot see.
class IgnoreReads {
 public:
  IgnoreReads() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~IgnoreReads() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};

}  // namespace

// REAL(result, mangled name, parameter types...): the library's function, looked up once.
#define REAL(result, name, ...)                                   \
  ([] {                                                           \
    static const auto real = Real<result (*)(__VA_ARGS__)>(name); \
    return real;                                                  \
  }())

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  {
    IgnoreReads ignore;
    REAL(void, "_ZN4absl7debian35Mutex4LockEv", Mutex*)(this);
  }
  Acquired(this);
}

void Mutex::Unlock() {
  Releasing(this);
  IgnoreReads ignore;
  REAL(void, "_ZN4absl7debian35Mutex6UnlockEv", Mutex*)(this);
}

bool Mutex::TryLock() {
  const bool locked = REAL(bool, "_ZN4absl7debian35Mutex7TryLockEv", Mutex*)(this);
  if (locked) Acquired(this);
  return locked;
}

void Mutex::ReaderLock() {
  {
    IgnoreReads ignore;
    REAL(void, "_ZN4absl7debian35Mutex10ReaderLockEv", Mutex*)(this);
  }
  Acquired(this);
}

void Mutex::ReaderUnlock() {
  Releasing(this);
  IgnoreReads ignore;
  REAL(void, "_ZN4absl7debian35Mutex12ReaderUnlockEv", Mutex*)(this);
}

bool Mutex::ReaderTryLock() {
  const bool locked = REAL(bool, "_ZN4absl7debian35Mutex13ReaderTryLockEv", Mutex*)(this);
  if (locked) Acquired(this);
  return locked;
}

void Mutex::Await(const Condition& condition) {
  Releasing(this);
  {
    IgnoreReads ignore;
    REAL(void, "_ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE", Mutex*, const Condition&)
    (this, condition);
  }
  Acquired(this);
}

bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  Releasing(this);
  bool met = false;
  {
    IgnoreReads ignore;
    met = REAL(bool, "_ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE",
               Mutex*, const Condition&, Duration)(this, condition, timeout);
  }
  Acquired(this);
  return met;
}

bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  Releasing(this);
  bool met = false;
  {
    IgnoreReads ignore;
    met = REAL(bool, "_ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE",
               Mutex*, const Condition&, Time)(this, condition, deadline);
  }
  Acquired(this);
  return met;
}

void Mutex::LockWhen(const Condition& condition) {
  {
    IgnoreReads ignore;
    REAL(void, "_ZN4absl7debian35Mutex8LockWhenERKNS0_9ConditionE", Mutex*, const Condition&)
    (this, condition);
  }
  Acquired(this);
}

bool Mutex::LockWhenWithTimeout(const Condition& condition, Duration timeout) {
  bool met = false;
  {
    IgnoreReads ignore;
    met = REAL(bool, "_ZN4absl7debian35Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE",
               Mutex*, const Condition&, Duration)(this, condition, timeout);
  }
  Acquired(this);
  return met;
}

void CondVar::Wait(Mutex* mutex) {
  Releasing(mutex);
  {
    IgnoreReads ignore;
    REAL(void, "_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE", CondVar*, Mutex*)(this, mutex);
  }
  Acquired(mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  Releasing(mutex);
  bool timed_out = false;
  {
    IgnoreReads ignore;
    timed_out = REAL(bool, "_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE",
                     CondVar*, Mutex*, Duration)(this, mutex, timeout);
  }
  Acquired(mutex);
  return timed_out;
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  Releasing(mutex);
  bool timed_out = false;
  {
    IgnoreReads ignore;
    timed_out = REAL(bool, "_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE",
                     CondVar*, Mutex*, Time)(this, mutex, deadline);
  }
  Acquired(mutex);
  return timed_out;
}

void Notification::Notify() {
  Releasing(this);
  REAL(void, "_ZN4absl7debian312Notification6NotifyEv", Notification*)(this);
}

void Notification::WaitForNotification() const {
  REAL(void, "_ZNK4absl7debian312Notification19WaitForNotificationEv", const Notification*)(this);
  Acquired(this);
}

bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  const bool notified =
      REAL(bool, "_ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE",
           const Notification*, Duration)(this, timeout);
  if (notified) Acquired(this);
  return notified;
}

bool Notification::WaitForNotificationWithDeadline(Time deadline) const {
  const bool notified =
      REAL(bool, "_ZNK4absl7debian312Notification31WaitForNotificationWithDeadlineENS0_4TimeE",
           const Notification*, Time)(this, deadline);
  if (notified) Acquired(this);
  return notified;
}

bool BlockingCounter::DecrementCount() {
  Releasing(this);
  return REAL(bool, "_ZN4absl7debian315BlockingCounter14DecrementCountEv", BlockingCounter*)(this);
}

void BlockingCounter::Wait() {
  REAL(void, "_ZN4absl7debian315BlockingCounter4WaitEv", BlockingCounter*)(this);
  Acquired(this);
}

ABSL_NAMESPACE_END
}  // namespace absl
