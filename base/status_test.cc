#include "base/status.h"

#include <catch2/catch.hpp>

#include <cerrno>
#include <memory>
#include <string>

#include "base/testing/status_matchers.h"

namespace keelson {
namespace {

absl::Status ReturnIfError(const absl::Status& status, bool* went_on) {
  KEELSON_RETURN_IF_ERROR(status);
  *went_on = true;
  return absl::OkStatus();
}

absl::StatusOr<int> AddOne(absl::StatusOr<int> value) {
  KEELSON_ASSIGN_OR_RETURN(const int number, value);
  return number + 1;
}

absl::StatusOr<int> Unwrap(absl::StatusOr<std::unique_ptr<int>> value) {
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<int> number, std::move(value));
  return *number;
}

absl::StatusOr<int> Evaluate(int* calls) {
  ++*calls;
  return absl::AbortedError("no");
}

TEST_CASE("Annotate puts the context first and keeps the code", "[base][status]") {
  const absl::Status inner = absl::NotFoundError("open 'x'");

  const absl::Status outer = Annotate(Annotate(inner, "read config"), "start");

  CHECK(outer.code() == absl::StatusCode::kNotFound);
  CHECK(outer.message() == "start: read config: open 'x'");
  CHECK(Annotate(absl::OkStatus(), "start").ok());
}

TEST_CASE("An errno becomes a code that tells the caller what to do", "[base][status]") {
  struct Row {
    int error;
    absl::StatusCode code;
  };
  const auto row = GENERATE(values<Row>({
      {ENOENT, absl::StatusCode::kNotFound},
      {EEXIST, absl::StatusCode::kAlreadyExists},
      {EACCES, absl::StatusCode::kPermissionDenied},
      {ENOSPC, absl::StatusCode::kResourceExhausted},
      {EDQUOT, absl::StatusCode::kResourceExhausted},
      {ENOTEMPTY, absl::StatusCode::kFailedPrecondition},
      {EIO, absl::StatusCode::kUnknown},
  }));

  const absl::Status status = ErrnoError(row.error, "pwrite 'f' at 7");

  INFO(row.error);
  CHECK(status.code() == row.code);
  CHECK(status.message().substr(0, 17) == "pwrite 'f' at 7: ");
  CHECK(status.message().size() > 17);
}

TEST_CASE("RETURN_IF_ERROR leaves the function on an error only", "[base][status]") {
  bool went_on = false;

  KEELSON_CHECK_ERROR(ReturnIfError(absl::DataLossError("bad"), &went_on),
                      absl::StatusCode::kDataLoss, "bad");
  CHECK_FALSE(went_on);

  KEELSON_REQUIRE_OK(ReturnIfError(absl::OkStatus(), &went_on));
  CHECK(went_on);
}

TEST_CASE("ASSIGN_OR_RETURN gives the value or returns the status", "[base][status]") {
  KEELSON_ASSIGN_OR_FAIL(const int sum, AddOne(41));
  CHECK(sum == 42);
  KEELSON_CHECK_ERROR(AddOne(absl::OutOfRangeError("far")), absl::StatusCode::kOutOfRange, "far");
}

TEST_CASE("ASSIGN_OR_RETURN moves values that cannot be copied", "[base][status]") {
  KEELSON_ASSIGN_OR_FAIL(const int value, Unwrap(std::make_unique<int>(7)));
  CHECK(value == 7);
}

TEST_CASE("The status macros evaluate their argument once", "[base][status]") {
  int calls = 0;
  const auto run = [&calls]() -> absl::Status {
    KEELSON_RETURN_IF_ERROR(Evaluate(&calls));
    return absl::OkStatus();
  };

  CHECK(run().code() == absl::StatusCode::kAborted);
  CHECK(calls == 1);
}

}  // namespace
}  // namespace keelson
