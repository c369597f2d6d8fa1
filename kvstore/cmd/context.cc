#include "kvstore/cmd/context.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"

namespace keelson::kvctl {
namespace {

Outcome ReadDuration(const char* flag, const std::string& text, absl::Duration* duration) {
  if (absl::ParseDuration(text, duration) && *duration > absl::ZeroDuration()) return Done();
  return Fail(Exit::kBadArguments,
              absl::StrCat("invalid argument \"", text, "\" for \"", flag,
                           "\" flag: expecting a duration such as 500ms, 5s or 1m"));
}

}  // namespace

std::vector<std::string> Context::Endpoints() const {
  return absl::StrSplit(flags.endpoints, ',', absl::SkipWhitespace());
}

Outcome Context::Connect(std::unique_ptr<kvstore::Client>* client) {
  return ConnectTo(Endpoints(), client);
}

Outcome Context::ConnectTo(const std::vector<std::string>& endpoints,
                           std::unique_ptr<kvstore::Client>* client) {
  kvstore::ConnectOptions options;
  options.endpoints = endpoints;
  options.tls = {.ca_file = flags.ca_file,
                 .cert_file = flags.cert_file,
                 .key_file = flags.key_file,
                 .skip_verify = flags.insecure_skip_tls_verify,
                 .always = !flags.insecure_transport};
  const std::pair<const char*, std::pair<const std::string*, absl::Duration*>> durations[] = {
      {"--dial-timeout", {&flags.dial_timeout, &options.dial_timeout}},
      {"--command-timeout", {&flags.command_timeout, &options.command_timeout}},
      {"--keepalive-time", {&flags.keepalive_time, &options.keepalive_time}},
      {"--keepalive-timeout", {&flags.keepalive_timeout, &options.keepalive_timeout}},
  };
  for (const auto& [flag, duration] : durations) {
    Outcome outcome = ReadDuration(flag, *duration.first, duration.second);
    if (outcome.exit != Exit::kOk) return outcome;
  }
  if (endpoints.empty()) return Fail(Exit::kBadConnection, "etcdclient: no available endpoints");
  absl::StatusOr<std::unique_ptr<kvstore::Client>> connected = kvstore::Connect(options);
  if (!connected.ok()) return Fail(Exit::kBadArguments, TextOf(connected.status()));
  *client = *std::move(connected);
  return Done();
}

Outcome Context::MakePrinter(bool value_only, std::unique_ptr<Printer>* printer) {
  *printer =
      kvctl::MakePrinter(flags.write_out, {.hex = flags.hex, .value_only = value_only}, out, err);
  if (*printer == nullptr) return Fail(Exit::kBadFeature, "unsupported output format");
  return Done();
}

Outcome Context::Open(Session* session) {
  Outcome outcome = MakePrinter(false, &session->printer);
  if (outcome.exit != Exit::kOk) return outcome;
  return Connect(&session->client);
}

}  // namespace keelson::kvctl
