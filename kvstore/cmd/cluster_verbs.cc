// endpoint status, endpoint health.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kvstore/cmd/verbs.h"

namespace keelson::kvctl {
namespace {

// The endpoints given, or with `cluster` those that all members publish.
Outcome FindEndpoints(Context& context, bool cluster, std::vector<std::string>* endpoints) {
  *endpoints = context.Endpoints();
  std::unique_ptr<kvstore::Client> client;
  Outcome outcome = context.Connect(&client);
  if (outcome.exit != Exit::kOk || !cluster) return outcome;
  const auto answer = client->MemberList();
  if (!answer.ok()) {
    return Fail(Exit::kError, absl::StrCat("failed to fetch endpoints from the member list: ",
                                           TextOf(answer.status())));
  }
  endpoints->clear();
  for (const etcdserverpb::Member& member : answer->members()) {
    endpoints->insert(endpoints->end(), member.clienturls().begin(), member.clienturls().end());
  }
  return Done();
}

Outcome RunStatus(Context& context, bool cluster) {
  std::unique_ptr<Printer> printer;
  Outcome outcome = context.MakePrinter(false, &printer);
  if (outcome.exit != Exit::kOk) return outcome;
  std::vector<std::string> endpoints;
  outcome = FindEndpoints(context, cluster, &endpoints);
  if (outcome.exit != Exit::kOk) return outcome;
  std::vector<EndpointStatus> statuses;
  for (const std::string& endpoint : endpoints) {
    std::unique_ptr<kvstore::Client> client;
    outcome = context.ConnectTo({endpoint}, &client);
    if (outcome.exit != Exit::kOk) return outcome;
    auto answer = client->Status();
    if (answer.ok()) {
      statuses.push_back({.endpoint = endpoint, .status = *std::move(answer)});
    } else {
      context.err << "Failed to get the status of endpoint " << endpoint << " ("
                  << TextOf(answer.status()) << ")\n";
    }
  }
  outcome = printer->Status(statuses);
  if (outcome.exit == Exit::kOk && statuses.size() != endpoints.size()) outcome.exit = Exit::kError;
  return outcome;
}

// A linearizable read: it succeeds only where a quorum can be reached.
EndpointHealth CheckHealth(kvstore::Client& client, const std::string& endpoint) {
  const absl::Time start = absl::Now();
  absl::Status status = client.Range(kvstore::RangeOf("health")).status();
  if (absl::IsPermissionDenied(status)) status = absl::OkStatus();  // Consensus has worked.
  return {.endpoint = endpoint, .status = status, .took = absl::Now() - start};
}

Outcome RunHealth(Context& context, bool cluster) {
  std::unique_ptr<Printer> printer;
  Outcome outcome = context.MakePrinter(false, &printer);
  if (outcome.exit != Exit::kOk) return outcome;
  std::vector<std::string> endpoints;
  outcome = FindEndpoints(context, cluster, &endpoints);
  if (outcome.exit != Exit::kOk) return outcome;
  std::vector<std::unique_ptr<kvstore::Client>> clients(endpoints.size());
  for (size_t i = 0; i < endpoints.size(); ++i) {
    outcome = context.ConnectTo({endpoints[i]}, &clients[i]);
    if (outcome.exit != Exit::kOk) return outcome;
  }
  std::vector<EndpointHealth> healths(endpoints.size());
  std::vector<std::thread> threads;  // One slow endpoint must not hold up the others.
  for (size_t i = 0; i < endpoints.size(); ++i) {
    threads.emplace_back([&, i] { healths[i] = CheckHealth(*clients[i], endpoints[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  outcome = printer->Health(healths);
  const bool healthy = std::all_of(healths.begin(), healths.end(),
                                   [](const EndpointHealth& h) { return h.status.ok(); });
  if (outcome.exit == Exit::kOk && !healthy) return Fail(Exit::kError, "unhealthy cluster");
  return outcome;
}

}  // namespace

void AddEndpoint(CLI::App& root, Context& context) {
  CLI::App& endpoint = *root.add_subcommand("endpoint", "Endpoint related commands");
  endpoint.require_subcommand(0, 1);
  endpoint.footer(
      "Examples:\n"
      "  kvctl endpoint status -w table\n"
      "  kvctl endpoint health --cluster");
  const auto cluster = std::make_shared<bool>(false);
  endpoint.add_flag("--cluster", *cluster, "Use all endpoints of the member list");
  CLI::App* status = endpoint.add_subcommand("status", "Prints the status of each endpoint");
  status->footer(
      "Examples:\n"
      "  kvctl endpoint status -w table\n"
      "  kvctl endpoint status --cluster -w json");
  status->callback([&context, cluster] {
    context.run = [&context, cluster] { return RunStatus(context, *cluster); };
  });
  CLI::App* health = endpoint.add_subcommand("health", "Checks each endpoint by a quorum read");
  health->footer(
      "Examples:\n"
      "  kvctl endpoint health\n"
      "  kvctl endpoint health --cluster -w json");
  health->callback([&context, cluster] {
    context.run = [&context, cluster] { return RunHealth(context, *cluster); };
  });
}

}  // namespace keelson::kvctl
