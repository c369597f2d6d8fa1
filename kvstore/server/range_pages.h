// How a range is answered in pieces of bounded size, all as of one revision (kvstore.md 3.13): what to
// read next, and what to send. Merged, the messages are the answer that Range gives.
#ifndef KEELSON_KVSTORE_SERVER_RANGE_PAGES_H_
#define KEELSON_KVSTORE_SERVER_RANGE_PAGES_H_

#include <cstdint>
#include <string>
#include <utility>

#include "kvstore/api/rpc.pb.h"

namespace keelson::kvstore {

// Not thread-safe.
class RangePages {
 public:
  // `request` is one that ValidateStreamedRange takes.
  explicit RangePages(etcdserverpb::RangeRequest request)
      : request_(std::move(request)), first_key_(request_.key()), limit_(request_.limit()) {}

  // What to read: by Store::Range if it is for a count only, else by Store::RangeChunk. Changes with
  // Take.
  [[nodiscard]] const etcdserverpb::RangeRequest& request() const { return request_; }

  // Takes the answer to request() and gives the message to send for it. Precondition: !done().
  etcdserverpb::RangeStreamResponse Take(etcdserverpb::RangeResponse response);

  // The last message has been given.
  [[nodiscard]] bool done() const { return done_; }

 private:
  void End(int64_t count, etcdserverpb::RangeResponse* last);

  etcdserverpb::RangeRequest request_;
  const std::string first_key_;
  const int64_t limit_;
  etcdserverpb::ResponseHeader header_;  // of the first piece; its revision is never 0
  int64_t sent_ = 0;
  bool done_ = false;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_SERVER_RANGE_PAGES_H_
