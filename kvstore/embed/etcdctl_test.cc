// Debian's etcdctl as the judge of locks: what it holds is held for us, and the reverse.
#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/testing/status_matchers.h"
#include "kvstore/client/client.h"
#include "kvstore/client/lock.h"
#include "kvstore/client/session.h"
#include "kvstore/embed/embed.h"

namespace keelson::kvstore {
namespace {

constexpr absl::Duration kLong = absl::Seconds(60);

// A command with its output.
class Command {
 public:
  explicit Command(const std::string& line) : pipe_(::popen(line.c_str(), "r")) {
    REQUIRE(pipe_ != nullptr);
  }
  ~Command() {
    if (pipe_ != nullptr) (void)::pclose(pipe_);
  }
  // Blocks until there is one.
  std::string ReadLine() {
    std::array<char, 256> line{};
    if (std::fgets(line.data(), line.size(), pipe_) == nullptr) return "(end)";
    std::string text = line.data();
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }
  int Wait() { return ::pclose(std::exchange(pipe_, nullptr)); }

 private:
  std::FILE* pipe_;
};

bool HaveEtcdctl() {
  if (Command("command -v etcdctl").ReadLine() != "(end)") return true;
  std::cout << "SKIPPED ALL: 'etcdctl' is missing; install it with: apt-get install etcd-client"
            << std::endl;
  return false;
}

size_t Standing(Client& client) {
  const auto keys = client.Range(RangeOfPrefix("locks/x/"));
  KEELSON_REQUIRE_OK(keys);
  return static_cast<size_t>(keys->kvs_size());
}

}  // namespace

TEST_CASE("etcdctl's lock excludes ours, and ours etcdctl's", "[embed][lock][interop]") {
  if (!HaveEtcdctl()) return;
  auto store = EmbeddedStore::Start({.listen_client_urls = {"http://127.0.0.1:0"}});
  KEELSON_REQUIRE_OK(store);
  auto client = (*store)->NewClient();
  KEELSON_REQUIRE_OK(client);
  auto session = Session::Create(**client, {});
  KEELSON_REQUIRE_OK(session);
  DistributedLock lock(**session, "locks/x");
  const std::string etcdctl =
      absl::StrCat("ETCDCTL_API=3 etcdctl --endpoints=", (*store)->client_addresses()[0]);

  SECTION("ours first") {
    KEELSON_REQUIRE_OK(lock.Lock());
    Command waiter(etcdctl + " lock locks/x echo mine");
    while (Standing(**client) < 2) absl::SleepFor(absl::Milliseconds(10));
    KEELSON_REQUIRE_OK((*client)->Put(PutOf("locks-are-ours", "still")));
    KEELSON_REQUIRE_OK(lock.Unlock());
    CHECK(waiter.ReadLine() == "mine");
    CHECK(waiter.Wait() == 0);
  }
  SECTION("etcdctl's first") {
    // It holds the lock until its command ends, and that when the file goes.
    Command holder(etcdctl + " lock locks/x -- sh -c 'echo mine; " + etcdctl +
                   " watch go -w fields | head -1'");
    REQUIRE(holder.ReadLine() == "mine");
    CHECK(absl::IsAborted(lock.TryLock()));
    CHECK(Standing(**client) == 1);
    CHECK(absl::IsDeadlineExceeded(lock.Lock(absl::Milliseconds(200))));
    // Its command may not watch yet.
    std::string first = "(none)";
    std::thread reader([&] { first = holder.ReadLine(); });
    while (Standing(**client) == 1) {
      KEELSON_REQUIRE_OK((*client)->Put(PutOf("go", "now")));
      absl::SleepFor(absl::Milliseconds(50));
    }
    reader.join();
    KEELSON_REQUIRE_OK(lock.Lock(kLong));
    KEELSON_REQUIRE_OK(lock.Unlock());
  }
}

}  // namespace keelson::kvstore
