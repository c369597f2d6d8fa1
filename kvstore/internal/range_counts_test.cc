// Counts of ranges are right after any writes, and asking again does not walk the range again.
#include <catch2/catch.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/testing/status_matchers.h"
#include "kvstore/engine_memory.h"
#include "kvstore/errors.h"
#include "kvstore/internal/machine.h"
#include "kvstore/internal/range_counts.h"
#include "kvstore/testing/faulty_engine.h"
#include "kvstore/testing/machine_driver.h"

namespace keelson::kvstore::internal {
namespace {

using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using testing::CompactCommand;
using testing::MachineDriver;
using testing::MakeRange;

struct Setup {
  Setup() {
    MachineParts parts;
    parts.home = std::make_unique<testing::FaultyEngineHome>(NewMemoryEngineHome(), faults);
    auto opened = Machine::Open({}, &listener, std::move(parts));
    KEELSON_REQUIRE_OK(opened);
    machine = *std::move(opened);
    kv.emplace(*machine, listener);
  }

  void Fill(int keys) {
    for (int i = 0; i < keys; ++i) kv->Put(absl::StrFormat("k/%06d", i), "v");
  }

  // The rows walked by one range; its answer goes to `response`.
  int64_t Rows(const RangeRequest& request, RangeResponse* response) {
    const int64_t before = faults.rows_walked;
    *response = kv->Range(request);
    return faults.rows_walked - before;
  }

  testing::Faults faults;
  testing::RecordingListener listener;
  std::unique_ptr<Machine> machine;
  std::optional<MachineDriver> kv;
};

RangeRequest List(std::string_view from, int64_t limit, int64_t revision = 0) {
  RangeRequest request = MakeRange(from, "k0");
  request.set_limit(limit);
  request.set_revision(revision);
  return request;
}

TEST_CASE("A list by pages walks the range once, whatever is written meanwhile",
          "[kvstore][count]") {
  constexpr int kKeys = 5000;
  constexpr int kPage = 100;
  Setup setup;
  setup.Fill(kKeys);

  RangeResponse page;
  CHECK(setup.Rows(List("k/", kPage), &page) >= kKeys);
  const int64_t revision = page.header().revision();
  int64_t left = kKeys;
  while (true) {
    REQUIRE(page.count() == left);
    REQUIRE(page.more() == (left > kPage));
    left -= page.kvs_size();
    if (!page.more()) break;
    setup.kv->Put(absl::StrCat("k/", left, "/new"), "v");
    setup.kv->Delete(page.kvs(0).key());
    const std::string next = page.kvs().rbegin()->key() + std::string(1, '\0');
    const int64_t rows = setup.Rows(List(next, kPage, revision), &page);
    // Each pair, and a few more where the writes of this test have left their versions.
    if (left >= RangeCounts::kSmallest + kPage) REQUIRE(rows <= 3 * kPage);
  }
  CHECK(left == 0);
}

TEST_CASE("A list that is asked for again walks the changes since then", "[kvstore][count]") {
  constexpr int kKeys = 5000;
  Setup setup;
  setup.Fill(kKeys);
  RangeResponse response;
  setup.Rows(List("k/", 10), &response);
  REQUIRE(response.count() == kKeys);

  setup.kv->Put("k/000001", "again");
  setup.kv->Put("k/new", "v");
  setup.kv->Put("other", "v");
  setup.kv->Delete("k/000002");
  setup.kv->Delete("k/000003");
  CHECK(setup.Rows(List("k/", 10), &response) <= 40);
  CHECK(response.count() == kKeys - 1);
  CHECK(response.kvs_size() == 10);
  CHECK(response.more());

  RangeRequest count = MakeRange("k/", "k0");
  count.set_count_only(true);
  CHECK(setup.Rows(count, &response) == 0);
  CHECK(response.count() == kKeys - 1);

  // An older revision, from the newer count back.
  CHECK(setup.Rows(List("k/", 10, kKeys + 1), &response) <= 60);
  CHECK(response.count() == kKeys);
}

TEST_CASE("A count from before a compaction is not built on", "[kvstore][count]") {
  constexpr int kKeys = 500;
  Setup setup;
  setup.Fill(kKeys);
  RangeResponse response;
  setup.Rows(List("k/", 10), &response);
  for (int i = 0; i < 100; ++i) setup.kv->Delete(absl::StrFormat("k/%06d", i));
  const int64_t now = setup.kv->store().Revision();
  REQUIRE(setup.kv->Apply(CompactCommand(now, true)).status.ok());
  setup.Rows(List("k/", 10), &response);
  CHECK(response.count() == kKeys - 100);
  CHECK(setup.kv->RangeError(List("k/", 10, now - 1)) == errors::Compacted());
}

// Keys of a small space are written at random; counts of random ranges at random revisions are held
// against sets of keys.
TEST_CASE("Counts are those of a model", "[kvstore][count]") {
  const uint32_t seed = GENERATE(1u, 2u, 3u, 4u);
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto draw = [&](int below) { return static_cast<int>(random() % below); };
  const auto key = [&] { return absl::StrFormat("%03d", draw(400)); };

  Setup setup;
  std::vector<std::set<std::string>> states(2);  // by revision
  int64_t compacted = 1;
  for (int step = 0; step < 6000; ++step) {
    std::set<std::string> state = states.back();
    switch (draw(10)) {
      case 0: {
        const std::string from = key();
        const std::string to = absl::StrCat(from, "~");
        if (setup.kv->Delete(from, to) == 0) break;
        state.erase(state.lower_bound(from), state.lower_bound(to));
        states.push_back(std::move(state));
        break;
      }
      case 1:
      case 2:
      case 3: {
        const std::string target = key();
        setup.kv->Put(target, "v");
        state.insert(target);
        states.push_back(std::move(state));
        break;
      }
      case 4:
        if (draw(50) == 0 && static_cast<int64_t>(states.size()) - 1 > compacted) {
          compacted += draw(static_cast<int>(states.size() - 1 - compacted)) + 1;
          REQUIRE(setup.kv->Apply(CompactCommand(compacted, draw(2) == 0)).status.ok());
        }
        break;
      default: {
        const int64_t now = static_cast<int64_t>(states.size()) - 1;
        const int64_t at =
            draw(2) == 0 ? now : compacted + draw(static_cast<int>(now - compacted + 1));
        RangeRequest request = MakeRange(absl::StrFormat("%03d", 50 * draw(3)),
                                         absl::StrFormat("%03d", 400 - 50 * draw(3)));
        request.set_revision(at);
        request.set_limit(draw(3) * 20);
        request.set_count_only(draw(4) == 0);
        const std::set<std::string>& model = states.at(at);
        const auto count =
            std::distance(model.lower_bound(request.key()), model.lower_bound(request.range_end()));
        const RangeResponse response = setup.kv->Range(request);
        REQUIRE(response.count() == count);
        REQUIRE(response.more() ==
                (!request.count_only() && request.limit() > 0 && count > request.limit()));
      }
    }
  }
}

}  // namespace
}  // namespace keelson::kvstore::internal
