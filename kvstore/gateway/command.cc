#include "kvstore/gateway/command.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/net/address.h"
#include "base/status.h"
#include "kvstore/config/flag_set.h"

namespace keelson::kvstore {
namespace {

// "host:port", or "unix:path", of an endpoint with or without a scheme.
absl::StatusOr<std::string> AddressOf(absl::string_view endpoint) {
  if (absl::ConsumePrefix(&endpoint, "unix://") || absl::ConsumePrefix(&endpoint, "unixs://")) {
    return absl::StrCat("unix:", endpoint);
  }
  if (!absl::ConsumePrefix(&endpoint, "https://")) absl::ConsumePrefix(&endpoint, "http://");
  std::string address(endpoint);
  KEELSON_RETURN_IF_ERROR(net::ParseHostPort(address).status());
  return address;
}

}  // namespace

absl::StatusOr<GatewayCommand> ParseGatewayCommand(std::span<const std::string> arguments,
                                                   const SrvWorld& world) {
  GatewayCommand command;
  bool help = false;
  std::string endpoints = "127.0.0.1:2379";
  command.options.listen = "127.0.0.1:23790";
  FlagSet flags;
  flags.Section("Flags");
  flags.String("listen-addr", &command.options.listen, "Address to listen on.");
  flags.String("endpoints", &endpoints, "Members to forward to, separated by commas.");
  flags.Duration("retry-delay", &command.options.retry_delay,
                 "Time after which a member that could not be reached is tried again.");
  flags.Bool("help", &help, "Print this text and exit.");
  flags.Alias("h", "help");
  SrvDomain srv;
  bool insecure_discovery = false;
  flags.String("discovery-srv", &srv.domain,
               "Domain whose SRV records name the members, in the place of --endpoints.");
  flags.String("discovery-srv-name", &srv.service_name,
               "Suffix of the service that is asked for with --discovery-srv.");
  flags.Bool("insecure-discovery", &insecure_discovery,
             "Use members without TLS that --discovery-srv finds.");
  flags.WithoutEffect("trusted-ca-file", false);
  const std::string text = flags.Help();

  std::vector<std::string> words(arguments.begin(), arguments.end());
  const auto start = std::find(words.begin(), words.end(), "start");
  const bool starts = start != words.end();
  if (starts) words.erase(start);
  KEELSON_RETURN_IF_ERROR(flags.ParseArguments(words));
  if (help) {
    command.help = absl::StrCat(
        "Usage: kvstored gateway [flags] start\n\nPasses TCP connections on to the members of a "
        "cluster, each to the next in turn.\n",
        text);
    return command;
  }
  if (!starts) return absl::InvalidArgumentError("the word 'start' is missing");
  if (command.options.retry_delay < absl::ZeroDuration()) {
    return absl::InvalidArgumentError("--retry-delay: must not be negative");
  }
  if (!srv.domain.empty()) {
    absl::StatusOr<std::vector<std::string>> urls = ClientsFromSrv(world, srv);
    if (!urls.ok()) return Annotate(urls.status(), "--discovery-srv");
    if (!insecure_discovery) {
      std::erase_if(*urls, [](const std::string& url) { return url.starts_with("http://"); });
    }
    endpoints = absl::StrJoin(*urls, ",");
  }
  for (const absl::string_view endpoint : absl::StrSplit(endpoints, ',', absl::SkipWhitespace())) {
    const absl::StatusOr<std::string> address = AddressOf(absl::StripAsciiWhitespace(endpoint));
    if (!address.ok()) return Annotate(address.status(), "--endpoints");
    command.options.endpoints.push_back(*address);
  }
  if (command.options.endpoints.empty()) {
    return absl::InvalidArgumentError("--endpoints: none is given");
  }
  command.warnings = flags.warnings();
  return command;
}

}  // namespace keelson::kvstore
