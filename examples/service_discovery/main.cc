// A service that can be found while it is well, and a client that finds it.
//
//   service_discovery serve 127.0.0.1:8001 &     # listens there, and registers
//   service_discovery find --count=3             # prints the instances to call, in turn
//   etcdctl get --prefix services/hello
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/net/address.h"
#include "base/signals.h"
#include "base/status.h"
#include "kvstore/client/client.h"
#include "kvstore/discovery/endpoint_list.h"
#include "kvstore/discovery/registration.h"

namespace {

using namespace keelson;                      // NOLINT: an example
using namespace keelson::kvstore;             // NOLINT
using namespace keelson::kvstore::discovery;  // NOLINT

struct Flags {
  std::vector<std::string> endpoints = {"127.0.0.1:2379"};
  std::string service = "services/hello";
  std::string address;
  std::string dns_name;
  int weight = kDefaultWeight;
  int count = 1;
};

absl::Status Serve(Client& client, const Flags& flags, SignalWaiter& signals) {
  // A real service would answer, too; to be connected to is all that this one's check wants.
  KEELSON_ASSIGN_OR_RETURN(const net::Listener listener, net::Listen(flags.address));
  RegistrationOptions options;
  options.service = flags.service;
  options.instance = {.address = listener.address, .weight = flags.weight};
  options.ttl = absl::Seconds(5);
  options.check = {
      .kind = HealthCheck::Kind::kTcp, .target = listener.address, .interval = absl::Seconds(1)};
  if (!flags.dns_name.empty()) options.dns = SkyDnsName{.name = flags.dns_name};
  options.on_change = [&](const absl::Status& status) {
    if (status.ok()) {
      std::cout << "registered " << listener.address << std::endl;
    } else {
      std::cout << "not registered: " << status.message() << std::endl;
    }
  };
  KEELSON_ASSIGN_OR_RETURN(const auto registration, Registration::Start(client, options));
  signals.Wait();
  return absl::OkStatus();
}

absl::Status Find(Client& client, const Flags& flags) {
  KEELSON_ASSIGN_OR_RETURN(const auto list, EndpointList::Start(client, flags.service));
  for (int i = 0; i < flags.count; ++i) {
    const std::optional<Instance> instance = list->Pick();
    if (!instance.has_value()) return absl::NotFoundError("nobody offers " + flags.service);
    std::cout << instance->address << std::endl;
    list->Report(instance->address, true);  // A call that fails makes the list avoid it.
  }
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Registers a service, and finds it.");
  app.add_option("--endpoints", flags.endpoints, "Members of the store")->delimiter(',');
  app.add_option("--service", flags.service, "Prefix of its keys");
  app.require_subcommand(1);
  CLI::App* const serve = app.add_subcommand("serve", "Listens, and registers while that works");
  serve->add_option("address", flags.address, "host:port; port 0 takes a free one")->required();
  serve->add_option("--weight", flags.weight, "Its share of the calls");
  serve->add_option("--dns", flags.dns_name, "Also a record for SkyDNS and CoreDNS");
  CLI::App* const find = app.add_subcommand("find", "Prints which instances to call");
  find->add_option("--count", flags.count, "How many calls");
  CLI11_PARSE(app, argc, argv);
  SignalWaiter signals;  // Before there are threads.
  const auto client = Connect({.endpoints = flags.endpoints});
  absl::Status status = client.status();
  if (status.ok()) {
    status = serve->parsed() ? Serve(**client, flags, signals) : Find(**client, flags);
  }
  if (status.ok()) return 0;
  std::cerr << status.message() << std::endl;
  return 1;
}
