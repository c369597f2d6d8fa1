// Reads config.json, a process file of `exec`, and the resources of `update`.
//
//   KEELSON_ASSIGN_OR_RETURN(Spec spec, ParseSpec(text));
//
// A reader of text only: it opens and checks nothing of the machine. Unknown properties are
// skipped, as the specification asks; a known property of the wrong type, out of range or with an
// unknown enumerator is INVALID_ARGUMENT, and the message leads with its place:
//   "linux.namespaces[2].type: unknown namespace 'pidd'"
// `null` counts as absent. Limits: 16 MiB of text, 64 levels.
#ifndef KEELSON_CONTAINER_RUNTIME_CONFIG_PARSER_H_
#define KEELSON_CONTAINER_RUNTIME_CONFIG_PARSER_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "container_runtime/config/spec.h"

namespace keelson::container {

absl::StatusOr<Spec> ParseSpec(std::string_view text);

// The `process` object alone (`exec --process FILE`).
absl::StatusOr<Process> ParseProcess(std::string_view text);

// The `linux.resources` object alone (`update --resources FILE`).
absl::StatusOr<Resources> ParseResources(std::string_view text);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CONFIG_PARSER_H_
