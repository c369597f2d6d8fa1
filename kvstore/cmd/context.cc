#include "kvstore/cmd/context.h"

#include <ostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "kvstore/cmd/password.h"
#include "kvstore/config/srv.h"

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

Outcome Context::DiscoverEndpoints() {
  if (flags.discovery_srv.empty()) return Done();
  absl::StatusOr<std::vector<std::string>> urls = kvstore::ClientsFromSrv(
      kvstore::RealSrvWorld(),
      {.domain = flags.discovery_srv, .service_name = flags.discovery_srv_name});
  if (!urls.ok()) return Fail(Exit::kError, TextOf(urls.status()));
  if (!flags.insecure_discovery) {
    std::erase_if(*urls, [this](const std::string& url) {
      if (!url.starts_with("http://")) return false;
      err << "ignoring discovered insecure endpoint \"" << url << "\"\n";
      return true;
    });
  }
  // As in etcdctl, --endpoints counts where nothing is found.
  if (!urls->empty()) flags.endpoints = absl::StrJoin(*urls, ",");
  return Done();
}

Outcome Context::Connect(std::unique_ptr<kvstore::Client>* client) {
  return ConnectTo(Endpoints(), client);
}

Outcome Context::ReadUser(kvstore::ConnectOptions* options) {
  if (flags.user.empty()) return Done();
  options->user = flags.user;
  options->password = flags.password;
  if (!flags.password.empty()) return Done();
  const size_t colon = flags.user.find(':');
  if (colon != std::string::npos) {
    options->user = flags.user.substr(0, colon);
    options->password = flags.user.substr(colon + 1);
    return Done();
  }
  if (!asked_password_.has_value()) asked_password_ = AskPassword("Password: ", in, out);
  options->password = *asked_password_;
  return Done();
}

absl::Duration Context::CommandTimeout() const {
  absl::Duration timeout = absl::Seconds(5);
  (void)absl::ParseDuration(flags.command_timeout, &timeout);
  return timeout;
}

Outcome Context::ConnectTo(const std::vector<std::string>& endpoints,
                           std::unique_ptr<kvstore::Client>* client) {
  kvstore::ConnectOptions options;
  Outcome outcome = MakeConnectOptions(endpoints, &options);
  if (outcome.exit != Exit::kOk) return outcome;
  absl::StatusOr<std::unique_ptr<kvstore::Client>> connected = kvstore::Connect(options);
  if (!connected.ok()) return Fail(Exit::kBadArguments, TextOf(connected.status()));
  *client = *std::move(connected);
  return Done();
}

Outcome Context::MakeConnectOptions(const std::vector<std::string>& endpoints,
                                    kvstore::ConnectOptions* result) {
  kvstore::ConnectOptions& options = *result;
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
  return ReadUser(&options);
}

Outcome Context::FindEndpoints(bool cluster, std::vector<std::string>* endpoints) {
  *endpoints = Endpoints();
  std::unique_ptr<kvstore::Client> client;
  Outcome outcome = Connect(&client);
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
