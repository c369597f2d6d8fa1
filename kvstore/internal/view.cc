#include "kvstore/internal/view.h"

#include <google/protobuf/io/coded_stream.h>

#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "kvstore/api/rpc.pb.h"

namespace keelson::kvstore::internal {
namespace {

constexpr uint32_t kLastSub = std::numeric_limits<uint32_t>::max();

absl::Status DamagedRow(std::string_view row) {
  return absl::DataLossError(
      absl::StrCat("a row of the key space cannot be read: key ",
                   absl::BytesToHexString(absl::string_view(row.data(), row.size()))));
}

void FromOverlay(const mvccpb::KeyValue& from, Revision revision, Pair* pair) {
  pair->key = from.key();
  pair->modified = revision;
  pair->create_revision = from.create_revision();
  pair->version = from.version();
  pair->lease = from.lease();
  pair->value = from.value();
}

void FromRow(const DataValue& from, Revision revision, Pair* pair) {
  pair->modified = revision;
  pair->create_revision = from.create_revision;
  pair->version = from.version;
  pair->lease = from.lease;
  pair->value = from.value;
}

// Walks the engine's live pairs of a range as of one revision.
class EngineScan {
 public:
  EngineScan(const Engine& engine, const Bounds& bounds, int64_t at) : at_(at) {
    Engine::IterateOptions options;
    AppendRowPrefix(bounds.key, &target_);
    if (bounds.OneKey()) {
      options.upper_bound = target_;
      AdvancePastPrefix(&options.upper_bound);
    } else if (!bounds.Open()) {
      AppendRowPrefix(bounds.range_end, &options.upper_bound);
    }
    iterator_ = engine.NewIterator(Family::kData, options);
    iterator_->Seek(target_);
  }

  // Moves to the next live pair and returns true, or returns false at the end.
  absl::StatusOr<bool> Next() {
    if (!prefix_.empty()) SkipVersions();
    while (iterator_->Valid()) {
      std::string_view prefix;
      Revision revision;
      if (!DecodeDataRow(iterator_->key(), &prefix, &revision)) {
        return DamagedRow(iterator_->key());
      }
      if (revision.main > at_) {
        EncodeDataRowOfPrefix(prefix, {at_, kLastSub}, &target_);
        iterator_->Seek(target_);
        continue;
      }
      prefix_.assign(prefix);
      DataValue value;
      if (!DecodeDataValue(iterator_->value(), &value)) return DamagedRow(iterator_->key());
      if (value.deleted) {
        SkipVersions();
        continue;
      }
      if (!DecodeRowPrefix(prefix_, &scratch_, &pair_.key)) return DamagedRow(iterator_->key());
      FromRow(value, revision, &pair_);
      return true;
    }
    KEELSON_RETURN_IF_ERROR(iterator_->status());
    return false;
  }

  [[nodiscard]] const Pair& pair() const { return pair_; }

 private:
  // Leaves the versions of the key behind that the iterator stands on. Stepping is cheaper
  // than seeking while there are few.
  void SkipVersions() {
    constexpr int kSteps = 4;
    for (int step = 0; step < kSteps; ++step) {
      iterator_->Next();
      if (!iterator_->Valid() || !OnSameKey()) return;
    }
    target_ = prefix_;
    AdvancePastPrefix(&target_);
    iterator_->Seek(target_);
  }

  [[nodiscard]] bool OnSameKey() const {
    const std::string_view row = iterator_->key();
    return row.size() == prefix_.size() + kRevisionBytes &&
           row.substr(0, prefix_.size()) == prefix_;
  }

  const int64_t at_;
  std::unique_ptr<EngineIterator> iterator_;
  std::string target_;
  std::string prefix_;   // of the key that the iterator stands on
  std::string scratch_;  // for keys that are stored escaped
  Pair pair_;
};

}  // namespace

void ToKeyValue(const Pair& pair, bool with_value, mvccpb::KeyValue* out) {
  out->set_key(pair.key.data(), pair.key.size());
  out->set_create_revision(pair.create_revision);
  out->set_mod_revision(pair.modified.main);
  out->set_version(pair.version);
  out->set_lease(pair.lease);
  if (with_value) out->set_value(pair.value.data(), pair.value.size());
}

void AppendPairField(const Pair& pair, bool with_value, std::string* out) {
  using google::protobuf::io::CodedOutputStream;
  // KeyValue's fields in their order; those that are 0 or empty are left out.
  constexpr uint32_t kBytes = 2;  // wire type
  const auto text_tag = [](int field) { return static_cast<uint32_t>(field) << 3 | kBytes; };
  constexpr size_t kNumberMax = 1 + 10;
  uint8_t numbers[3 * kNumberMax];
  uint8_t* end = numbers;
  const auto add = [](int field, int64_t value, uint8_t* to) {
    if (value == 0) return to;
    to = CodedOutputStream::WriteTagToArray(static_cast<uint32_t>(field) << 3, to);
    return CodedOutputStream::WriteVarint64ToArray(static_cast<uint64_t>(value), to);
  };
  end = add(mvccpb::KeyValue::kCreateRevisionFieldNumber, pair.create_revision, end);
  end = add(mvccpb::KeyValue::kModRevisionFieldNumber, pair.modified.main, end);
  end = add(mvccpb::KeyValue::kVersionFieldNumber, pair.version, end);
  uint8_t lease[kNumberMax];
  uint8_t* const lease_end = add(mvccpb::KeyValue::kLeaseFieldNumber, pair.lease, lease);

  const std::string_view value = with_value ? pair.value : std::string_view();
  const auto text_bytes = [](std::string_view text) {
    return text.empty() ? 0 : 1 + CodedOutputStream::VarintSize64(text.size()) + text.size();
  };
  const size_t bytes = text_bytes(pair.key) + static_cast<size_t>(end - numbers) +
                       text_bytes(value) + static_cast<size_t>(lease_end - lease);
  uint8_t head[2 * kNumberMax];
  uint8_t* head_end = CodedOutputStream::WriteTagToArray(
      text_tag(etcdserverpb::RangeResponse::kKvsFieldNumber), head);
  head_end = CodedOutputStream::WriteVarint64ToArray(bytes, head_end);
  out->append(head, head_end);
  const auto append_text = [&](int field, std::string_view text) {
    if (text.empty()) return;
    uint8_t* text_end = CodedOutputStream::WriteTagToArray(text_tag(field), head);
    text_end = CodedOutputStream::WriteVarint64ToArray(text.size(), text_end);
    out->append(head, text_end);
    out->append(text);
  };
  append_text(mvccpb::KeyValue::kKeyFieldNumber, pair.key);
  out->append(numbers, end);
  append_text(mvccpb::KeyValue::kValueFieldNumber, value);
  out->append(lease, lease_end);
}

const Overlay::Version* Overlay::At(const Versions& versions, int64_t at) {
  for (auto it = versions.rbegin(); it != versions.rend(); ++it) {
    if (it->revision.main <= at) return &*it;
  }
  return nullptr;
}

bool Bounds::Contains(std::string_view candidate) const {
  if (OneKey()) return candidate == key;
  return candidate >= key && (Open() || candidate < range_end);
}

absl::StatusOr<bool> View::Find(std::string_view key, int64_t at, Need need, Pair* pair) {
  if (overlay_ != nullptr) {
    if (const auto it = overlay_->map().find(key); it != overlay_->map().end()) {
      if (const Overlay::Version* version = Overlay::At(it->second, at)) {
        if (version->deleted) return false;
        FromOverlay(*version->pair, version->revision, pair);
        return true;
      }
    }
  }
  KEELSON_ASSIGN_OR_RETURN(const bool known, FindLatest(key, at, need, pair));
  return known ? absl::StatusOr<bool>(true) : Seek(key, at, pair);
}

absl::StatusOr<bool> View::FindLatest(std::string_view key, int64_t at, Need need, Pair* pair) {
  LatestCache::Entry entry;
  if (!latest_.Find(key, &entry) || entry.modified.main > at) return false;
  *pair = {.key = key,
           .modified = entry.modified,
           .create_revision = entry.create_revision,
           .version = entry.version,
           .lease = entry.lease,
           .value = {}};
  if (need == Need::kMetadata) return true;
  EncodeDataRow(key, entry.modified, &row_);
  DataValue value;
  bool good = true;
  // Not found: superseded, compacted and swept since the entry was read. Then a seek gives
  // what the caller's own check of the compacted revision will judge.
  KEELSON_ASSIGN_OR_RETURN(const bool found,
                           engine_.Get(Family::kData, row_, [&](std::string_view bytes) {
                             good = DecodeDataValue(bytes, &value);
                             value_.assign(value.value);
                           }));
  if (!good) return DamagedRow(row_);
  pair->value = value_;
  return found;
}

absl::StatusOr<bool> View::Seek(std::string_view key, int64_t at, Pair* pair) {
  if (point_ == nullptr) {
    Engine::IterateOptions options;
    options.same_prefix = true;
    point_ = engine_.NewIterator(Family::kData, options);
  }
  EncodeDataRow(key, {at, kLastSub}, &row_);
  point_->Seek(row_);
  if (!point_->Valid()) {
    KEELSON_RETURN_IF_ERROR(point_->status());
    return false;
  }
  const std::string_view found = point_->key();
  if (found.size() != row_.size() ||
      found.substr(0, found.size() - kRevisionBytes) !=
          std::string_view(row_).substr(0, row_.size() - kRevisionBytes)) {
    return false;
  }
  std::string_view prefix;
  Revision revision;
  DataValue value;
  if (!DecodeDataRow(found, &prefix, &revision) || !DecodeDataValue(point_->value(), &value)) {
    return DamagedRow(found);
  }
  if (value.deleted) return false;
  pair->key = key;
  FromRow(value, revision, pair);
  return true;
}

absl::Status View::Scan(const Bounds& bounds, int64_t at, Need need,
                        absl::FunctionRef<bool(const Pair&)> visit) {
  if (!bounds.OneKey() && !bounds.Open() && bounds.key >= bounds.range_end) {
    return absl::OkStatus();
  }
  if (bounds.OneKey()) {
    Pair pair;
    KEELSON_ASSIGN_OR_RETURN(const bool found, Find(bounds.key, at, need, &pair));
    if (found) (void)visit(pair);  // There is no next one to ask for.
    return absl::OkStatus();
  }
  if (overlay_ != nullptr && !overlay_->map().empty()) return ScanUnderOverlay(bounds, at, visit);

  EngineScan scan(engine_, bounds, at);
  for (;;) {
    KEELSON_ASSIGN_OR_RETURN(const bool more, scan.Next());
    if (!more || !visit(scan.pair())) return absl::OkStatus();
  }
}

absl::Status View::ScanUnderOverlay(const Bounds& bounds, int64_t at,
                                    absl::FunctionRef<bool(const Pair&)> visit) {
  EngineScan below(engine_, bounds, at);
  KEELSON_ASSIGN_OR_RETURN(bool has_below, below.Next());
  auto over = overlay_->map().lower_bound(bounds.key);
  const auto over_end =
      bounds.Open() ? overlay_->map().end() : overlay_->map().lower_bound(bounds.range_end);
  const Overlay::Version* version = nullptr;
  const auto settle = [&] {  // goes on to the next key that has a version at `at`
    for (version = nullptr; over != over_end; ++over) {
      version = Overlay::At(over->second, at);
      if (version != nullptr) return;
    }
  };
  for (settle(); has_below || version != nullptr;) {
    if (version != nullptr && (!has_below || over->first <= below.pair().key)) {
      const bool hides = has_below && over->first == below.pair().key;
      if (!version->deleted) {
        Pair pair;
        FromOverlay(*version->pair, version->revision, &pair);
        if (!visit(pair)) return absl::OkStatus();
      }
      ++over;
      settle();
      if (!hides) continue;
    } else if (!visit(below.pair())) {
      return absl::OkStatus();
    }
    KEELSON_ASSIGN_OR_RETURN(has_below, below.Next());
  }
  return absl::OkStatus();
}

}  // namespace keelson::kvstore::internal
