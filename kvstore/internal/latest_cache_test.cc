// The cache of newest versions: it may forget, but it never tells an old version.
#include <catch2/catch.hpp>

#include <map>
#include <random>
#include <string>

#include "kvstore/internal/latest_cache.h"

namespace keelson::kvstore::internal {
namespace {

TEST_CASE("The cache forgets but is never wrong", "[kvstore][cache]") {
  LatestCache cache(64);
  std::map<std::string, int64_t> newest;
  std::mt19937 random(3);
  size_t found = 0;
  for (int64_t revision = 1; revision < 50'000; ++revision) {
    const std::string key = "key" + std::to_string(random() % 300);
    if (random() % 5 == 0) {
      cache.Erase(key);
      newest.erase(key);
    } else {
      cache.Set(key, {.modified = {revision, 7}, .create_revision = 1, .version = 2, .lease = 3});
      newest[key] = revision;
    }
    const std::string other = "key" + std::to_string(random() % 300);
    LatestCache::Entry entry;
    if (!cache.Find(other, &entry)) continue;
    ++found;
    REQUIRE(newest.count(other) == 1);
    REQUIRE(entry.modified == Revision{newest[other], 7});
    REQUIRE(entry.lease == 3);
  }
  CHECK(found > 5'000);
}

TEST_CASE("The cache keeps every key while there are few", "[kvstore][cache]") {
  LatestCache cache(4096);
  for (int n = 0; n < 1000; ++n) cache.Set("key" + std::to_string(n), {{n + 1, 0}, 1, 1, 0});
  int missing = 0;
  LatestCache::Entry entry;
  for (int n = 0; n < 1000; ++n) missing += cache.Find("key" + std::to_string(n), &entry) ? 0 : 1;
  CHECK(missing < 20);
  cache.Set(std::string(10'000, 'x'), {{1, 0}, 1, 1, 0});  // not worth the memory
  CHECK_FALSE(cache.Find(std::string(10'000, 'x'), &entry));
}

}  // namespace
}  // namespace keelson::kvstore::internal
