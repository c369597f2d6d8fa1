#include "container_runtime/runtime/failure.h"

#include <catch2/catch.hpp>
#include <cerrno>

#include "base/status.h"

namespace keelson::container {
namespace {

TEST_CASE("What a step kept is told exactly", "[container][failure]") {
  const absl::Status status =
      WithFailure(absl::PermissionDeniedError("mounts[1]: fsmount: operation not permitted"),
                  {.phase = "new-mount", .syscall = "fsmount", .error = EPERM, .object = "/dev"});

  const Failure failure = DescribeFailure(status, "create");
  CHECK(failure.code == "PERMISSION_DENIED");
  CHECK(failure.phase == "new-mount");
  CHECK(failure.syscall == "fsmount");
  CHECK(failure.error == EPERM);
  CHECK(failure.object == "/dev");
  CHECK_FALSE(failure.hint.empty());
}

TEST_CASE("What was not kept is read from the message", "[container][failure]") {
  struct Row {
    absl::Status status;
    int error;
    std::string object;
  };
  const Row row = GENERATE(values<Row>({
      {ErrnoError(ENOENT, "open '/a b'"), ENOENT, "/a b"},
      {absl::NotFoundError("rootfs '/x': open_tree: no such file or directory"), ENOENT, "/x"},
      {absl::InvalidArgumentError("process.cwd: Cwd must be an absolute path"), 0, "process.cwd"},
      {absl::InternalError("something that ends"), 0, ""},
      {absl::InternalError("'unclosed"), 0, ""},
      {absl::InternalError(""), 0, ""},
  }));

  const Failure failure = DescribeFailure(row.status, "create");
  CHECK(failure.phase == "create");
  CHECK(failure.error == row.error);
  CHECK(failure.object == row.object);
  CHECK(failure.syscall.empty());
}

}  // namespace
}  // namespace keelson::container
