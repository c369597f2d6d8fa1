#include "container_runtime/state/state.h"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/testing/status_matchers.h"

namespace keelson::container {
namespace {

struct Folder {
  Folder() {
    const char* tmp = std::getenv("TEST_TMPDIR");
    std::string pattern = std::string(tmp == nullptr ? "/tmp" : tmp) + "/state-XXXXXX";
    path = ::mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string path;
};

ContainerState Example() {
  ContainerState state;
  state.id = "web";
  state.oci_version = "1.0.2";
  state.bundle = "/b \"quoted\"\n";
  state.rootfs = "/b/rootfs";
  state.pid = 77;
  state.start_time = 123456789012;
  state.created = "2020-01-02T03:04:05.000000006Z";
  state.annotations = {{"a", "b"}};
  state.cgroup.paths = {{"memory", "/web"}, {"unified", "/web"}};
  state.host.hierarchies = {
      {.name = "memory", .controllers = {"memory"}, .mount_point = "/sys/fs/cgroup/memory"},
      {.name = "unified",
       .unified = true,
       .controllers = {"cpu", "pids"},
       .mount_point = "/sys/fs/cgroup/unified"}};
  return state;
}

TEST_CASE("A state of an earlier version has no mounts of cgroups", "[container][state]") {
  ContainerState wanted = Example();
  std::string text = StateToJson(wanted);
  const size_t begin = text.find("\"cgroup_mounts\"");
  REQUIRE(begin != std::string::npos);
  text.erase(begin, text.find("\"cgroup_paths\"") - begin);
  wanted.host = {};

  KEELSON_ASSIGN_OR_FAIL(const ContainerState read, ParseState(text));

  CHECK(read == wanted);
}

TEST_CASE("A state is read back as it was written", "[container][state]") {
  KEELSON_ASSIGN_OR_FAIL(const ContainerState read, ParseState(StateToJson(Example())));
  CHECK(read == Example());
}

TEST_CASE("Damaged state is data loss", "[container][state]") {
  const std::string whole = StateToJson(Example());
  for (const std::string& text : {std::string(), std::string("{}"), std::string("[]"),
                                  whole.substr(0, whole.size() / 2), std::string("{\"id\":1}")}) {
    CHECK(ParseState(text).status().code() == absl::StatusCode::kDataLoss);
  }
}

TEST_CASE("Ids are single names", "[container][state]") {
  for (const char* id : {"a", "A-b_c.d+9", ".hidden", "..."}) KEELSON_REQUIRE_OK(ValidateId(id));
  for (const std::string& id :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("a b"),
        std::string("a\n"), std::string("\xc3\xa4"), std::string(1025, 'a')}) {
    CHECK(ValidateId(id).code() == absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("An id is claimed once, listed, and free after removal", "[container][state]") {
  const Folder folder;
  Store store(folder.path + "/made/below");

  CHECK(absl::IsNotFound(store.List().status()));
  KEELSON_REQUIRE_OK(store.Create("web"));
  CHECK(absl::IsAlreadyExists(store.Create("web")));
  CHECK(absl::IsNotFound(store.Load("web").status()));
  KEELSON_REQUIRE_OK(store.Save(Example()));
  KEELSON_ASSIGN_OR_FAIL(const ContainerState loaded, store.Load("web"));
  CHECK(loaded == Example());
  CHECK(store.List().value() == std::vector<std::string>{"web"});
  KEELSON_REQUIRE_OK(store.WriteFile("web", "config.json", "{}"));
  CHECK(store.HasFile("web", "config.json"));
  KEELSON_REQUIRE_OK(store.Remove("web"));
  KEELSON_REQUIRE_OK(store.Remove("web"));
  CHECK_FALSE(store.Exists("web"));
  KEELSON_REQUIRE_OK(store.Create("web"));
}

TEST_CASE("A file is replaced as a whole and leaves nothing beside it", "[container][state]") {
  const Folder folder;
  const std::string path = folder.path + "/pid";
  KEELSON_REQUIRE_OK(ReplaceFile(path, "first, and long", 0644));
  KEELSON_REQUIRE_OK(ReplaceFile(path, "second", 0644));

  CHECK(ReadHostFile(path).value() == "second");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);
  CHECK(absl::IsNotFound(ReplaceFile(folder.path + "/no/pid", "x", 0644)));
  CHECK(ReadHostFile(path, 3).status().code() == absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace keelson::container
