#include "kvstore/v2/key_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kvstore/internal/codec.h"

namespace keelson::kvstore::v2 {
namespace {

// Rows, below kRowPrefix. Directories come before what is in them.
constexpr char kEventRows = 'e';  // then the index, 8 bytes big-endian -> V2Event
constexpr char kIndexRow = 'i';   // -> varint
constexpr char kNodeRows = 'n';   // then the path -> V2Node

std::string Row(char kind, std::string_view rest = {}) {
  std::string row(KeyStore::kRowPrefix);
  row.push_back(kind);
  row.append(rest);
  return row;
}

std::string EventRow(uint64_t index) {
  std::string bytes;
  for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(index >> shift));
  return Row(kEventRows, bytes);
}

std::string WithSlash(const std::string& path) { return path == "/" ? path : path + "/"; }

// Whether an element of `key` below `watched` begins with "_".
bool HiddenBelow(std::string_view watched, std::string_view key) {
  if (watched.size() > key.size()) return false;
  return HasHiddenElement(key.substr(watched.size()));
}

// Whether a path is of those that no client can name (keys_request.h): what happens there is nobody's
// business.
bool IsOurOwn(std::string_view path) { return path.starts_with(std::string_view("/_\0", 3)); }

bool Wants(const KeyStore::WatchOptions& options, const Event& event) {
  const std::string& key = event.node.key;
  if (event.refresh || IsOurOwn(key)) return false;
  if (key == options.path) return true;
  if (options.recursive && key.starts_with(WithSlash(options.path))) return true;
  // A directory that went took with it what is watched.
  return (event.action == "delete" || event.action == "expire") && event.previous.has_value() &&
         event.previous->directory && options.path.starts_with(event.previous->key);
}

}  // namespace

Outcome KeyStore::Apply(const V2Request& request) {
  absl::MutexLock lock(&mu_);
  if (request.operation() == V2Request::EXPIRE) {
    Outcome last;
    for (Tree::Change& change : tree_.Expire(request.time())) {
      ++statistics_.expired;
      Record(change);
      last = std::move(change.outcome);
    }
    return last;
  }
  Tree::Change change = tree_.Apply(request);
  const bool success = std::holds_alternative<Event>(change.outcome);
  Count(request, success);
  if (success) Record(change);
  return std::move(change.outcome);
}

void KeyStore::Record(const Tree::Change& change) {
  const Event& event = std::get<Event>(change.outcome);
  history_.push_back(event);
  unsaved_events_.insert(event.index());
  if (history_.size() > kHistoryEvents) {
    unsaved_events_.insert(history_.front().index());
    history_.pop_front();
  }
  if (!event.refresh && !IsOurOwn(event.node.key)) Notify(event, change.removed);
}

void KeyStore::Count(const V2Request& request, bool success) {
  const auto add = [success](Statistics::Count& count) {
    ++(success ? count.success : count.fail);
  };
  switch (request.operation()) {
    case V2Request::SET:
      return add(statistics_.sets);
    case V2Request::CREATE:
    case V2Request::CREATE_IN_ORDER:
      return add(statistics_.creates);
    case V2Request::UPDATE:
      return add(statistics_.updates);
    case V2Request::COMPARE_AND_SWAP:
      return add(statistics_.swaps);
    case V2Request::DELETE:
      return add(statistics_.deletes);
    case V2Request::COMPARE_AND_DELETE:
      return add(statistics_.compare_deletes);
    default:
      return;
  }
}

Outcome KeyStore::Get(const std::string& path, bool recursive, int64_t now) {
  absl::MutexLock lock(&mu_);
  Outcome outcome = tree_.Get(path, recursive, now);
  ++(std::holds_alternative<Event>(outcome) ? statistics_.gets.success : statistics_.gets.fail);
  return outcome;
}

// ---- Watching ----

uint64_t KeyStore::HistoryStart() const {
  if (history_.empty()) return tree_.index() == Tree::kFirstIndex ? 1 : tree_.index() + 1;
  const uint64_t oldest = history_.front().index();
  // What founding the cluster changed is nobody's business, and was never lost.
  return oldest == Tree::kFirstIndex + 1 ? 1 : oldest;
}

const Event* KeyStore::FindInHistory(const WatchOptions& options) const {
  if (history_.empty() || options.since > history_.back().index()) return nullptr;
  const uint64_t oldest = history_.front().index();
  for (size_t i = options.since > oldest ? options.since - oldest : 0; i < history_.size(); ++i) {
    if (Wants(options, history_[i])) return &history_[i];
  }
  return nullptr;
}

std::variant<KeyStore::Watch, Error> KeyStore::StartWatch(const WatchOptions& options,
                                                          const OnEvent& on_event) {
  absl::MutexLock lock(&mu_);
  WatchOptions from = options;
  if (from.since == 0) from.since = tree_.index() + 1;
  if (from.since < HistoryStart()) {
    return Error{.code = ErrorCode::kEventIndexCleared,
                 .cause = absl::StrCat("the requested history has been cleared [", HistoryStart(),
                                       "/", from.since, "]"),
                 .index = tree_.index()};
  }
  if (const Event* event = FindInHistory(from)) {
    const std::string line = EventJson(*event, /*action_only=*/false);
    on_event(&line);
    return Watch{.id = 0, .index = tree_.index()};
  }
  const uint64_t id = next_watch_++;
  watchers_.emplace(id, Watcher{from.path, from.recursive, from.stream, from.since, on_event});
  watchers_at_[from.path].insert(id);
  return Watch{.id = id, .index = tree_.index()};
}

void KeyStore::EndWatch(uint64_t id) {
  absl::MutexLock lock(&mu_);
  const auto it = watchers_.find(id);
  if (it == watchers_.end()) return;
  const auto at = watchers_at_.find(it->second.path);
  at->second.erase(id);
  if (at->second.empty()) watchers_at_.erase(at);
  watchers_.erase(it);
}

void KeyStore::EndAllWatches() {
  absl::MutexLock lock(&mu_);
  for (const auto& [id, watcher] : watchers_) watcher.on_event(nullptr);
  watchers_.clear();
  watchers_at_.clear();
}

void KeyStore::Notify(const Event& event, const std::vector<std::string>& removed) {
  if (watchers_.empty()) return;
  std::string line;  // made for the first who wants it
  for (const std::string& path : removed) NotifyAt(path, event, /*deleted=*/true, &line);
  // Then all on the way to the node, also to one that was just told that it is gone: a stream
  // hears of its end twice, as in etcd.
  const std::string& key = event.node.key;
  NotifyAt("/", event, /*deleted=*/false, &line);
  for (size_t end = key.find('/', 1); end != std::string::npos; end = key.find('/', end + 1)) {
    NotifyAt(key.substr(0, end), event, /*deleted=*/false, &line);
  }
  NotifyAt(key, event, /*deleted=*/false, &line);
}

void KeyStore::NotifyAt(const std::string& path, const Event& event, bool deleted,
                        std::string* line) {
  const auto at = watchers_at_.find(path);
  if (at == watchers_at_.end()) return;
  const bool itself = event.node.key == path;
  if (!itself && HiddenBelow(path, event.node.key)) return;
  std::vector<uint64_t> over;
  for (const uint64_t id : at->second) {
    const Watcher& watcher = watchers_.at(id);
    if (!(watcher.recursive || itself || deleted) || event.index() < watcher.since) continue;
    if (line->empty()) *line = EventJson(event, /*action_only=*/false);
    watcher.on_event(line);
    if (!watcher.stream) over.push_back(id);
  }
  for (const uint64_t id : over) {
    watchers_.erase(id);
    at->second.erase(id);
  }
  if (at->second.empty()) watchers_at_.erase(at);
}

std::optional<int64_t> KeyStore::NextExpiration() const {
  absl::MutexLock lock(&mu_);
  return tree_.NextExpiration();
}

Statistics KeyStore::GetStatistics() const {
  absl::MutexLock lock(&mu_);
  Statistics statistics = statistics_;
  statistics.watchers = watchers_.size();
  return statistics;
}

// ---- Rows ----

KeyStore::Rows KeyStore::TakeRows() {
  absl::MutexLock lock(&mu_);
  Rows rows;
  const std::set<std::string> touched = tree_.TakeTouched();
  if (touched.empty() && unsaved_events_.empty()) return rows;
  for (const std::string& path : touched) {
    const std::optional<V2Node> stored = tree_.Stored(path);
    rows[Row(kNodeRows, path)] =
        stored.has_value() ? std::make_optional(stored->SerializeAsString()) : std::nullopt;
  }
  const uint64_t oldest = history_.empty() ? 0 : history_.front().index();
  for (const uint64_t index : std::exchange(unsaved_events_, {})) {
    rows[EventRow(index)] =
        index < oldest
            ? std::nullopt
            : std::make_optional(EncodeEvent(history_[index - oldest]).SerializeAsString());
  }
  std::string index;
  internal::AppendVarint(tree_.index(), &index);
  rows[Row(kIndexRow)] = std::move(index);
  return rows;
}

bool KeyStore::RestoreRow(std::string_view row, std::string_view value) {
  absl::MutexLock lock(&mu_);
  if (row.size() < 2 || !row.starts_with(kRowPrefix)) return false;
  const char kind = row[1];
  const std::string_view rest = row.substr(2);
  const int size = static_cast<int>(value.size());
  switch (kind) {
    case kIndexRow: {
      uint64_t index = 0;
      if (!internal::TakeVarint(&value, &index) || !value.empty()) return false;
      tree_.RestoreIndex(index);
      return true;
    }
    case kEventRows: {
      V2Event stored;
      if (!stored.ParseFromArray(value.data(), size)) return false;
      Event event = DecodeEvent(stored);
      if (EventRow(event.index()) != row) return false;
      if (!history_.empty() && history_.back().index() + 1 != event.index()) return false;
      history_.push_back(std::move(event));
      return true;
    }
    case kNodeRows: {
      V2Node stored;
      return stored.ParseFromArray(value.data(), size) && tree_.Restore(std::string(rest), stored);
    }
    default:
      return false;
  }
}

}  // namespace keelson::kvstore::v2
