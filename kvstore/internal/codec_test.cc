// Rows of the engine as bytes: round trips, order, and bytes that no encoder makes.
#include <catch2/catch.hpp>

#include <algorithm>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kvstore/internal/codec.h"

namespace keelson::kvstore::internal {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();

std::string DataRow(std::string_view key, Revision revision) {
  std::string row;
  EncodeDataRow(key, revision, &row);
  return row;
}

TEST_CASE("Data rows order by key, then newest first", "[kvstore][codec]") {
  const std::string zero("\0", 1);
  const std::vector<std::string> keys = {zero, zero + zero, zero + "\x01",    zero + "\xff",
                                         "a",  "a" + zero,  "a" + zero + "b", "a\x01",
                                         "aa", "b",         "\xff",           "\xff\xff"};
  std::vector<std::string> rows;
  for (const std::string& key : keys) {
    for (const Revision revision : {Revision{kMax, 0}, Revision{256, 1}, Revision{256, 0},
                                    Revision{255, 7}, Revision{1, 0}}) {
      rows.push_back(DataRow(key, revision));
    }
  }
  CHECK(std::is_sorted(rows.begin(), rows.end()));
  CHECK(std::adjacent_find(rows.begin(), rows.end()) == rows.end());
}

TEST_CASE("Random keys keep their order and come back", "[kvstore][codec]") {
  std::mt19937 random(7);
  const auto key = [&] {
    std::string out(1 + random() % 6, '\0');
    for (char& c : out) c = "\x00\x01\x02\xfe\xff"[random() % 5];
    return out;
  };
  for (int n = 0; n < 20'000; ++n) {
    const std::string a = key();
    const std::string b = key();
    const Revision revision{static_cast<int64_t>(random()), static_cast<uint32_t>(random())};
    const std::string row = DataRow(a, revision);
    CHECK((a < b) == (row < DataRow(b, revision)));
    std::string_view prefix;
    Revision decoded;
    std::string scratch;
    std::string_view user_key;
    REQUIRE(DecodeDataRow(row, &prefix, &decoded));
    CHECK(decoded == revision);
    REQUIRE(DecodeRowPrefix(prefix, &scratch, &user_key));
    REQUIRE(user_key == a);
    std::string past(prefix);
    AdvancePastPrefix(&past);
    CHECK(past > row);
    if (b > a) CHECK(past < DataRow(b, revision));
  }
}

TEST_CASE("Rows that no encoder makes are refused", "[kvstore][codec]") {
  std::string_view prefix;
  Revision revision;
  std::string scratch;
  std::string_view key;
  const std::string row = DataRow("ab", {5, 1});
  for (size_t size = 0; size < row.size(); ++size) {
    CHECK_FALSE(DecodeDataRow(std::string_view(row).substr(0, size), &prefix, &revision));
  }
  CHECK_FALSE(DecodeDataRow(std::string("a\0\x01", 3) + std::string(12, '\0'), &prefix, &revision));
  for (const std::string& bad :
       {std::string("a"), std::string("a\x01"), std::string("a\0\x02", 3),
        std::string("a\0b\0\x01", 5), std::string("a\0", 2), std::string("a\0\x01\0\x01", 5)}) {
    CHECK_FALSE(DecodeRowPrefix(bad, &scratch, &key));
  }
}

TEST_CASE("Values come back as they were", "[kvstore][codec]") {
  const DataValue value =
      GENERATE(DataValue{false, 1, 1, 0, ""}, DataValue{false, kMax, kMax, kMin, "v"},
               DataValue{false, 300, 2, -1, std::string_view("\0x", 2)},
               DataValue{.deleted = true, .value = {}});
  const std::string bytes = std::string(DataHeader(value).view()) + std::string(value.value);
  DataValue decoded;
  REQUIRE(DecodeDataValue(bytes, &decoded));
  CHECK(decoded.deleted == value.deleted);
  CHECK(decoded.create_revision == value.create_revision);
  CHECK(decoded.version == value.version);
  CHECK(decoded.lease == value.lease);
  CHECK(decoded.value == value.value);

  CHECK_FALSE(DecodeDataValue("", &decoded));
  CHECK_FALSE(DecodeDataValue("\x02", &decoded));
  CHECK_FALSE(DecodeDataValue("\x01x", &decoded));
  CHECK_FALSE(DecodeDataValue(std::string("\0\x01", 2), &decoded));
  CHECK_FALSE(DecodeDataValue(std::string("\0\x81\0\x01\0", 5), &decoded));  // a long zero
}

TEST_CASE("Log rows order by revision and come back", "[kvstore][codec]") {
  std::string last;
  for (const Revision revision : {Revision{0, 0}, Revision{1, 0}, Revision{1, 1}, Revision{256, 0},
                                  Revision{kMax, 0xffffffff}}) {
    std::string row;
    EncodeLogRow(revision, &row);
    CHECK(last < row);
    Revision decoded;
    REQUIRE(DecodeLogRow(row, &decoded));
    CHECK(decoded == revision);
    CHECK_FALSE(DecodeLogRow(row + "x", &decoded));
    last = row;
  }
  const LogHeader header(true, {kMax, 0xffffffff});
  LogValue value;
  const std::string bytes = std::string(header.view()) + "key";
  REQUIRE(DecodeLogValue(bytes, &value));
  CHECK(value.deleted);
  CHECK(value.previous == Revision{kMax, 0xffffffff});
  CHECK(value.user_key == "key");
  CHECK_FALSE(DecodeLogValue(header.view(), &value));
  CHECK_FALSE(DecodeLogValue("\x01", &value));
}

TEST_CASE("The state row comes back, and only whole", "[kvstore][codec]") {
  StateValue state;
  state.applied.index = 9;
  state.applied.term = 300;
  state.applied.conf_state = {{1, 2}, {3}, {1, ~uint64_t{0}}, {4}, true};
  state.revision = kMax;
  state.compacted = 12;
  const std::string bytes = EncodeStateValue(state);
  StateValue decoded;
  REQUIRE(DecodeStateValue(bytes, &decoded));
  CHECK(decoded == state);
  for (size_t size = 0; size < bytes.size(); ++size) {
    StateValue cut;
    CHECK_FALSE(DecodeStateValue(std::string_view(bytes).substr(0, size), &cut));
  }
  StateValue longer;
  CHECK_FALSE(DecodeStateValue(bytes + '\0', &longer));
  state.compacted = state.revision = 0;
  CHECK_FALSE(DecodeStateValue(EncodeStateValue(state), &longer));
}

TEST_CASE("Leases order by signed id", "[kvstore][codec]") {
  std::string last;
  for (const int64_t id : {kMin, int64_t{-1}, int64_t{0}, int64_t{1}, kMax}) {
    CHECK(last < LeaseRow(id));
    last = LeaseRow(id);
    int64_t decoded = 0;
    REQUIRE(DecodeLeaseRow(last, &decoded));
    CHECK(decoded == id);
    std::string row;
    EncodeAttachmentRow(id, "key", &row);
    CHECK(row.substr(0, row.size() - 3) == AttachmentRows(id));
    CHECK(row < PrefixEnd(AttachmentRows(id)));
  }
  CHECK(PrefixEnd("a\xff\xff") == "b");
  CHECK(PrefixEnd("\xff") == "");
}

}  // namespace
}  // namespace keelson::kvstore::internal
