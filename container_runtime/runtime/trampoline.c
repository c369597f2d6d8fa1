// The last program before the user's: executes argv[0] with the arguments after it.
//
// A process that executes a program of the container's choice must not itself be our program: the
// name /proc/self/exe, as the program, as the interpreter of a script or of a binary, would run ours
// inside the container, from where the host's file could be opened for writing (CVE-2019-5736). So
// the child becomes this file first, which lives in a sealed memfd of its own and holds nothing.
//
// No libc: the start code is here, and the file stays below a page or two.
#include <errno.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
static long Call(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c)
                   : "rcx", "r11", "memory");
  return result;
}
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call Main\n");
#elif defined(__aarch64__)
static long Call(long number, long a, long b, long c) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
  return x0;
}
__asm__(".globl _start\n_start:\n mov x29, #0\n mov x0, sp\n bl Main\n");
#else
#error "no system call instruction for this processor"
#endif

static void Say(const char *text) {
  long size = 0;
  while (text[size] != 0) ++size;
  Call(SYS_write, 2, (long)text, size);
}

__attribute__((noreturn, used)) void Main(long *stack) {
  const long count = stack[0];
  char **argv = (char **)(stack + 1);
  char **envp = argv + count + 1;
  const long error = -Call(SYS_execve, (long)argv[0], (long)(argv + 1), (long)envp);
  Say("exec ");
  Say(argv[0]);
  Say(error == ENOENT    ? ": no such file or directory\n"
      : error == EACCES  ? ": permission denied\n"
      : error == ENOEXEC ? ": exec format error\n"
                         : ": cannot be executed\n");
  for (;;) Call(SYS_exit_group, error == ENOENT ? 127 : 126, 0, 0);
}
