// A store inside a program: a visitor book on a folder, which etcdctl may look into meanwhile.
//
//   embedded_store --directory=/tmp/book --listen=http://127.0.0.1:0 ann bob
//   embedded_store --directory=/tmp/book cid
#include <CLI/CLI.hpp>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/logging.h"
#include "base/signals.h"
#include "base/status.h"
#include "kvstore/client/client.h"
#include "kvstore/client/txn.h"
#include "kvstore/embed/embed.h"

namespace {

using namespace keelson::kvstore;  // NOLINT: an example

struct Flags {
  std::string directory;
  std::vector<std::string> listen;
  std::vector<std::string> names;
};

absl::Status Sign(Client& client, const std::string& name) {
  // Who is in the book already keeps the place.
  KEELSON_ASSIGN_OR_RETURN(
      const auto signed_in,
      client.Txn(
          TxnBuilder().If(Missing("book/" + name)).Then(PutOf("book/" + name, "here")).Build()));
  std::cout << name << (signed_in.succeeded() ? " signs" : " is here already") << std::endl;
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  keelson::SignalWaiter signals;  // Before there are threads.
  KEELSON_ASSIGN_OR_RETURN(
      const auto store,
      EmbeddedStore::Start({.directory = flags.directory, .listen_client_urls = flags.listen}));
  KEELSON_ASSIGN_OR_RETURN(const auto client, store->NewClient());
  for (const std::string& name : flags.names) KEELSON_RETURN_IF_ERROR(Sign(*client, name));
  etcdserverpb::RangeRequest everybody = RangeOfPrefix("book/");
  everybody.set_sort_target(etcdserverpb::RangeRequest::CREATE);
  KEELSON_ASSIGN_OR_RETURN(const auto book, client->Range(everybody));
  for (const mvccpb::KeyValue& entry : book.kvs()) std::cout << entry.key() << std::endl;
  for (const std::string& address : store->client_addresses()) {
    std::cout << "serving " << address << std::endl;
  }
  if (!flags.listen.empty()) signals.Wait();
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Keeps a visitor book in a store of its own.");
  app.add_option("--directory", flags.directory, "Where the book is; in memory without");
  app.add_option("--listen", flags.listen, "Also serve clients there, until a signal")
      ->allow_extra_args(false);  // What follows are names.
  app.add_option("names", flags.names, "Who signs");
  CLI11_PARSE(app, argc, argv);
  keelson::InitLogging({.level = keelson::LogLevel::kError, .component = "embedded_store"});
  const absl::Status status = Run(flags);
  if (status.ok()) return 0;
  std::cerr << status.message() << std::endl;
  return 1;
}
