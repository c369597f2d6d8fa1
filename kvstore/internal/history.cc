#include "kvstore/internal/history.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/status.h"
#include "kvstore/errors.h"
#include "kvstore/internal/view.h"

namespace keelson::kvstore::internal {
namespace {

using mvccpb::Event;
using mvccpb::KeyValue;

// A change named a version that is not there.
absl::Status Gone(const Generation& generation, int64_t revision) {
  if (revision < generation.compacted.load(std::memory_order_acquire)) return errors::Compacted();
  return absl::DataLossError("the change log names a version that does not exist");
}

// Reads the put of `key` at exactly `revision`; false if it is not there.
absl::StatusOr<bool> ReadVersion(const Engine& engine, std::string_view key, Revision revision,
                                 std::string* row, KeyValue* out) {
  EncodeDataRow(key, revision, row);
  bool good = true;
  KEELSON_ASSIGN_OR_RETURN(const bool found,
                           engine.Get(Family::kData, *row, [&](std::string_view bytes) {
                             DataValue value;
                             good = DecodeDataValue(bytes, &value) && !value.deleted;
                             if (!good) return;
                             ToKeyValue({.key = key,
                                         .modified = revision,
                                         .create_revision = value.create_revision,
                                         .version = value.version,
                                         .lease = value.lease,
                                         .value = value.value},
                                        true, out);
                           }));
  if (!good) return absl::DataLossError("a row of the key space cannot be read");
  return found;
}

// Makes events out of log rows.
class EventReader {
 public:
  EventReader(const Generation& generation, bool prev_kv)
      : generation_(generation), prev_kv_(prev_kv) {}

  absl::Status Read(Revision revision, const LogValue& change, Event* event) {
    if (change.deleted) {
      event->set_type(Event::DELETE);
      event->mutable_kv()->set_key(change.user_key.data(), change.user_key.size());
      event->mutable_kv()->set_mod_revision(revision.main);
    } else {
      KEELSON_ASSIGN_OR_RETURN(const bool found, ReadVersion(*generation_.engine, change.user_key,
                                                             revision, &row_, event->mutable_kv()));
      if (!found) return Gone(generation_, revision.main);
    }
    // The version before a change at the compacted revision counts as gone, swept or not.
    if (!prev_kv_ || change.previous.main == 0 ||
        revision.main <= generation_.compacted.load(std::memory_order_acquire)) {
      return absl::OkStatus();
    }
    KEELSON_ASSIGN_OR_RETURN(const bool found, ReadPrevious(revision, change, event));
    if (found) return absl::OkStatus();
    event->clear_prev_kv();
    const bool may_be_missing =
        change.previous.main == revision.main ||
        revision.main <= generation_.compacted.load(std::memory_order_acquire);
    return may_be_missing ? absl::OkStatus() : Gone(generation_, revision.main);
  }

 private:
  // The pair before the whole revision; false if there is none.
  absl::StatusOr<bool> ReadPrevious(Revision revision, const LogValue& change, Event* event) {
    if (change.previous.main < revision.main) {
      return ReadVersion(*generation_.engine, change.user_key, change.previous, &row_,
                         event->mutable_prev_kv());
    }
    // A nested transaction put the key before another deleted it.
    Pair pair;
    View view(*generation_.engine, generation_.latest);
    KEELSON_ASSIGN_OR_RETURN(const bool found,
                             view.Find(change.user_key, revision.main - 1, Need::kPair, &pair));
    if (found) ToKeyValue(pair, true, event->mutable_prev_kv());
    return found;
  }

  const Generation& generation_;
  const bool prev_kv_;
  std::string row_;
};

}  // namespace

absl::StatusOr<Store::History> ReadHistory(const Generation& generation, const KeyRange& range,
                                           int64_t from, bool prev_kv, size_t max_changes,
                                           size_t max_bytes) {
  const int64_t last = generation.revision.load(std::memory_order_acquire);
  from = std::max<int64_t>(from, 0);
  Store::History history;
  history.next_revision = std::max(from, last + 1);

  Engine::IterateOptions options;
  EncodeLogRow({.main = last + 1, .sub = 0}, &options.upper_bound);
  const auto iterator = generation.engine->NewIterator(Family::kLog, options);
  // After the iterator was made: it sees every change from here on, swept or not.
  if (from < generation.compacted.load(std::memory_order_acquire)) return errors::Compacted();

  const Bounds bounds{range.key, range.range_end};
  EventReader reader(generation, prev_kv);
  size_t bytes = 0;
  std::string row;
  EncodeLogRow({.main = from, .sub = 0}, &row);
  for (iterator->Seek(row); iterator->Valid(); iterator->Next()) {
    Revision revision;
    LogValue change;
    if (!DecodeLogRow(iterator->key(), &revision) || !DecodeLogValue(iterator->value(), &change)) {
      return absl::DataLossError("a row of the change log cannot be read");
    }
    const bool begins = history.changes.empty() || history.changes.back().revision != revision.main;
    if (begins && (history.changes.size() >= max_changes || bytes >= max_bytes)) {
      history.next_revision = revision.main;
      return history;
    }
    if (!bounds.Contains(change.user_key)) continue;
    if (begins) history.changes.push_back({.revision = revision.main, .events = {}});
    Event& event = history.changes.back().events.emplace_back();
    KEELSON_RETURN_IF_ERROR(reader.Read(revision, change, &event));
    bytes += event.ByteSizeLong();
  }
  KEELSON_RETURN_IF_ERROR(iterator->status());
  return history;
}

}  // namespace keelson::kvstore::internal
