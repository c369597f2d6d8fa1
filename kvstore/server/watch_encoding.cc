#include "kvstore/server/watch_encoding.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "base/check.h"

namespace keelson::kvstore {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

constexpr uint32_t kEventsTag = WireFormatLite::MakeTag(
    etcdserverpb::WatchResponse::kEventsFieldNumber, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);

std::string Join(const etcdserverpb::WatchResponse& response, const EncodedEvents& events,
                 const std::vector<uint32_t>& indices, size_t first, size_t last, size_t bytes) {
  std::string out;
  out.reserve(response.ByteSizeLong() + bytes);
  KEELSON_CHECK(response.AppendToString(&out)) << "a watch response cannot be encoded";
  for (size_t i = first; i < last; ++i) out += events.at(indices[i]);
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

std::vector<std::string> EncodeResponses(const etcdserverpb::WatchResponse& response,
                                         const EncodedEvents& events,
                                         const std::vector<uint32_t>& indices,
                                         size_t fragment_bytes) {
  std::vector<std::string> out;
  etcdserverpb::WatchResponse piece = response;
  piece.set_fragment(true);
  size_t first = 0;
  size_t bytes = 0;
  for (size_t i = 0; i < indices.size(); ++i) {
    const size_t next = events.at(indices[i]).size();
    if (fragment_bytes != 0 && i > first && bytes + next > fragment_bytes) {
      out.push_back(Join(piece, events, indices, first, i, bytes));
      first = i;
      bytes = 0;
    }
    bytes += next;
  }
  out.push_back(Join(response, events, indices, first, indices.size(), bytes));
  return out;
}

}  // namespace keelson::kvstore
