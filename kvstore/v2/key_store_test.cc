// The version 2 keys without a server. That the answers are etcd's is tests/interop/v2_diff_test's.
#include <catch2/catch.hpp>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kvstore/v2/key_store.h"
#include "kvstore/v2/tree.h"

namespace keelson::kvstore::v2 {
namespace {

constexpr int64_t kNow = int64_t{1'700'000'000} * 1'000'000'000;

V2Request Request(V2Request::Operation operation, const std::string& path,
                  const std::string& value = "") {
  V2Request request;
  request.set_operation(operation);
  request.set_path(path);
  request.set_value(value);
  request.set_time(kNow);
  return request;
}

V2Request Set(const std::string& path, const std::string& value = "v") {
  return Request(V2Request::SET, path, value);
}

V2Request DeleteAll(const std::string& path) {
  V2Request request = Request(V2Request::DELETE, path);
  request.set_recursive(true);
  return request;
}

std::string Text(const Outcome& outcome) {
  if (const Error* error = std::get_if<Error>(&outcome)) return ErrorJson(*error);
  return EventJson(std::get<Event>(outcome), false);
}

// Moves all rows of `from` into a store of its own, as a restart does.
std::unique_ptr<KeyStore> Reload(const std::map<std::string, std::string>& rows) {
  auto store = std::make_unique<KeyStore>();
  for (const auto& [row, value] : rows) REQUIRE(store->RestoreRow(row, value));
  return store;
}

void Save(KeyStore& store, std::map<std::string, std::string>& rows) {
  for (auto& [row, value] : store.TakeRows()) {
    if (value.has_value()) {
      rows[row] = *value;
    } else {
      rows.erase(row);
    }
  }
}

TEST_CASE("A path is cleaned and cannot climb above the root", "[kvstore][v2]") {
  CHECK(CleanPath("") == "/");
  CHECK(CleanPath("//a///b/") == "/a/b");
  CHECK(CleanPath("/a/./b/../c") == "/a/c");
  CHECK(CleanPath("/../../a") == "/a");
}

TEST_CASE("A watch hears of what it asked for and of nothing hidden", "[kvstore][v2]") {
  struct Row {
    std::string path;
    bool recursive;
    std::vector<std::string> changes;
    size_t events;
  };
  const auto row = GENERATE(values<Row>({
      {"/a", false, {"/a"}, 1},
      {"/a", false, {"/a/b"}, 0},
      {"/a", true, {"/a/b", "/ab", "/b"}, 1},
      {"/", true, {"/a", "/b/c"}, 2},
      {"/", true, {"/_a", "/b/_c", "/b/_c/d"}, 0},
      {"/b/_c", true, {"/b/_c/d"}, 1},
  }));
  KeyStore store;
  std::vector<std::string> lines;
  const auto watch =
      store.StartWatch({.path = row.path, .recursive = row.recursive, .stream = true},
                       [&lines](const std::string* line) { lines.push_back(*line); });
  REQUIRE(std::holds_alternative<KeyStore::Watch>(watch));
  for (const std::string& path : row.changes) (void)store.Apply(Set(path));
  CHECK(lines.size() == row.events);
}

TEST_CASE("A watch without stream ends with its first event", "[kvstore][v2]") {
  KeyStore store;
  int events = 0;
  (void)store.StartWatch({.path = "/a"}, [&events](const std::string*) { ++events; });
  CHECK(store.GetStatistics().watchers == 1);
  (void)store.Apply(Set("/a"));
  (void)store.Apply(Set("/a"));
  CHECK(events == 1);
  CHECK(store.GetStatistics().watchers == 0);
}

TEST_CASE("A watch that was ended, or whose store was replaced, hears no more", "[kvstore][v2]") {
  KeyStore store;
  int events = 0;
  int ends = 0;
  const auto count = [&](const std::string* line) { ++(line != nullptr ? events : ends); };
  const auto ended = store.StartWatch({.path = "/a", .stream = true}, count);
  store.EndWatch(std::get<KeyStore::Watch>(ended).id);
  (void)store.StartWatch({.path = "/a", .stream = true}, count);
  store.EndAllWatches();
  (void)store.Apply(Set("/a"));
  CHECK(events == 0);
  CHECK(ends == 1);
}

TEST_CASE("Those below a directory that goes hear of it", "[kvstore][v2]") {
  KeyStore store;
  (void)store.Apply(Set("/d/e/f"));
  std::vector<std::string> lines;
  (void)store.StartWatch({.path = "/d/e/f"},
                         [&lines](const std::string* line) { lines.push_back(*line); });
  (void)store.Apply(DeleteAll("/d"));
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find(R"("action":"delete","node":{"key":"/d")") != std::string::npos);
}

TEST_CASE("The last 1000 events can be asked for, older ones are refused", "[kvstore][v2]") {
  KeyStore store;
  for (size_t i = 0; i < KeyStore::kHistoryEvents + 5; ++i) (void)store.Apply(Set("/a"));
  const uint64_t oldest = Tree::kFirstIndex + 6;
  std::vector<std::string> lines;
  const auto keep = [&lines](const std::string* line) { lines.push_back(*line); };

  const auto in_time = store.StartWatch({.path = "/a", .since = oldest}, keep);
  CHECK(std::get<KeyStore::Watch>(in_time).id == 0);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find(absl::StrCat("\"modifiedIndex\":", oldest)) != std::string::npos);
  const auto too_late = store.StartWatch({.path = "/a", .since = oldest - 1}, keep);
  REQUIRE(std::holds_alternative<Error>(too_late));
  CHECK(std::get<Error>(too_late).code == ErrorCode::kEventIndexCleared);
  CHECK(std::get<Error>(too_late).cause ==
        absl::StrCat("the requested history has been cleared [", oldest, "/", oldest - 1, "]"));
}

TEST_CASE("Expired nodes go in the order of their times, with what is in them", "[kvstore][v2]") {
  KeyStore store;
  V2Request late = Set("/late");
  late.set_expiration(kNow + 20);
  V2Request early = Set("/early");
  early.set_directory(true);
  early.set_expiration(kNow + 10);
  (void)store.Apply(late);
  (void)store.Apply(early);
  (void)store.Apply(Set("/early/x"));
  CHECK(store.NextExpiration() == kNow + 10);
  std::vector<std::string> lines;
  (void)store.StartWatch({.path = "/", .recursive = true, .stream = true},
                         [&lines](const std::string* line) { lines.push_back(*line); });

  V2Request expire = Request(V2Request::EXPIRE, "");
  expire.set_time(kNow + 9);
  (void)store.Apply(expire);
  CHECK(lines.empty());
  expire.set_time(kNow + 20);
  (void)store.Apply(expire);

  REQUIRE(lines.size() == 2);
  CHECK(lines[0].find("\"key\":\"/early\"") != std::string::npos);
  CHECK(lines[1].find("\"key\":\"/late\"") != std::string::npos);
  CHECK(store.NextExpiration() == std::nullopt);
  CHECK(std::holds_alternative<Error>(store.Get("/early/x", false, kNow)));
}

TEST_CASE("Rows bring back the tree, its index and its history", "[kvstore][v2]") {
  KeyStore store;
  std::map<std::string, std::string> rows;
  const std::vector<V2Request> requests = {
      Set("/a/b", "1"),        Set(std::string("/a/\0\xff", 4), std::string("\xfe\0", 2)),
      Set("/a/b", "2"),        DeleteAll("/a/b"),
      Set("/z/y/x", ""),       DeleteAll("/z"),
      Set("/a!/q", "between"), Request(V2Request::CREATE_IN_ORDER, "/queue", "first")};
  for (const V2Request& request : requests) {
    (void)store.Apply(request);
    Save(store, rows);
    const std::unique_ptr<KeyStore> again = Reload(rows);
    CHECK(Text(again->Get("/", true, kNow)) == Text(store.Get("/", true, kNow)));
    CHECK(again->TakeRows().empty());
  }
  // Old events leave their rows.
  for (size_t i = 0; i < KeyStore::kHistoryEvents; ++i) (void)store.Apply(Set("/n"));
  Save(store, rows);
  CHECK(rows.size() < KeyStore::kHistoryEvents + 20);
  const std::unique_ptr<KeyStore> again = Reload(rows);
  std::string line;
  (void)again->StartWatch({.path = "/n", .since = 0}, [](const std::string*) {});
  const auto found =
      again->StartWatch({.path = "/n", .since = Tree::kFirstIndex + requests.size() + 1},
                        [&line](const std::string* text) { line = *text; });
  CHECK(std::holds_alternative<KeyStore::Watch>(found));
  CHECK(line.find("\"action\":\"set\"") != std::string::npos);
  // The next change goes on where the old store would have.
  CHECK(Text(again->Apply(Set("/next"))) == Text(store.Apply(Set("/next"))));
}

TEST_CASE("Rows that no store wrote are refused", "[kvstore][v2]") {
  V2Node file;
  file.set_value("v");
  const std::string node = file.SerializeAsString();
  KeyStore store;
  REQUIRE(store.RestoreRow("2n/file", node));
  for (const auto& [row, value] : std::vector<std::pair<std::string, std::string>>{
           {"", ""},
           {"2", ""},
           {"3n/a", node},
           {"2x", node},
           {"2i", ""},
           {"2i", "\x01\x01"},
           {"2n/file", node},        // twice
           {"2n/file/child", node},  // below a file
           {"2n/no/parent", node},
           {"2n/", node},
           {"2nrelative", node},
           {"2n/a//b", node},
           {"2n/bad", "\xff"},
           {"2e", ""},
           {std::string("2e\0\0\0\0\0\0\0\1", 10), "\xff"},
           {std::string("2e\0\0\0\0\0\0\0\1", 10), ""}}) {
    INFO(row);
    CHECK_FALSE(store.RestoreRow(row, value));
  }
}

TEST_CASE("What no client can name nobody hears of, and it survives a restart", "[kvstore][v2]") {
  const std::string secret("/_\0auth/users/root", 19);
  KeyStore store;
  std::vector<std::string> lines;
  const auto watch =
      store.StartWatch({.path = "/", .recursive = true, .stream = true},
                       [&lines](const std::string* line) { lines.push_back(*line); });
  REQUIRE(std::holds_alternative<KeyStore::Watch>(watch));
  const uint64_t first = std::get<KeyStore::Watch>(watch).index + 1;
  (void)store.Apply(Set(secret, "hash"));
  (void)store.Apply(Set("/a"));

  REQUIRE(lines.size() == 1);
  CHECK(lines[0].find("hash") == std::string::npos);
  // Nor does who asks for the past.
  std::string past;
  (void)store.StartWatch({.path = "/", .recursive = true, .since = first},
                         [&past](const std::string* line) { past = *line; });
  CHECK(past == lines[0]);
  CHECK(Text(store.Get("/", true, kNow)).find("hash") == std::string::npos);

  std::map<std::string, std::string> rows;
  Save(store, rows);
  CHECK(Text(Reload(rows)->Get(secret, false, kNow)).find("hash") != std::string::npos);
}

}  // namespace
}  // namespace keelson::kvstore::v2
