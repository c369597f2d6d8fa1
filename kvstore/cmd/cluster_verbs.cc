// endpoint status, health and hashkv.
#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kvstore/cmd/format.h"
#include "kvstore/cmd/kv_requests.h"
#include "kvstore/cmd/verb.h"
#include "kvstore/cmd/verbs.h"

namespace keelson::kvctl {
namespace {

Outcome RunStatus(Context& context, bool cluster) {
  std::unique_ptr<Printer> printer;
  Outcome outcome = context.MakePrinter(false, &printer);
  if (outcome.exit != Exit::kOk) return outcome;
  std::vector<std::string> endpoints;
  outcome = context.FindEndpoints(cluster, &endpoints);
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
  outcome = context.FindEndpoints(cluster, &endpoints);
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

Outcome RunHashes(Context& context, bool cluster, const std::string& revision) {
  etcdserverpb::HashKVRequest request;
  int64_t number = 0;
  Outcome outcome = ParseInt(revision, 10, &number);
  if (outcome.exit != Exit::kOk) {
    return Fail(Exit::kBadArguments, absl::StrCat("invalid argument ", Quote(revision),
                                                  " for \"--rev\" flag: ", outcome.error));
  }
  request.set_revision(number);
  std::unique_ptr<Printer> printer;
  outcome = context.MakePrinter(false, &printer);
  if (outcome.exit != Exit::kOk) return outcome;
  std::vector<std::string> endpoints;
  outcome = context.FindEndpoints(cluster, &endpoints);
  if (outcome.exit != Exit::kOk) return outcome;
  std::vector<EndpointHash> hashes;
  absl::Status last;
  for (const std::string& endpoint : endpoints) {
    std::unique_ptr<kvstore::Client> client;
    outcome = context.ConnectTo({endpoint}, &client);
    if (outcome.exit != Exit::kOk) return outcome;
    auto answer = Ask<etcdserverpb::HashKVResponse>(*client, "Maintenance/HashKV", request, true);
    if (answer.ok()) {
      hashes.push_back({.endpoint = endpoint, .hash = *std::move(answer)});
    } else {
      last = answer.status();
      context.err << "Failed to get the hash of endpoint " << endpoint << " (" << TextOf(last)
                  << ")\n";
    }
  }
  outcome = printer->Hashes(hashes);
  return outcome.exit == Exit::kOk && !last.ok() ? Fail(last) : outcome;
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
  const auto revision = std::make_shared<std::string>("0");
  CLI::App* hashes = endpoint.add_subcommand("hashkv", "Prints the hash of each endpoint's keys");
  hashes->add_option("--rev", *revision, "Newest revision to take in; 0 for all")
      ->capture_default_str();
  hashes->footer(
      "Members of one cluster have the same hash at the same revision.\n\n"
      "Examples:\n"
      "  kvctl endpoint hashkv --cluster -w table\n"
      "  kvctl endpoint hashkv --rev=1000");
  hashes->callback([&context, cluster, revision] {
    context.run = [&context, cluster, revision] { return RunHashes(context, *cluster, *revision); };
  });
}

}  // namespace keelson::kvctl
