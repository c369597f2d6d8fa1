// Reads fields out of a JSON object and remembers the first thing that was wrong, with its place.
//
//   ErrorSink errors;
//   JsonReader root(value, "", errors);
//   root.Read("hostname", &spec.hostname);
//   root.Child("process", [&](JsonReader& process) { process.Read("cwd", &spec.process->cwd); });
//   return errors.status;
//
// After the first error every call does nothing, so callers check once, at the end.
#ifndef KEELSON_CONTAINER_RUNTIME_CONFIG_INTERNAL_JSON_READER_H_
#define KEELSON_CONTAINER_RUNTIME_CONFIG_INTERNAL_JSON_READER_H_

#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keelson::container {

using Json = nlohmann::json;

struct ErrorSink {
  absl::Status status;
};

// Text to a value, within the limits of parser.h.
absl::StatusOr<Json> ParseJson(std::string_view text);

class JsonReader {
 public:
  JsonReader(const Json& value, std::string place, ErrorSink& errors)
      : value_(value), place_(std::move(place)), errors_(errors) {}

  // Notes an error at `field` of this object, or at the object itself when empty.
  void Fail(std::string_view field, std::string_view reason);
  [[nodiscard]] bool ok() const { return errors_.status.ok(); }

  // An error unless `field` is there.
  void Require(std::string_view field);
  [[nodiscard]] bool Has(std::string_view field) { return Find(field) != nullptr; }

  void Read(std::string_view field, std::string* out);
  void Read(std::string_view field, bool* out);
  void Read(std::string_view field, std::vector<std::string>* out);
  void Read(std::string_view field, std::map<std::string, std::string>* out);
  template <std::integral T>
  void Read(std::string_view field, T* out) {
    const Json* value = Find(field);
    if (value != nullptr) *out = static_cast<T>(Integer<T>(field, *value));
  }
  template <typename T>
  void Read(std::string_view field, std::optional<T>* out) {
    if (Find(field) == nullptr) return;
    T value{};
    Read(field, &value);
    *out = std::move(value);
  }
  // Each number of an array.
  void Read(std::string_view field, std::vector<uint32_t>* out);

  // Calls `visit` with the object in `field`, if it is there.
  void Child(std::string_view field, const std::function<void(JsonReader&)>& visit);
  // Calls `visit` with each object of the array in `field`.
  void Each(std::string_view field, const std::function<void(JsonReader&)>& visit);
  // Calls `visit` with the name and object of each member of the object in `field`.
  void Members(std::string_view field,
               const std::function<void(const std::string&, JsonReader&)>& visit);
  // Appends to `out` one T an object of the array in `field`.
  template <typename T>
  void List(std::string_view field, std::vector<T>* out, void (*read)(JsonReader&, T*)) {
    Each(field, [&](JsonReader& element) { read(element, &out->emplace_back()); });
  }
  template <typename T>
  void Object(std::string_view field, std::optional<T>* out, void (*read)(JsonReader&, T*)) {
    Child(field, [&](JsonReader& child) { read(child, &out->emplace()); });
  }

 private:
  // Null unless the field is there and is not null; the object itself must be one.
  const Json* Find(std::string_view field);
  [[nodiscard]] std::string PlaceOf(std::string_view field) const;
  // A number of the field, checked against T's range. 0 after an error.
  template <std::integral T>
  T Integer(std::string_view field, const Json& value) {
    if (value.is_number_unsigned()) {
      const auto number = value.get<uint64_t>();
      if (number <= static_cast<uint64_t>(std::numeric_limits<T>::max())) {
        return static_cast<T>(number);
      }
    } else if (value.is_number_integer()) {
      const auto number = value.get<int64_t>();
      if (std::in_range<T>(number)) return static_cast<T>(number);
    } else {
      Fail(field, "want an integer, have " + Kind(value));
      return 0;
    }
    Fail(field, "the number " + value.dump() + " is out of range");
    return 0;
  }
  static std::string Kind(const Json& value);

  const Json& value_;
  std::string place_;
  ErrorSink& errors_;
};

}  // namespace keelson::container

#endif  // KEELSON_CONTAINER_RUNTIME_CONFIG_INTERNAL_JSON_READER_H_
