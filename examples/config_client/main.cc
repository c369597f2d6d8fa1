// A program that keeps its settings in a store: it follows their changes, and counts its starts
// by a transaction that no other program can come between.
//
//   config_client --endpoints=127.0.0.1:2379 --prefix=config/app/
//   etcdctl put config/app/limit 5
#include <CLI/CLI.hpp>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/signals.h"
#include "base/status.h"
#include "kvstore/client/client.h"
#include "kvstore/client/mirror.h"
#include "kvstore/client/txn.h"

namespace {

using namespace keelson::kvstore;  // NOLINT: an example

// Adds one to the number at `key`. Whoever is overtaken by another program reads again.
absl::StatusOr<int64_t> Increment(Client& client, const std::string& key) {
  while (true) {
    KEELSON_ASSIGN_OR_RETURN(const auto found, client.Range(RangeOf(key)));
    int64_t number = 0;
    int64_t revision = 0;  // of a key that is not there
    if (!found.kvs().empty()) {
      revision = found.kvs(0).mod_revision();
      if (!absl::SimpleAtoi(found.kvs(0).value(), &number)) {
        return absl::FailedPreconditionError(absl::StrCat("'", key, "' holds no number"));
      }
    }
    const std::string next = absl::StrCat(number + 1);
    const auto done =
        client.Txn(TxnBuilder().If(ModRevisionIs(key, revision)).Then(PutOf(key, next)).Build());
    // Here a second count would do no harm; where it would, PerhapsDone asks for another look.
    if (!done.ok()) return done.status();
    if (done->succeeded()) return number + 1;
  }
}

void Print(const RangeMirror::Update& update) {
  for (const mvccpb::Event& event : update.events) {
    if (event.type() == mvccpb::Event::DELETE) {
      std::cout << event.kv().key() << " is gone" << std::endl;
    } else {
      std::cout << event.kv().key() << " = " << event.kv().value() << std::endl;
    }
  }
}

absl::Status Run(const std::vector<std::string>& endpoints, const std::string& prefix) {
  keelson::SignalWaiter signals;  // Before there are threads.
  KEELSON_ASSIGN_OR_RETURN(const auto client, Connect({.endpoints = endpoints}));
  KEELSON_ASSIGN_OR_RETURN(const int64_t starts, Increment(*client, prefix + "starts"));
  std::cout << "start " << starts << std::endl;
  KEELSON_ASSIGN_OR_RETURN(const auto settings,
                           RangeMirror::Start(*client, prefix, {.on_update = Print}));
  signals.Wait();
  std::cout << settings->Copy().size() << " settings" << std::endl;
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> endpoints = {"127.0.0.1:2379"};
  std::string prefix = "config/app/";
  CLI::App app("Follows settings in a store that speaks etcd's protocol.");
  app.add_option("--endpoints", endpoints, "Members of the store")->delimiter(',');
  app.add_option("--prefix", prefix, "What the keys begin with");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = Run(endpoints, prefix);
  if (status.ok()) return 0;
  std::cerr << status.message() << std::endl;
  return 1;
}
