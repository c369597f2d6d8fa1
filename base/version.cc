#include "base/version.h"

#include "base/version_commit.h"

namespace keelson {

std::string_view Version() { return "0.1.0-dev"; }

std::string_view Commit() { return KEELSON_COMMIT; }

std::string VersionLine(std::string_view program) {
  return std::string(program) + " " + std::string(Version()) + " (commit " + std::string(Commit()) +
         ")";
}

}  // namespace keelson
