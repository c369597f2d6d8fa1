// Which Keelson this is. The version other products are compatible with is theirs, not here.
#ifndef KEELSON_BASE_VERSION_H_
#define KEELSON_BASE_VERSION_H_

#include <string>
#include <string_view>

namespace keelson {

// Semantic version of the source tree, such as "0.1.0-dev".
std::string_view Version();

// The commit that was built, "unknown" where the build was not told. The build is told by
// a workspace status command that prints STABLE_KEELSON_COMMIT.
std::string_view Commit();

// One line for `--version`: "kvstored 0.1.0-dev (commit unknown)".
std::string VersionLine(std::string_view program);

}  // namespace keelson

#endif  // KEELSON_BASE_VERSION_H_
