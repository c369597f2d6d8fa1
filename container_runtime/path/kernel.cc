#include "container_runtime/path/kernel.h"

#include <unistd.h>
#include <cerrno>

namespace keelson::container {
namespace {

class SystemCalls final : public Kernel {
 public:
  long Call(long number, long a, long b, long c, long d, long e, long f) override {
    // The function of libc only moves registers and sets errno, which each thread has for itself
    // and which is put back: the caller of a library keeps what it had.
    const int saved = errno;
    const long result = ::syscall(number, a, b, c, d, e, f);
    const long answer = result == -1 ? -errno : result;
    errno = saved;
    return answer;
  }
};

constinit SystemCalls system_calls;

}  // namespace

Kernel& RealKernel() { return system_calls; }

}  // namespace keelson::container
