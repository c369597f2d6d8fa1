#include "kvstore/server/range_pages.h"

namespace keelson::kvstore {

using etcdserverpb::RangeResponse;
using etcdserverpb::RangeStreamResponse;

RangeStreamResponse RangePages::Take(RangeResponse response) {
  if (header_.revision() == 0) {
    header_ = response.header();
    if (request_.revision() <= 0) request_.set_revision(header_.revision());
    request_.set_serializable(true);  // What comes now is history.
  }
  RangeStreamResponse message;
  RangeResponse* const piece = message.mutable_range_response();
  if (request_.count_only()) {
    End(response.count(), piece);
    return message;
  }
  piece->mutable_kvs()->Swap(response.mutable_kvs());
  sent_ += piece->kvs_size();
  if (!response.more()) {
    End(sent_, piece);
  } else if (limit_ > 0 && sent_ >= limit_) {
    request_.set_key(first_key_);
    request_.set_count_only(true);
  } else {
    request_.set_key(piece->kvs().rbegin()->key());
    request_.mutable_key()->push_back('\0');
    if (limit_ > 0) request_.set_limit(limit_ - sent_);
  }
  return message;
}

void RangePages::End(int64_t count, RangeResponse* last) {
  *last->mutable_header() = header_;
  last->set_count(count);
  last->set_more(sent_ > 0 && sent_ < count);
  done_ = true;
}

}  // namespace keelson::kvstore
