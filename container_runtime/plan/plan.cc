#include "container_runtime/plan/plan.h"

namespace keelson::container {

const char* Plan::Text(std::string_view text) { return texts_.emplace_back(text).c_str(); }

const char* const* Plan::Texts(const std::vector<std::string>& texts) {
  std::vector<const char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const std::string& text : texts) pointers.push_back(Text(text));
  pointers.push_back(nullptr);
  return Array(pointers);
}

}  // namespace keelson::container
