#include "kvstore/server/watch_encoding.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <span>

#include "base/check.h"

namespace keelson::kvstore {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

constexpr uint32_t kEventsTag = WireFormatLite::MakeTag(
    etcdserverpb::WatchResponse::kEventsFieldNumber, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);

std::string Join(std::string_view head, bool fragment, const EncodedEvents& events,
                 std::span<const uint32_t> indices) {
  size_t bytes = head.size() + 2;
  for (const uint32_t i : indices) bytes += events.at(i).size();
  std::string out;
  out.reserve(bytes);
  out += head;
  if (fragment) {
    out += static_cast<char>(etcdserverpb::WatchResponse::kFragmentFieldNumber << 3);
    out += '\1';
  }
  for (const uint32_t i : indices) out += events.at(i);
  return out;
}

}  // namespace

void EncodedEvents::Append(const mvccpb::Event& event) {
  const size_t bytes = event.ByteSizeLong();
  uint8_t head[2 * 10];
  uint8_t* end = CodedOutputStream::WriteTagToArray(kEventsTag, head);
  end = CodedOutputStream::WriteVarint64ToArray(bytes, end);
  bytes_.append(head, end);
  KEELSON_CHECK(event.AppendToString(&bytes_)) << "an event cannot be encoded";
  ends_.push_back(bytes_.size());
}

std::string_view EncodedEvents::at(size_t i) const {
  const size_t begin = i == 0 ? 0 : ends_[i - 1];
  return std::string_view(bytes_).substr(begin, ends_[i] - begin);
}

size_t PublishedChange::BytesOf(const Store::Change& change) {
  size_t bytes = 64;
  for (const mvccpb::Event& event : change.events) {
    bytes += 64 + event.kv().key().size() + event.kv().value().size();
  }
  return bytes;
}

const EncodedEvents& PublishedChange::Plain() const {
  std::call_once(plain_once_, [this] {
    for (const mvccpb::Event& event : change_.events) plain_.Append(event);
  });
  return plain_;
}

const EncodedEvents& PublishedChange::WithPrevious() const {
  std::call_once(previous_once_, [this] {
    for (const mvccpb::Event& event : change_.events) {
      mvccpb::Event with = event;
      if (!IsCreation(event)) {
        auto previous = store_->GetAt(event.kv().key(), change_.revision - 1);
        if (previous.ok()) with.mutable_prev_kv()->Swap(&*previous);
      }
      with_previous_.Append(with);
    }
  });
  return with_previous_;
}

void AppendWatchId(int64_t watch_id, std::string* out) {
  if (watch_id == 0) return;
  uint8_t field[1 + 10];
  uint8_t* end = CodedOutputStream::WriteTagToArray(
      static_cast<uint32_t>(etcdserverpb::WatchResponse::kWatchIdFieldNumber) << 3, field);
  end = CodedOutputStream::WriteVarint64ToArray(static_cast<uint64_t>(watch_id), end);
  out->append(field, end);
}

std::string EncodeResponse(std::string_view head, const EncodedEvents& events,
                           const EventIndices& indices) {
  return Join(head, /*fragment=*/false, events, indices);
}

std::vector<std::string> EncodeFragments(std::string_view head, const EncodedEvents& events,
                                         const EventIndices& indices, size_t fragment_bytes) {
  std::vector<std::string> out;
  const std::span<const uint32_t> all(indices);
  size_t first = 0;
  size_t bytes = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const size_t next = events.at(all[i]).size();
    if (i > first && bytes + next > fragment_bytes) {
      out.push_back(Join(head, /*fragment=*/true, events, all.subspan(first, i - first)));
      first = i;
      bytes = 0;
    }
    bytes += next;
  }
  out.push_back(Join(head, /*fragment=*/false, events, all.subspan(first)));
  return out;
}

}  // namespace keelson::kvstore
