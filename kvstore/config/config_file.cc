#include "kvstore/config/config_file.h"

#include <yaml.h>

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace keelson::kvstore {
namespace {

absl::Status Bad(size_t line, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", why));
}

// libyaml's events, one after the other.
class Events {
 public:
  explicit Events(std::string_view text) {
    if (text.data() == nullptr) text = "";  // libyaml wants an address also of nothing.
    ready_ = yaml_parser_initialize(&parser_) == 1;
    if (!ready_) return;
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                 text.size());
  }
  ~Events() {
    yaml_event_delete(&event_);
    if (ready_) yaml_parser_delete(&parser_);
  }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;

  absl::Status Next() {
    yaml_event_delete(&event_);
    event_ = {};
    if (!ready_) return absl::ResourceExhaustedError("no memory to read YAML");
    if (yaml_parser_parse(&parser_, &event_) == 1) return absl::OkStatus();
    event_ = {};
    return Bad(parser_.problem_mark.line + 1,
               parser_.problem == nullptr ? "no YAML" : parser_.problem);
  }
  [[nodiscard]] yaml_event_type_t type() const { return event_.type; }
  [[nodiscard]] size_t line() const { return event_.start_mark.line + 1; }
  [[nodiscard]] std::string text() const {
    return {reinterpret_cast<const char*>(event_.data.scalar.value), event_.data.scalar.length};
  }
  [[nodiscard]] bool is_null() const {
    if (event_.data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
    const std::string value = text();
    return value.empty() || value == "~" || value == "null" || value == "Null" || value == "NULL";
  }

 private:
  yaml_parser_t parser_{};
  yaml_event_t event_{};
  bool ready_ = false;
};

absl::StatusOr<std::string> ReadList(Events& events) {
  std::vector<std::string> elements;
  while (true) {
    KEELSON_RETURN_IF_ERROR(events.Next());
    if (events.type() == YAML_SEQUENCE_END_EVENT) return absl::StrJoin(elements, ",");
    if (events.type() != YAML_SCALAR_EVENT) {
      return Bad(events.line(), "a list has plain elements only");
    }
    if (!events.is_null()) elements.push_back(events.text());
  }
}

absl::Status ReadMapping(Events& events, const std::string& section,
                         std::vector<ConfigField>& fields) {
  while (true) {
    KEELSON_RETURN_IF_ERROR(events.Next());
    if (events.type() == YAML_MAPPING_END_EVENT) return absl::OkStatus();
    if (events.type() != YAML_SCALAR_EVENT) return Bad(events.line(), "a field's name is wanted");
    ConfigField field{.section = section, .name = events.text(), .line = events.line()};
    KEELSON_RETURN_IF_ERROR(events.Next());
    switch (events.type()) {
      case YAML_SCALAR_EVENT:
        if (!events.is_null()) field.value = events.text();
        break;
      case YAML_SEQUENCE_START_EVENT: {
        KEELSON_ASSIGN_OR_RETURN(field.value, ReadList(events));
        break;
      }
      case YAML_MAPPING_START_EVENT:
        if (!section.empty()) return Bad(events.line(), "a section within a section");
        KEELSON_RETURN_IF_ERROR(ReadMapping(events, field.name, fields));
        continue;
      default:
        return Bad(events.line(), "an alias is not understood");
    }
    if (!field.value.empty()) fields.push_back(std::move(field));
  }
}

}  // namespace

absl::StatusOr<std::vector<ConfigField>> ParseConfigFile(std::string_view yaml) {
  Events events(yaml);
  std::vector<ConfigField> fields;
  while (true) {
    KEELSON_RETURN_IF_ERROR(events.Next());
    switch (events.type()) {
      case YAML_STREAM_START_EVENT:
      case YAML_DOCUMENT_START_EVENT:
        continue;
      case YAML_STREAM_END_EVENT:
        return fields;
      case YAML_MAPPING_START_EVENT:
        KEELSON_RETURN_IF_ERROR(ReadMapping(events, "", fields));
        return fields;  // What follows the first document is nobody's.
      case YAML_SCALAR_EVENT:
        if (events.is_null()) return fields;  // Nothing but comments.
        [[fallthrough]];
      default:
        return Bad(events.line(), "the file is not a list of 'name: value'");
    }
  }
}

}  // namespace keelson::kvstore
