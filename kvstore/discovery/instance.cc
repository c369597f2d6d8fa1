#include "kvstore/discovery/instance.h"

#include <cctype>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/net/address.h"
#include "base/status.h"

namespace keelson::kvstore::discovery {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kNumberMax = 65535;
constexpr size_t kLabelMax = 63;
constexpr size_t kNameMax = 253;
// What a value may nest; a hostile one would otherwise eat the stack.
constexpr int kDepthMax = 64;

Json ParseJson(std::string_view text) {
  bool too_deep = false;
  Json json = Json::parse(
      text.begin(), text.end(),
      [&too_deep](int depth, Json::parse_event_t, Json&) {
        too_deep |= depth > kDepthMax;
        return !too_deep;
      },
      /*allow_exceptions=*/false);
  return too_deep ? Json(Json::value_t::discarded) : json;
}

std::string Text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::Status CheckNumbers(const Instance& instance) {
  for (const auto& [what, number] :
       {std::pair("priority", instance.priority), std::pair("weight", instance.weight)}) {
    if (number < 0 || number > kNumberMax) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, " ", number, " of '", instance.address, "' is not in 0..65535"));
    }
  }
  return absl::OkStatus();
}

// Takes a number of ours out of the metadata; others stay there.
int TakeNumber(Json& object, const char* name, int otherwise) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number_integer()) return otherwise;
  // Not as int: the number may be any.
  const auto number = found->get<int64_t>();
  if (number < 0 || number > kNumberMax) return otherwise;
  object.erase(found);
  return static_cast<int>(number);
}

}  // namespace

std::string NamingKey(std::string_view service, std::string_view address) {
  return absl::StrCat(std::string(service), "/", std::string(address));
}

absl::StatusOr<std::string> NamingValue(const Instance& instance) {
  KEELSON_RETURN_IF_ERROR(net::ParseHostPort(instance.address).status());
  KEELSON_RETURN_IF_ERROR(CheckNumbers(instance));
  Json metadata = instance.metadata.empty() ? Json() : ParseJson(instance.metadata);
  if (!metadata.is_null() && !metadata.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the metadata of '", instance.address, "' is no JSON object"));
  }
  if (instance.priority != kDefaultPriority) metadata["priority"] = instance.priority;
  if (instance.weight != kDefaultWeight) metadata["weight"] = instance.weight;
  Json value;
  value["Op"] = 0;
  value["Addr"] = instance.address;
  value["Metadata"] = std::move(metadata);
  return Text(value);
}

absl::StatusOr<Instance> ParseNamingValue(std::string_view value) {
  const Json entry = ParseJson(value);
  if (!entry.is_object()) return absl::InvalidArgumentError("an entry is no JSON object");
  const auto op = entry.find("Op");
  if (op != entry.end() && (!op->is_number_integer() || op->get<int64_t>() != 0)) {
    return absl::InvalidArgumentError("an entry does not add an instance");
  }
  const auto address = entry.find("Addr");
  if (address == entry.end() || !address->is_string() ||
      address->get_ref<const std::string&>().empty()) {
    return absl::InvalidArgumentError("an entry has no address");
  }
  Instance instance{.address = address->get<std::string>()};
  const auto metadata = entry.find("Metadata");
  if (metadata == entry.end() || metadata->is_null()) return instance;
  Json rest = *metadata;
  if (rest.is_object()) {
    instance.priority = TakeNumber(rest, "priority", kDefaultPriority);
    instance.weight = TakeNumber(rest, "weight", kDefaultWeight);
    if (rest.empty()) return instance;
  }
  instance.metadata = Text(rest);
  return instance;
}

absl::StatusOr<std::string> SkyDnsKey(const SkyDnsName& name) {
  const std::string lower = absl::AsciiStrToLower(name.name);
  std::vector<std::string> labels = absl::StrSplit(lower, '.');
  if (!labels.empty() && labels.back().empty()) labels.pop_back();  // the root's dot
  bool good = !labels.empty() && lower.size() <= kNameMax;
  std::string key = name.prefix;
  for (auto label = labels.rbegin(); label != labels.rend(); ++label) {
    good = good && !label->empty() && label->size() <= kLabelMax;
    for (const char c : *label) {
      good = good && (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_');
    }
    absl::StrAppend(&key, "/", *label);
  }
  if (!good) return absl::InvalidArgumentError(absl::StrCat("'", name.name, "' is no DNS name"));
  return key;
}

absl::StatusOr<std::string> SkyDnsValue(const SkyDnsName& name, const Instance& instance) {
  KEELSON_ASSIGN_OR_RETURN(const net::HostPort address, net::ParseHostPort(instance.address));
  KEELSON_RETURN_IF_ERROR(CheckNumbers(instance));
  Json value;
  value["host"] = address.host;
  value["port"] = address.port;
  value["priority"] = instance.priority;
  value["weight"] = instance.weight;
  if (!name.text.empty()) value["text"] = name.text;
  if (name.ttl > absl::ZeroDuration()) value["ttl"] = absl::ToInt64Seconds(name.ttl);
  return Text(value);
}

}  // namespace keelson::kvstore::discovery
