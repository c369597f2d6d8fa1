// The config.json that `spec` writes.
#ifndef KEELSON_CONTAINER_RUNTIME_CONFIG_DEFAULT_SPEC_H_
#define KEELSON_CONTAINER_RUNTIME_CONFIG_DEFAULT_SPEC_H_

#include <sys/types.h>

#include <string>

namespace keelson::container {

// The version of the specification that this runtime was written to.
inline constexpr const char* kOciVersion = "1.2.0";

// A shell with a terminal, every namespace but user and time, the masks that engines use. A cgroup
// namespace only where `unified`, the host has the v2 tree alone: paths in v1 ones are what programs
// of such hosts are used to.
std::string DefaultSpec(bool unified);

// The same for a user who may map only themself.
std::string RootlessSpec(uid_t uid, gid_t gid, bool unified);

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CONFIG_DEFAULT_SPEC_H_
