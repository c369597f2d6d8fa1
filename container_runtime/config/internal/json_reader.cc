#include "container_runtime/config/internal/json_reader.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace keelson::container {
namespace {

constexpr size_t kTextBytesMax = size_t{16} << 20;
constexpr int kLevelsMax = 64;

std::string_view Shown(std::string_view text) { return text.substr(0, 80); }

// The deepest nesting of `text`, told without a parser so that no stack depends on it.
bool TooDeep(std::string_view text) {
  int level = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++level > kLevelsMax) return true;
    } else if (c == ']' || c == '}') {
      --level;
    }
  }
  return false;
}

}  // namespace

absl::StatusOr<Json> ParseJson(std::string_view text) {
  if (text.size() > kTextBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("JSON of ", text.size(), " bytes, at most ", kTextBytesMax, " are read"));
  }
  if (TooDeep(text)) {
    return absl::InvalidArgumentError(
        absl::StrCat("JSON nested deeper than ", kLevelsMax, " levels"));
  }
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("not JSON: ", error.what()));
  }
}

void JsonReader::Fail(std::string_view field, std::string_view reason) {
  if (!ok()) return;
  const std::string place = PlaceOf(field);
  const std::string text(reason);
  errors_.status = absl::InvalidArgumentError(place.empty() ? text : place + ": " + text);
}

std::string JsonReader::PlaceOf(std::string_view field) const {
  if (place_.empty()) return std::string(field);
  return field.empty() ? place_ : absl::StrCat(place_, ".", std::string(field));
}

std::string JsonReader::Kind(const Json& value) {
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    return absl::StrCat("the string '", std::string(Shown(text)), "'");
  }
  if (value.is_number_float()) return "the fraction " + value.dump();
  return value.is_number() || value.is_boolean() ? value.dump()
                                                 : absl::StrCat("an ", value.type_name());
}

const Json* JsonReader::Find(std::string_view field) {
  if (!ok()) return nullptr;
  if (!value_.is_object()) {
    Fail("", "want an object, have " + Kind(value_));
    return nullptr;
  }
  auto found = value_.find(field);
  if (found == value_.end()) {
    // In another case, as Go's reader, and with it engines and other runtimes, takes it too.
    for (found = value_.begin(); found != value_.end(); ++found) {
      if (absl::EqualsIgnoreCase(found.key(), absl::string_view(field.data(), field.size()))) break;
    }
  }
  if (found == value_.end() || found->is_null()) return nullptr;
  return &*found;
}

void JsonReader::Require(std::string_view field) {
  if (Find(field) == nullptr && ok()) Fail(field, "is missing");
}

void JsonReader::Read(std::string_view field, std::string* out) {
  const Json* value = Find(field);
  if (value == nullptr) return;
  if (!value->is_string()) return Fail(field, "want a string, have " + Kind(*value));
  *out = value->get<std::string>();
  // The kernel ends strings at NUL: what follows would be checked here and ignored there.
  if (out->find('\0') != std::string::npos) Fail(field, "has a NUL byte");
}

void JsonReader::Read(std::string_view field, bool* out) {
  const Json* value = Find(field);
  if (value == nullptr) return;
  if (!value->is_boolean()) return Fail(field, "want true or false, have " + Kind(*value));
  *out = value->get<bool>();
}

void JsonReader::Read(std::string_view field, std::vector<std::string>* out) {
  const Json* value = Find(field);
  if (value == nullptr) return;
  if (!value->is_array()) return Fail(field, "want an array, have " + Kind(*value));
  for (size_t i = 0; i < value->size() && ok(); ++i) {
    const Json& element = (*value)[i];
    const std::string place = absl::StrCat(std::string(field), "[", i, "]");
    if (!element.is_string()) return Fail(place, "want a string, have " + Kind(element));
    out->push_back(element.get<std::string>());
    if (out->back().find('\0') != std::string::npos) Fail(place, "has a NUL byte");
  }
}

void JsonReader::Read(std::string_view field, std::vector<uint32_t>* out) {
  const Json* value = Find(field);
  if (value == nullptr) return;
  if (!value->is_array()) return Fail(field, "want an array, have " + Kind(*value));
  for (size_t i = 0; i < value->size() && ok(); ++i) {
    out->push_back(Integer<uint32_t>(absl::StrCat(std::string(field), "[", i, "]"), (*value)[i]));
  }
}

void JsonReader::Read(std::string_view field, std::map<std::string, std::string>* out) {
  const Json* value = Find(field);
  if (value == nullptr) return;
  if (!value->is_object()) return Fail(field, "want an object, have " + Kind(*value));
  for (const auto& [name, element] : value->items()) {
    const std::string place = absl::StrCat(std::string(field), ".", name);
    if (!element.is_string()) return Fail(place, "want a string, have " + Kind(element));
    const auto& text = element.get_ref<const std::string&>();
    if ((name + text).find('\0') != std::string::npos) return Fail(place, "has a NUL byte");
    out->emplace(name, text);
  }
}

void JsonReader::Child(std::string_view field, const std::function<void(JsonReader&)>& visit) {
  const Json* value = Find(field);
  if (value == nullptr) return;
  if (!value->is_object()) return Fail(field, "want an object, have " + Kind(*value));
  JsonReader child(*value, PlaceOf(field), errors_);
  visit(child);
}

void JsonReader::Each(std::string_view field, const std::function<void(JsonReader&)>& visit) {
  const Json* value = Find(field);
  if (value == nullptr) return;
  if (!value->is_array()) return Fail(field, "want an array, have " + Kind(*value));
  for (size_t i = 0; i < value->size() && ok(); ++i) {
    JsonReader element((*value)[i], absl::StrCat(PlaceOf(field), "[", i, "]"), errors_);
    visit(element);
  }
}

void JsonReader::Members(std::string_view field,
                         const std::function<void(const std::string&, JsonReader&)>& visit) {
  Child(field, [&](JsonReader& object) {
    for (const auto& [name, value] : object.value_.items()) {
      JsonReader member(value, object.PlaceOf(name), errors_);
      if (name.find('\0') != std::string::npos) member.Fail("", "has a NUL byte");
      if (!ok()) return;
      visit(name, member);
    }
  });
}

}  // namespace keelson::container
