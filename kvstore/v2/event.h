// What happened to the tree of etcd's version 2 API, as clients see it (kvstore.md 15.2).
#ifndef KEELSON_KVSTORE_V2_EVENT_H_
#define KEELSON_KVSTORE_V2_EVENT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvstore/api/v2.pb.h"

namespace keelson::kvstore::v2 {

// A node as an answer shows it.
struct NodeView {
  std::string key = {};  // empty: the root
  std::optional<std::string> value = {};
  bool directory = false;
  int64_t expiration = 0;  // nanoseconds since 1970; 0: never
  int64_t ttl = 0;         // seconds, rounded up, as of the answer
  std::vector<NodeView> nodes = {};
  uint64_t modified_index = 0;
  uint64_t created_index = 0;
};

struct Event {
  std::string action = {};  // "get", "set", "create", "update", "delete", "expire", ...
  NodeView node = {};
  std::optional<NodeView> previous = {};
  bool refresh = false;     // watchers do not hear of it
  uint64_t etcd_index = 0;  // of the tree, when this was made; not in the JSON

  [[nodiscard]] uint64_t index() const { return node.modified_index; }
  // Something new came to be: HTTP status 201.
  [[nodiscard]] bool Created() const {
    return action == "create" || (action == "set" && !previous.has_value());
  }
};

// One line with its newline. `action_only`: for writes with noValueOnSuccess.
std::string EventJson(const Event& event, bool action_only);

// As stored; without child nodes, which events of changes do not have.
V2Event EncodeEvent(const Event& event);
Event DecodeEvent(const V2Event& stored);

}  // namespace keelson::kvstore::v2

#endif  // KEELSON_KVSTORE_V2_EVENT_H_
