#include "base/check.h"

#include <cstdio>
#include <cstdlib>
#include <string>

namespace keelson::check_internal {

Failure::Failure(const char* file, int line, const char* condition) {
  stream_ << file << ':' << line << ": check failed: " << condition << ' ';
}

Failure::~Failure() {
  const std::string text = stream_.str() + '\n';
  (void)std::fputs(text.c_str(), stderr);  // Nothing better can be done on the way to abort.
  std::abort();
}

}  // namespace keelson::check_internal
