// Ranges in pieces are the ranges in one.
#include "kvstore/server/range_pages.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/testing/status_matchers.h"
#include "kvstore/errors.h"
#include "kvstore/testing/machine_driver.h"

namespace keelson::kvstore {
namespace {

using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::RangeStreamResponse;
using testing::MakeRange;
using testing::World;

struct Streamed {
  RangeResponse merged;
  int messages = 0;
  size_t longest = 0;
};

// Reads all pieces; `between` runs after each.
Streamed Stream(
    const Store& store, const RangeRequest& request, size_t max_bytes,
    const std::function<void()>& between = [] {}) {
  RangePages pages(request);
  Streamed out;
  RangeStreamResponse merged;
  while (!pages.done()) {
    RangeResponse response;
    const absl::Status status = pages.request().count_only()
                                    ? store.Range(pages.request(), &response)
                                    : store.RangeChunk(pages.request(), max_bytes, &response);
    KEELSON_REQUIRE_OK(status);
    const RangeStreamResponse message = pages.Take(std::move(response));
    ++out.messages;
    out.longest = std::max(out.longest, message.ByteSizeLong());
    merged.MergeFrom(message);
    between();
  }
  out.merged = merged.range_response();
  return out;
}

TEST_CASE("The pieces of a range, merged, are its answer", "[kvstore][stream]") {
  World world(testing::EngineKind::kMemory);
  for (int i = 0; i < 300; ++i) {
    world.kv->Put(absl::StrFormat("k%03d", i), std::string(i % 50, 'v'));
  }
  const bool keys_only = GENERATE(false, true);
  const int64_t limit = GENERATE(0, 1, 99, 300, 301);
  const size_t max_bytes = GENERATE(size_t{1}, size_t{700}, size_t{1} << 20);
  for (RangeRequest request :
       {MakeRange("k", "l"), MakeRange("k1", "k2"), MakeRange("k007"), MakeRange("none"),
        MakeRange("z", "a"), MakeRange(testing::kAll, testing::kAll)}) {
    request.set_keys_only(keys_only);
    request.set_limit(limit);
    CAPTURE(request.ShortDebugString(), max_bytes);
    const Streamed streamed = Stream(world.kv->store(), request, max_bytes);
    CHECK(streamed.merged.SerializeAsString() == world.kv->Range(request).SerializeAsString());
  }
}

TEST_CASE("All pieces are as of the revision when the stream began", "[kvstore][stream]") {
  World world(testing::EngineKind::kMemory);
  for (int i = 0; i < 50; ++i) world.kv->Put(absl::StrFormat("k%02d", i), "old");
  RangeRequest request = MakeRange("k", "l");
  request.set_limit(GENERATE(0, 40));
  const RangeResponse before = world.kv->Range(request);
  int writes = 0;
  const Streamed streamed = Stream(world.kv->store(), request, 100, [&] {
    world.kv->Put(absl::StrFormat("k%02d", 50 - ++writes % 50), "new");
    world.kv->Put(absl::StrFormat("k%02d+", writes), "new");
  });
  CHECK(streamed.messages > 5);
  CHECK(streamed.merged.SerializeAsString() == before.SerializeAsString());
}

TEST_CASE("A piece is as long as it may be, and a pair more at the most", "[kvstore][stream]") {
  World world(testing::EngineKind::kMemory);
  for (int i = 0; i < 20; ++i) world.kv->Put(absl::StrFormat("k%02d", i), std::string(1000, 'v'));
  const Streamed streamed = Stream(world.kv->store(), MakeRange("k", "l"), 3000);
  CHECK(streamed.longest < 4200);
  CHECK(streamed.messages == 7);
}

TEST_CASE("A count goes in one message", "[kvstore][stream]") {
  World world(testing::EngineKind::kMemory);
  world.kv->Put("k", "v");
  RangeRequest request = MakeRange("k", "l");
  request.set_count_only(true);
  const Streamed streamed = Stream(world.kv->store(), request, 1);
  CHECK(streamed.messages == 1);
  CHECK(streamed.merged.count() == 1);
  CHECK(!streamed.merged.more());
}

TEST_CASE("What is sorted or filtered is not streamed", "[kvstore][stream]") {
  World world(testing::EngineKind::kMemory);
  RangeRequest request = MakeRange("k", "l");
  RangeResponse response;
  request.set_sort_order(RangeRequest::DESCEND);
  CHECK(world.kv->store().RangeChunk(request, 1, &response) ==
        absl::UnimplementedError("RangeStream does not support custom sort orders"));
  request.set_sort_order(RangeRequest::ASCEND);
  CHECK(world.kv->store().RangeChunk(request, 1, &response).ok());
  request.set_max_mod_revision(7);
  CHECK(world.kv->store().RangeChunk(request, 1, &response) ==
        absl::UnimplementedError("RangeStream does not support revision filters"));
}

}  // namespace
}  // namespace keelson::kvstore
