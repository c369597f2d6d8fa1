#include "base/check.h"

#include <catch2/catch.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <string>

#include "base/status.h"

namespace keelson {
namespace {

struct Death {
  int signal = 0;  // 0: the child ended by itself
  std::string text;
};

// Runs `body` in a child and says how it ended and what it wrote to standard error.
Death RunInChild(const std::function<void()>& body) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    (void)::signal(SIGABRT, SIG_DFL);  // Catch2 has a handler of its own.
    (void)::dup2(ends[1], STDERR_FILENO);
    (void)::close(ends[0]);
    body();
    ::_exit(0);
  }
  (void)::close(ends[1]);
  Death death;
  char buffer[512];
  ssize_t got = 0;
  while ((got = ::read(ends[0], buffer, sizeof buffer)) > 0) {
    death.text.append(buffer, static_cast<size_t>(got));
  }
  (void)::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  if (WIFSIGNALED(status)) death.signal = WTERMSIG(status);
  return death;
}

TEST_CASE("A failed check aborts and prints place, condition and values", "[base][check]") {
  const int applied = 7;
  const int commit = 5;

  const Death death = RunInChild(
      [&] { KEELSON_CHECK(applied <= commit) << "applied=" << applied << " commit=" << commit; });

  CHECK(death.signal == SIGABRT);
  CHECK(death.text.find("base/check_test.cc:") != std::string::npos);
  CHECK(death.text.find("check failed: applied <= commit applied=7 commit=5\n") !=
        std::string::npos);
}

TEST_CASE("A check that holds prints nothing and does not evaluate its values", "[base][check]") {
  int evaluated = 0;
  const auto value = [&evaluated] { return ++evaluated; };

  KEELSON_CHECK(1 + 1 == 2) << value();

  CHECK(evaluated == 0);
}

TEST_CASE("A check binds to no else branch but its own", "[base][check]") {
  bool reached = false;
  const bool outer = false;

  if (outer)
    KEELSON_CHECK(false) << "not reached";
  else
    reached = true;

  CHECK(reached);
}

TEST_CASE("CHECK_OK aborts with the text of the status", "[base][check]") {
  KEELSON_CHECK_OK(absl::OkStatus());

  const Death death = RunInChild([] { KEELSON_CHECK_OK(absl::DataLossError("sector 9")); });

  CHECK(death.signal == SIGABRT);
  CHECK(death.text.find("DATA_LOSS: sector 9") != std::string::npos);
}

}  // namespace
}  // namespace keelson
