// A Kernel that records what it is asked and answers as it was told, without doing anything.
#ifndef KEELSON_CONTAINER_RUNTIME_PATH_TESTING_FAKE_KERNEL_H_
#define KEELSON_CONTAINER_RUNTIME_PATH_TESTING_FAKE_KERNEL_H_

#include <map>
#include <string>
#include <vector>

#include "container_runtime/path/kernel.h"

namespace keelson::container::testing {

// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): nothing derives from it.
class FakeKernel final : public Kernel {
 public:
  // Answers: those of `answers` by system call, else a new descriptor for calls that return one, else
  // 0; files are directories. The calls are kept as "openat2(3, 'dev')": name, first number, and text where there is one.
  long Call(long number, long a, long b, long c, long d, long e, long f) override;

  std::map<long, long> answers;
  std::vector<std::string> calls;

  // How often a call of this name was made.
  [[nodiscard]] int Count(const std::string& name) const;
  // Place of the first call that starts with `text`; -1 when there is none.
  [[nodiscard]] int Find(const std::string& text) const;

 private:
  int next_descriptor_ = 100;
};

}  // namespace keelson::container::testing

#endif  // KEELSON_CONTAINER_RUNTIME_PATH_TESTING_FAKE_KERNEL_H_
