// etcd's log, made by hand: what is read of it, and what is refused.
#include "kvstore/migrate/etcd_wal.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "base/crc32c.h"
#include "base/testing/status_matchers.h"
#include "kvstore/bbolt/format.h"
#include "kvstore/migrate/etcd_replay.h"

namespace keelson::kvstore {
namespace {

constexpr int64_t kEntryType = 2;
constexpr int64_t kStateType = 3;
constexpr int64_t kCrcType = 4;

// A segment as etcd writes it.
class Segment {
 public:
  explicit Segment(uint32_t crc = 0) : crc_(crc) { Record(kCrcType, ""); }

  Segment& Entry(uint64_t index, uint64_t term = 1, const std::string& data = "") {
    EtcdEntry entry;
    entry.set_index(index);
    entry.set_term(term);
    entry.set_data(data);
    return Record(kEntryType, entry.SerializeAsString());
  }
  Segment& Commit(uint64_t index) {
    EtcdHardState state;
    state.set_commit(index);
    return Record(kStateType, state.SerializeAsString());
  }
  [[nodiscard]] std::string Bytes() const { return bytes_ + std::string(1000, '\0'); }
  [[nodiscard]] uint32_t crc() const { return crc_; }
  // Where the last record begins.
  [[nodiscard]] size_t last() const { return last_; }

 private:
  Segment& Record(int64_t type, const std::string& data) {
    EtcdLogRecord record;
    record.set_type(type);
    record.set_data(data);
    if (type != kCrcType) crc_ = ExtendCrc32c(crc_, data);
    record.set_crc(crc_);
    const std::string bytes = record.SerializeAsString();
    const uint64_t padding = (8 - bytes.size() % 8) % 8;
    const uint64_t mark = padding == 0 ? 0 : (0x80 | padding) << 56;
    last_ = bytes_.size();
    bbolt::AppendLittle(bytes.size() | mark, 8, &bytes_);
    bytes_ += bytes;
    bytes_.append(padding, '\0');
    return *this;
  }

  std::string bytes_;
  uint32_t crc_;
  size_t last_ = 0;
};

std::vector<uint64_t> Indices(const EtcdWalReader& reader) {
  const auto committed = reader.Committed();
  KEELSON_REQUIRE_OK(committed);
  std::vector<uint64_t> indices;
  for (const EtcdEntry& entry : *committed) indices.push_back(entry.index());
  return indices;
}

TEST_CASE("committed entries behind the database are read", "[kvstore][migrate]") {
  Segment first;
  first.Entry(1).Entry(2).Commit(1);
  Segment second(first.crc());
  second.Entry(3).Entry(4).Commit(3);
  EtcdWalReader reader(1);
  KEELSON_REQUIRE_OK(reader.Read("1", first.Bytes(), false));
  KEELSON_REQUIRE_OK(reader.Read("2", second.Bytes(), true));
  CHECK(Indices(reader) == std::vector<uint64_t>{2, 3});
  CHECK(reader.Uncertain() == 1);
}

TEST_CASE("a later leader's entries replace those of their indices", "[kvstore][migrate]") {
  Segment segment;
  segment.Entry(1).Entry(2, 1).Entry(3, 1).Entry(2, 2).Commit(2);
  EtcdWalReader reader(0);
  KEELSON_REQUIRE_OK(reader.Read("1", segment.Bytes(), true));
  KEELSON_ASSIGN_OR_FAIL(const std::vector<EtcdEntry> committed, reader.Committed());
  REQUIRE(committed.size() == 2);
  CHECK(committed[1].term() == 2);
  CHECK(reader.Uncertain() == 0);
}

TEST_CASE("a gap between the database and the log is refused", "[kvstore][migrate]") {
  Segment segment;
  segment.Entry(5).Entry(6).Commit(6);
  EtcdWalReader reader(3);
  KEELSON_REQUIRE_OK(reader.Read("1", segment.Bytes(), true));
  KEELSON_CHECK_ERROR(reader.Committed(), absl::StatusCode::kDataLoss, "take a snapshot");
  // What was committed and is not there is a loss.
  Segment cut;
  cut.Entry(1).Commit(9);
  EtcdWalReader lost(0);
  KEELSON_REQUIRE_OK(lost.Read("1", cut.Bytes(), true));
  KEELSON_CHECK_ERROR(lost.Committed(), absl::StatusCode::kDataLoss, "ends at 1");
}

TEST_CASE("a torn end is an end, a flipped bit is damage", "[kvstore][migrate]") {
  Segment segment;
  segment.Entry(1, 1, std::string(2000, 'x')).Commit(1).Entry(2, 1, std::string(2000, 'y'));
  const std::string good = segment.Bytes();
  std::string torn = good;
  const size_t sector = (segment.last() / 512 + 2) * 512;
  torn.replace(sector, 512, std::string(512, '\0'));
  EtcdWalReader reader(0);
  KEELSON_REQUIRE_OK(reader.Read("1", torn, true));
  CHECK(Indices(reader) == std::vector<uint64_t>{1});

  std::string flipped = good;
  flipped[segment.last() + 100] ^= 1;
  EtcdWalReader damaged(0);
  KEELSON_CHECK_ERROR(damaged.Read("1.wal", flipped, true), absl::StatusCode::kDataLoss,
                      "'1.wal' at byte");
  // Only the newest segment may end early.
  EtcdWalReader middle(0);
  KEELSON_CHECK_ERROR(middle.Read("1", torn, false), absl::StatusCode::kDataLoss, "damaged");
}

TEST_CASE("entries become commands, or are none, or are refused", "[kvstore][migrate]") {
  EtcdRequest request;
  request.mutable_put()->set_key("a");
  request.mutable_header()->set_username("alice");
  EtcdEntry entry;
  entry.set_data(request.SerializeAsString());
  KEELSON_ASSIGN_OR_FAIL(const auto put, ToCommand(entry));
  REQUIRE(put.has_value());
  CHECK(put->put().key() == "a");
  CHECK(put->origin().user() == "alice");
  CHECK_FALSE(put->origin().internal());

  entry.set_data("");
  KEELSON_ASSIGN_OR_FAIL(const auto nothing, ToCommand(entry));
  CHECK_FALSE(nothing.has_value());

  // A member's name, as version 2 of the API has it: no message of version 3.
  EtcdV2Request v2;
  v2.set_id(5);
  v2.set_method("PUT");
  v2.set_path("/0/members/8e9e05c52164694d/attributes");
  v2.set_val("{\"name\":\"default\"}");
  entry.set_data(v2.SerializeAsString());
  KEELSON_ASSIGN_OR_FAIL(const auto attributes, ToCommand(entry));
  CHECK_FALSE(attributes.has_value());

  EtcdRequest user;
  user.set_auth_user_add("x");
  entry.set_data(user.SerializeAsString());
  KEELSON_CHECK_ERROR(ToCommand(entry), absl::StatusCode::kUnimplemented, "take a snapshot");
  entry.set_data("\xff\xff\xff");
  KEELSON_CHECK_ERROR(ToCommand(entry), absl::StatusCode::kDataLoss, "cannot be read");
}

}  // namespace
}  // namespace keelson::kvstore
