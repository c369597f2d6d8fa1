#include "kvstore/server/range_index.h"

#include <catch2/catch.hpp>

#include <set>

#include "base/random.h"
#include "kvstore/server/testing/fake_store.h"

using namespace keelson::kvstore;

namespace {

const std::string kZero(1, '\0');

std::multiset<int> Matches(const RangeIndex<int>& index, std::string_view key) {
  std::multiset<int> found;
  index.ForEachMatch(key, [&](int value) { found.insert(value); });
  return found;
}

}  // namespace

TEST_CASE("A key finds the ranges that hold it", "[kvstore][watch]") {
  RangeIndex<int> index;
  index.Insert({"b", ""}, 1);
  index.Insert({"b", "d"}, 2);
  index.Insert({"a", kZero}, 3);
  index.Insert({kZero, kZero}, 4);
  index.Insert({"b", "d"}, 5);

  CHECK(Matches(index, "a") == std::multiset<int>{3, 4});
  CHECK(Matches(index, "b") == std::multiset<int>{1, 2, 3, 4, 5});
  CHECK(Matches(index, std::string("b") + kZero) == std::multiset<int>{2, 3, 4, 5});
  CHECK(Matches(index, "d") == std::multiset<int>{3, 4});
  CHECK(Matches(index, "A") == std::multiset<int>{4});
}

TEST_CASE("A removed value is found no more, its neighbours are", "[kvstore][watch]") {
  RangeIndex<int> index;
  index.Insert({"b", "d"}, 1);
  index.Insert({"b", "d"}, 2);
  index.Insert({"c", ""}, 3);

  index.Remove({"b", "d"}, 1);
  index.Remove({"c", ""}, 3);

  CHECK(Matches(index, "c") == std::multiset<int>{2});
  CHECK(index.size() == 1);
}

TEST_CASE("Keys are compared as unsigned bytes", "[kvstore][watch]") {
  RangeIndex<int> index;
  index.Insert({"\x7f", "\x81"}, 1);
  CHECK(Matches(index, "\x80") == std::multiset<int>{1});
  CHECK(Matches(index, "\x81").empty());
}

TEST_CASE("Random ranges match as a scan of all of them", "[kvstore][watch]") {
  const uint64_t seed = GENERATE(range<uint64_t>(1, 40));
  INFO("seed " << seed);
  keelson::Random random(seed);
  const auto key = [&] {
    std::string text;
    for (uint64_t n = random.Below(4); n > 0; --n) text.push_back("\0ab\xff"[random.Below(4)]);
    return text;
  };
  RangeIndex<int> index;
  std::vector<std::pair<KeyRange, int>> twin;

  for (int step = 0; step < 400; ++step) {
    if (random.Below(3) != 0 || twin.empty()) {
      KeyRange range{key(), ""};
      const uint64_t kind = random.Below(4);
      if (kind == 1) range.range_end = kZero;
      if (kind >= 2) range.range_end = key();
      index.Insert(range, step);
      twin.emplace_back(range, step);
    } else {
      const size_t at = random.Below(twin.size());
      index.Remove(twin[at].first, twin[at].second);
      twin.erase(twin.begin() + static_cast<ptrdiff_t>(at));
    }
    const std::string probe = key();
    std::multiset<int> expected;
    for (const auto& [range, value] : twin) {
      if (FakeStore::InRange(range, probe)) expected.insert(value);
    }
    REQUIRE(Matches(index, probe) == expected);
  }
}
