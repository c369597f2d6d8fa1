#include "kvstore/v2/event.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "kvstore/json_string.h"

namespace keelson::kvstore::v2 {
namespace {

// "2026-11-29T15:58:34.797816079Z": as many decimals as it takes.
std::string TimeText(int64_t nanoseconds) {
  const absl::Time time = absl::FromUnixNanos(nanoseconds);
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", time, absl::UTCTimeZone());
}

void AppendNode(const NodeView& node, std::string* out) {
  std::string_view comma;
  const auto field = [&](std::string_view name, const std::string& value) {
    out->append(comma).append("\"").append(name).append("\":").append(value);
    comma = ",";
  };
  out->push_back('{');
  if (!node.key.empty()) field("key", JsonString(node.key));
  if (node.value.has_value()) field("value", JsonString(*node.value));
  if (node.directory) field("dir", "true");
  if (node.expiration != 0)
    field("expiration", absl::StrCat("\"", TimeText(node.expiration), "\""));
  if (node.ttl != 0) field("ttl", absl::StrCat(node.ttl));
  if (!node.nodes.empty()) {
    field("nodes", "[");
    for (size_t i = 0; i < node.nodes.size(); ++i) {
      if (i > 0) out->push_back(',');
      AppendNode(node.nodes[i], out);
    }
    out->push_back(']');
  }
  if (node.modified_index != 0) field("modifiedIndex", absl::StrCat(node.modified_index));
  if (node.created_index != 0) field("createdIndex", absl::StrCat(node.created_index));
  out->push_back('}');
}

void EncodeNode(const NodeView& node, V2Event::Node* out) {
  out->set_key(node.key);
  if (node.value.has_value()) out->set_value(*node.value);
  out->set_directory(node.directory);
  out->set_expiration(node.expiration);
  out->set_ttl(node.ttl);
  out->set_modified_index(node.modified_index);
  out->set_created_index(node.created_index);
}

NodeView DecodeNode(const V2Event::Node& stored) {
  NodeView node;
  node.key = stored.key();
  if (stored.has_value()) node.value = stored.value();
  node.directory = stored.directory();
  node.expiration = stored.expiration();
  node.ttl = stored.ttl();
  node.modified_index = stored.modified_index();
  node.created_index = stored.created_index();
  return node;
}

}  // namespace

std::string EventJson(const Event& event, bool action_only) {
  std::string out = absl::StrCat("{\"action\":", JsonString(event.action));
  if (!action_only) {
    out += ",\"node\":";
    AppendNode(event.node, &out);
    if (event.previous.has_value()) {
      out += ",\"prevNode\":";
      AppendNode(*event.previous, &out);
    }
  }
  out += "}\n";
  return out;
}

V2Event EncodeEvent(const Event& event) {
  V2Event stored;
  stored.set_action(event.action);
  EncodeNode(event.node, stored.mutable_node());
  if (event.previous.has_value()) EncodeNode(*event.previous, stored.mutable_previous());
  stored.set_refresh(event.refresh);
  return stored;
}

Event DecodeEvent(const V2Event& stored) {
  Event event;
  event.action = stored.action();
  event.node = DecodeNode(stored.node());
  if (stored.has_previous()) event.previous = DecodeNode(stored.previous());
  event.refresh = stored.refresh();
  event.etcd_index = event.index();
  return event;
}

}  // namespace keelson::kvstore::v2
