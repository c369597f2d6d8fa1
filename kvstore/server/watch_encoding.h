// WatchResponses as wire bytes, with the bytes of an event made once for all
// who get it.
//
// An event's bytes are complete `events` fields of a WatchResponse, so that a
// response is its other fields followed by the bytes of its events.
#ifndef KEELSON_KVSTORE_SERVER_WATCH_ENCODING_H_
#define KEELSON_KVSTORE_SERVER_WATCH_ENCODING_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "kvstore/api/rpc.pb.h"
#include "kvstore/store.h"

namespace keelson::kvstore {

// Events as `events` fields, end to end.
class EncodedEvents {
 public:
  void Append(const mvccpb::Event& event);
  [[nodiscard]] std::string_view at(size_t i) const;
  [[nodiscard]] size_t size() const { return ends_.size(); }

 private:
  std::string bytes_;
  std::vector<size_t> ends_;
};

// What happened at one revision. Shared by every stream that has to send some
// of it; encodes itself when first asked. Thread-safe.
class PublishedChange {
 public:
  // `head` is what every response about it begins with. `store` is borrowed and outlives the change;
  // asked for previous pairs when those are wanted.
  PublishedChange(Store::Change change, std::string head, const Store* store)
      : change_(std::move(change)), head_(std::move(head)), store_(store) {}

  [[nodiscard]] int64_t revision() const { return change_.revision; }
  [[nodiscard]] const std::string& head() const { return head_; }
  [[nodiscard]] size_t approximate_bytes() const { return approximate_bytes_; }

  const EncodedEvents& Plain() const;
  // With the pair before each event where the store still has it.
  const EncodedEvents& WithPrevious() const;

 private:
  static size_t BytesOf(const Store::Change& change);

  const Store::Change change_;
  const std::string head_;
  const Store* const store_;
  const size_t approximate_bytes_ = BytesOf(change_);
  mutable std::once_flag plain_once_;
  mutable std::once_flag previous_once_;
  mutable EncodedEvents plain_;
  mutable EncodedEvents with_previous_;
};

// Which events of a change a watcher gets.
using EventIndices = absl::InlinedVector<uint32_t, 4>;

// A `watch_id` field, which may follow PublishedChange::head.
void AppendWatchId(int64_t watch_id, std::string* out);

// `head`, the wire bytes of a response without events, followed by those of `events` at `indices`.
std::string EncodeResponse(std::string_view head, const EncodedEvents& events,
                           const EventIndices& indices);

// The same cut between events into responses of at most about `fragment_bytes`; all but the last are
// marked as fragments.
std::vector<std::string> EncodeFragments(std::string_view head, const EncodedEvents& events,
                                         const EventIndices& indices, size_t fragment_bytes);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_WATCH_ENCODING_H_
