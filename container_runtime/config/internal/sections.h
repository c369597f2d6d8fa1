// The larger sections of config.json, each with its reader in a file of its own.
#ifndef KEELSON_CONTAINER_RUNTIME_CONFIG_INTERNAL_SECTIONS_H_
#define KEELSON_CONTAINER_RUNTIME_CONFIG_INTERNAL_SECTIONS_H_

#include "container_runtime/config/internal/json_reader.h"
#include "container_runtime/config/spec.h"

namespace keelson::container {

void ReadProcess(JsonReader& reader, Process* out);
void ReadResources(JsonReader& reader, Resources* out);
void ReadSeccomp(JsonReader& reader, Seccomp* out);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CONFIG_INTERNAL_SECTIONS_H_
