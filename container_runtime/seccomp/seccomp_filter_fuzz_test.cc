// Any text as a seccomp profile: refused, or a program of the kernel's size.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "container_runtime/config/parser.h"
#include "container_runtime/seccomp/seccomp_filter.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kInstructionsMax = 4096;  // BPF_MAXINSNS
  const std::string profile(reinterpret_cast<const char*>(data), size);
  const auto spec = keelson::container::ParseSpec(R"({"ociVersion":"1.0.2","linux":{"seccomp":)" +
                                                  profile + "}}");
  if (!spec.ok() || !spec->linux_.seccomp.has_value()) return 0;
  const auto filter = keelson::container::CompileSeccomp(*spec->linux_.seccomp);
  if (filter.ok() && (filter->code.empty() || filter->code.size() > kInstructionsMax)) std::abort();
  return 0;
}
