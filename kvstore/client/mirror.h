// A local copy of all keys with a prefix that follows the store for ever: it lists, then watches,
// and when history it needs has been compacted it lists again and tells what that changed.
//
//   KEELSON_ASSIGN_OR_RETURN(auto mirror, RangeMirror::Start(client, "config/",
//       {.on_update = [](const RangeMirror::Update& update) {
//         for (const mvccpb::Event& event : update.events) { ... }
//       }}));
//   mirror->Get("config/limit");
#ifndef KEELSON_KVSTORE_CLIENT_MIRROR_H_
#define KEELSON_KVSTORE_CLIENT_MIRROR_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/client/client.h"

namespace keelson::kvstore {

// Thread-safe.
class RangeMirror {
 public:
  using Pairs = std::map<std::string, mvccpb::KeyValue>;

  struct Update {
    int64_t revision = 0;  // The copy is the store's state as of this one.
    // What has changed since the last update, in the order of the store: the first tells of all
    // keys as PUT. After a compaction there may be one event for several changes of a key, and a DELETE
    // has no revision.
    std::vector<mvccpb::Event> events = {};
    bool listed = false;           // the first, or after a compaction
    const Pairs* pairs = nullptr;  // the copy; valid during the call
  };
  struct Callbacks {
    // One at a time, on the client's thread for watches, where the first comes too. May be empty.
    std::function<void(const Update&)> on_update;
    // Called once, last: what ended it for good (PERMISSION_DENIED and such). May be empty.
    std::function<void(const absl::Status&)> on_end = nullptr;
  };

  // Lists, and follows from there. `client` is borrowed and outlives the mirror. Errors as
  // Client::Range.
  static absl::StatusOr<std::unique_ptr<RangeMirror>> Start(Client& client, std::string prefix,
                                                            Callbacks callbacks);
  // Waits for a callback that runs; not within one.
  virtual ~RangeMirror() = default;

  [[nodiscard]] virtual Pairs Copy() const = 0;
  [[nodiscard]] virtual std::optional<mvccpb::KeyValue> Get(const std::string& key) const = 0;
  [[nodiscard]] virtual int64_t revision() const = 0;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_CLIENT_MIRROR_H_
