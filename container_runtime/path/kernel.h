// The one door to the kernel for everything a container's file system is made with.
//
// All calls of the path layer and of the plan interpreter go through a Kernel, so that tests record
// and refuse them without root (testing/fake_kernel.h). The real one makes the system call itself,
// without errno, locks or memory, and so is async-signal-safe: it may be used between clone and
// execve in a program with many threads.
#ifndef KEELSON_CONTAINER_RUNTIME_PATH_KERNEL_H_
#define KEELSON_CONTAINER_RUNTIME_PATH_KERNEL_H_

namespace keelson::container {

class Kernel {
 public:
  // The result of system call `number`, or -errno.
  virtual long Call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                    long f = 0) = 0;

 protected:
  ~Kernel() = default;
};

// Stateless and lives for ever.
Kernel& RealKernel();

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_PATH_KERNEL_H_
