// Several of these run, one works: the leader adds lines to a log in the store, and another takes
// over when it goes. It shares the election with `etcdctl elect`.
//
//   leader_worker --name=a & leader_worker --name=b &
#include <CLI/CLI.hpp>
#include <atomic>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/signals.h"
#include "base/status.h"
#include "kvstore/client/client.h"
#include "kvstore/client/election.h"
#include "kvstore/client/session.h"
#include "kvstore/client/txn.h"

namespace {

using namespace keelson::kvstore;  // NOLINT: an example

constexpr absl::Duration kTurn = absl::Milliseconds(200);

struct Flags {
  std::vector<std::string> endpoints = {"127.0.0.1:2379"};
  std::string name = "worker";
  std::string election = "leaders/worker";
  int64_t ttl_seconds = 5;
};

// Works until it does not lead any more. Each write is done only while it does: a leader that was
// stopped for longer than its lease cannot write over its successor.
absl::Status Work(Client& client, const Election& election, const std::string& name,
                  const std::atomic<bool>& stop) {
  for (int turn = 1; !stop; ++turn) {
    KEELSON_ASSIGN_OR_RETURN(const auto done,
                             client.Txn(TxnBuilder()
                                            .If(election.IsLeader())
                                            .Then(PutOf("work/last", absl::StrCat(name, " ", turn)))
                                            .Build()));
    if (!done.succeeded()) return absl::FailedPreconditionError("somebody else leads");
    if (turn == 1) std::cout << name << " works" << std::endl;
    absl::SleepFor(kTurn);
  }
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags, const std::atomic<bool>& stop) {
  KEELSON_ASSIGN_OR_RETURN(const auto client, Connect({.endpoints = flags.endpoints}));
  while (!stop) {
    KEELSON_ASSIGN_OR_RETURN(
        const auto session,
        Session::Create(*client, {.ttl = absl::Seconds(flags.ttl_seconds),
                                  .on_lost = [](const absl::Status& why) {
                                    std::cout << "lost the lease: " << why.message() << std::endl;
                                  }}));
    Election election(*session, flags.election);
    const absl::Status led = election.Campaign(flags.name, absl::Seconds(1));
    if (absl::IsDeadlineExceeded(led)) continue;  // Somebody else leads: look whether to stop.
    absl::Status status = led;
    if (status.ok()) status = Work(*client, election, flags.name, stop);
    if (!status.ok()) {
      std::cout << flags.name << " stopped: " << status.message() << std::endl;
      absl::SleepFor(kTurn);
      continue;
    }
    (void)election.Resign();  // The session's end does the same, a moment later.
  }
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Works while it leads.");
  app.add_option("--endpoints", flags.endpoints, "Members of the store")->delimiter(',');
  app.add_option("--name", flags.name, "What it proclaims");
  app.add_option("--election", flags.election, "Name of the election");
  app.add_option("--ttl", flags.ttl_seconds, "Seconds after which a dead leader is replaced");
  CLI11_PARSE(app, argc, argv);
  keelson::SignalWaiter signals;  // Before there are threads.
  std::atomic<bool> stop{false};
  absl::Status status;
  std::thread worker([&] {
    status = Run(flags, stop);
    signals.Wake();
  });
  signals.Wait();
  stop = true;
  worker.join();
  if (status.ok()) return 0;
  std::cerr << status.message() << std::endl;
  return 1;
}
