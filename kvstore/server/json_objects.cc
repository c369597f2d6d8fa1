#include "kvstore/server/json_objects.h"

namespace keelson::kvstore {

std::optional<std::vector<std::string>> SplitJsonObjects(std::string_view body) {
  std::vector<std::string> objects;
  size_t begin = 0;
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '{') {
      if (depth++ == 0) begin = i;
    } else if (depth == 0) {
      if (c != ' ' && c != '\t' && c != '\r' && c != '\n') return std::nullopt;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '}' && --depth == 0) {
      objects.emplace_back(body.substr(begin, i + 1 - begin));
    }
  }
  if (depth != 0) return std::nullopt;
  if (objects.empty()) objects.emplace_back("{}");
  return objects;
}

}  // namespace keelson::kvstore
