#include <catch2/catch.hpp>

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/status.h"
#include "base/testing/status_matchers.h"

#include "kvstore/bbolt/format.h"
#include "kvstore/bbolt/reader.h"
#include "kvstore/bbolt/writer.h"

namespace keelson::kvstore::bbolt {
namespace {

using Rows = std::map<std::string, std::string>;
using Buckets = std::map<std::string, Rows>;

absl::Status Fill(const Buckets& buckets, Writer& writer) {
  for (const auto& [name, rows] : buckets) {
    KEELSON_RETURN_IF_ERROR(writer.BeginBucket(name));
    for (const auto& [key, value] : rows) KEELSON_RETURN_IF_ERROR(writer.Add(key, value));
    KEELSON_RETURN_IF_ERROR(writer.EndBucket());
  }
  return absl::OkStatus();
}

std::string Written(const Buckets& buckets) {
  const auto fill = [&](Writer& writer) { return Fill(buckets, writer); };
  const absl::StatusOr<Layout> layout = Measure(fill);
  KEELSON_REQUIRE_OK(layout);
  std::string file;
  KEELSON_REQUIRE_OK(Write(*layout, fill, [&](std::string_view bytes) {
    file.append(bytes);
    return absl::OkStatus();
  }));
  CHECK(file.size() == layout->pages * kPageBytes);
  return file;
}

absl::Status ReadAll(std::string_view file, Buckets* buckets) {
  KEELSON_ASSIGN_OR_RETURN(const Reader reader, Reader::Open(file));
  return reader.VisitBuckets([&](const Reader::Entry& bucket) -> absl::Status {
    if (!bucket.bucket) return absl::OkStatus();
    Rows& rows = (*buckets)[std::string(bucket.key)];
    return reader.VisitNested(bucket, [&](const Reader::Entry& row) {
      rows[std::string(row.key)] = row.value;
      return absl::OkStatus();
    });
  });
}

Buckets RandomBuckets(Random& random) {
  Buckets buckets;
  for (int64_t b = random.Between(0, 6); b > 0; --b) {
    Rows& rows = buckets[absl::StrCat("bucket", b)];
    const int64_t count = random.Between(0, random.Between(0, 3) == 0 ? 3000 : 20);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t size = random.Between(0, 200) == 0 ? random.Between(0, 20000) : i % 97;
      rows[absl::StrCat("k", random.Between(0, 1'000'000))] =
          std::string(static_cast<size_t>(size), static_cast<char>('a' + i % 26));
    }
  }
  return buckets;
}

TEST_CASE("What the writer writes, the reader reads", "[kvstore][bbolt]") {
  const uint64_t seed = GENERATE(range(1, 41));
  INFO("seed " << seed);
  Random random(seed);
  const Buckets buckets = RandomBuckets(random);

  Buckets read;
  KEELSON_REQUIRE_OK(ReadAll(Written(buckets), &read));

  CHECK(read == buckets);
}

TEST_CASE("A tree of three levels keeps its order", "[kvstore][bbolt]") {
  Buckets buckets;
  for (int i = 0; i < 60'000; ++i) buckets["key"][absl::StrCat(1'000'000 + i)] = "value";
  Buckets read;
  KEELSON_REQUIRE_OK(ReadAll(Written(buckets), &read));
  CHECK(read == buckets);
}

TEST_CASE("Rows out of order and without a key are refused", "[kvstore][bbolt]") {
  const auto status = [](std::string_view first, std::string_view second) {
    return Measure([&](Writer& writer) -> absl::Status {
             KEELSON_RETURN_IF_ERROR(writer.BeginBucket("b"));
             KEELSON_RETURN_IF_ERROR(writer.Add(first, ""));
             KEELSON_RETURN_IF_ERROR(writer.Add(second, ""));
             return writer.EndBucket();
           })
        .status();
  };
  CHECK(absl::IsInvalidArgument(status("b", "a")));
  CHECK(absl::IsInvalidArgument(status("a", "a")));
  CHECK(absl::IsInvalidArgument(status("", "a")));
  CHECK(absl::IsInvalidArgument(status("a", std::string(kKeyBytesMax + 1, 'x'))));
  CHECK(absl::IsFailedPrecondition(
      Measure([](Writer& writer) { return writer.Add("a", ""); }).status()));
  CHECK(absl::IsFailedPrecondition(
      Measure([](Writer& writer) { return writer.BeginBucket("a"); }).status()));
}

TEST_CASE("Rows that change between the passes are noticed", "[kvstore][bbolt]") {
  const absl::StatusOr<Layout> layout = Measure([](Writer& writer) {
    return Fill({{"a", {}}}, writer);
  });
  KEELSON_REQUIRE_OK(layout);
  const Buckets more = {{"a", {{"k", std::string(9000, 'x')}}}};
  const auto discard = [](std::string_view) { return absl::OkStatus(); };
  CHECK(absl::IsInternal(Write(
      *layout, [&](Writer& writer) { return Fill(more, writer); }, discard)));
}

TEST_CASE("The other meta page counts when one is damaged", "[kvstore][bbolt]") {
  const Buckets buckets = {{"key", {{"a", "1"}}}};
  for (const size_t damaged : {size_t{0}, kPageBytes}) {
    std::string file = Written(buckets);
    file[damaged + kHeaderBytes + 20] ^= 1;
    Buckets read;
    KEELSON_REQUIRE_OK(ReadAll(file, &read));
    CHECK(read == buckets);
  }
}

TEST_CASE("Damaged files are refused by page", "[kvstore][bbolt]") {
  Buckets buckets;
  for (int i = 0; i < 1000; ++i) buckets["key"][absl::StrCat(1000 + i)] = std::string(20, 'v');
  const std::string good = Written(buckets);
  const uint64_t root = LoadLittle(good, kHeaderBytes + 16, 8);
  Buckets ignored;
  const auto read = [&](const std::string& file) { return ReadAll(file, &ignored); };

  SECTION("both metas damaged") {
    std::string file = good;
    file[kHeaderBytes] ^= 1;
    file[kPageBytes + kHeaderBytes] ^= 1;
    CHECK(absl::IsDataLoss(read(file)));
  }
  SECTION("cut") { CHECK(absl::IsDataLoss(read(good.substr(0, good.size() - 1)))); }
  SECTION("empty") { CHECK(absl::IsDataLoss(read(""))); }
  SECTION("a page with another number") {
    std::string file = good;
    file[root * kPageBytes] ^= 1;
    CHECK(absl::IsDataLoss(read(file)));
  }
  SECTION("a page of another kind") {
    std::string file = good;
    file[root * kPageBytes + 8] = kFreelist;
    CHECK(absl::IsDataLoss(read(file)));
  }
  SECTION("an element outside of its page") {
    std::string file = good;
    file[3 * kPageBytes + kHeaderBytes + 7] = 1;  // the position's highest byte
    CHECK(absl::IsDataLoss(read(file)));
  }
  SECTION("more elements than room") {
    std::string file = good;
    file[3 * kPageBytes + 11] = 0x7f;
    CHECK(absl::IsDataLoss(read(file)));
  }
  SECTION("a branch that leads back to itself") {
    std::string file = good;
    uint64_t branch = 3;
    while (file[branch * kPageBytes + 8] != kBranch) ++branch;
    file[branch * kPageBytes + kHeaderBytes + 8] = static_cast<char>(branch);
    CHECK(absl::IsDataLoss(read(file)));
  }
}

}  // namespace
}  // namespace keelson::kvstore::bbolt
