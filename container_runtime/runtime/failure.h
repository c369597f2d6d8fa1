// What went wrong, for programs: the parts of an error that its message is made of.
#ifndef KEELSON_CONTAINER_RUNTIME_RUNTIME_FAILURE_H_
#define KEELSON_CONTAINER_RUNTIME_RUNTIME_FAILURE_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace keelson::container {

struct Failure {
  std::string code;     // of absl::Status, such as "NOT_FOUND"
  std::string phase;    // the step of the plan, such as "new-mount"; else what the caller calls it
  std::string syscall;  // "" where none failed or it is not known
  int error = 0;        // errno; 0 likewise
  std::string object;   // what it was done to: a path, a mount, an id, a place in config.json
  std::string hint;     // what helps, most often; "" where there is nothing to say
};

// `status` with the parts of `failure` that a message does not tell by itself (phase, syscall, error,
// object) kept beside the message.
absl::Status WithFailure(absl::Status status, const Failure& failure);

// The parts of a failed `status`. What was not kept is taken from the message: the text of an errno at
// its end, the first words in quotes, the place before the first colon.
Failure DescribeFailure(const absl::Status& status, std::string_view phase);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_RUNTIME_FAILURE_H_
