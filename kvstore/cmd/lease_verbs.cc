// lease grant, revoke, timetolive, list, keep-alive.
#include <CLI/CLI.hpp>

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "kvstore/cmd/format.h"
#include "kvstore/cmd/kv_requests.h"
#include "kvstore/cmd/verbs.h"

namespace keelson::kvctl {
namespace {

struct LeaseArguments {
  std::optional<std::string> argument;  // a TTL, or a lease in hex
  bool keys = false;
  bool once = false;
};

Outcome RunGrant(Context& context, const LeaseArguments& arguments) {
  if (!arguments.argument)
    return Fail(Exit::kBadArguments, "lease grant command needs TTL argument");
  int64_t ttl = 0;
  Outcome outcome = ParseInt(*arguments.argument, 10, &ttl);
  if (outcome.exit != Exit::kOk) {
    return Fail(Exit::kBadArguments, absl::StrCat("bad TTL (", outcome.error, ")"));
  }
  Session session;
  outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  etcdserverpb::LeaseGrantRequest request;
  request.set_ttl(ttl);
  const auto answer = session.client->LeaseGrant(request);
  if (!answer.ok()) {
    return Fail(Exit::kError,
                absl::StrCat("failed to grant lease (", TextOf(answer.status()), ")"));
  }
  return session.printer->Grant(*answer);
}

Outcome ReadLease(const LeaseArguments& arguments, const char* missing, int64_t* lease) {
  if (!arguments.argument) return Fail(Exit::kBadArguments, missing);
  return ParseLease(*arguments.argument, "lease ID arg", lease);
}

Outcome RunRevoke(Context& context, const LeaseArguments& arguments) {
  int64_t lease = 0;
  Outcome outcome = ReadLease(arguments, "lease revoke command needs 1 argument", &lease);
  if (outcome.exit != Exit::kOk) return outcome;
  Session session;
  outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto answer = session.client->LeaseRevoke(lease);
  if (!answer.ok()) {
    return Fail(Exit::kError,
                absl::StrCat("failed to revoke lease (", TextOf(answer.status()), ")"));
  }
  return session.printer->Revoke(*answer, lease);
}

Outcome RunTimeToLive(Context& context, const LeaseArguments& arguments) {
  int64_t lease = 0;
  Outcome outcome =
      ReadLease(arguments, "lease timetolive command needs lease ID as argument", &lease);
  if (outcome.exit != Exit::kOk) return outcome;
  Session session;
  outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto answer = session.client->LeaseTimeToLive(lease, arguments.keys);
  if (!answer.ok()) return Fail(answer.status());
  return session.printer->TimeToLive(*answer, arguments.keys);
}

Outcome RunList(Context& context) {
  Session session;
  Outcome outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto answer = session.client->LeaseLeases();
  if (!answer.ok()) return Fail(answer.status());
  return session.printer->Leases(*answer);
}

Outcome RunKeepAlive(Context& context, const LeaseArguments& arguments) {
  int64_t lease = 0;
  Outcome outcome =
      ReadLease(arguments, "lease keep-alive command needs lease ID as argument", &lease);
  if (outcome.exit != Exit::kOk) return outcome;
  Session session;
  outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  if (arguments.once) {
    const auto answer = session.client->LeaseKeepAliveOnce(lease);
    if (!answer.ok()) return Fail(Exit::kBadConnection, TextOf(answer.status()));
    return session.printer->KeepAlive(*answer);
  }

  absl::Notification ended;
  absl::Duration patience = absl::Seconds(5);
  // A bad value was refused by Open.
  (void)absl::ParseDuration(context.flags.command_timeout, &patience);
  std::mutex mu;
  Outcome printed = Done();  // Guarded by mu.
  const auto keep_alive = session.client->KeepLeaseAlive(
      lease, patience,
      {.on_renewed =
           [&](const etcdserverpb::LeaseKeepAliveResponse& response) {
             const std::lock_guard lock(mu);
             printed = session.printer->KeepAlive(response);
             context.out.flush();
             if (printed.exit != Exit::kOk && !ended.HasBeenNotified()) ended.Notify();
           },
       .on_lost =
           [&](const absl::Status& /*status*/) {
             const std::lock_guard lock(mu);
             context.out << "lease " << LeaseIdText(lease) << " expired or revoked.\n";
             if (!ended.HasBeenNotified()) ended.Notify();
           }});
  ended.WaitForNotification();
  const std::lock_guard lock(mu);
  return printed;
}

using LeaseVerb = Outcome (*)(Context&, const LeaseArguments&);

CLI::App* AddLeaseVerb(CLI::App& lease, Context& context, const char* name, const char* what,
                       const char* argument, LeaseVerb verb, const char* examples,
                       const std::shared_ptr<LeaseArguments>& arguments) {
  CLI::App* app = lease.add_subcommand(name, what);
  app->footer(examples);
  if (argument != nullptr) {
    app->add_option(argument, arguments->argument,
                    std::string(argument) == "ttl" ? "Seconds to live" : "The lease, in hex");
  }
  app->callback([&context, arguments, verb] {
    context.run = [&context, arguments, verb] { return verb(context, *arguments); };
  });
  return app;
}

}  // namespace

void AddLease(CLI::App& root, Context& context) {
  CLI::App& lease = *root.add_subcommand("lease", "Lease related commands");
  lease.require_subcommand(0, 1);
  lease.footer(
      "Examples:\n"
      "  kvctl lease grant 60\n"
      "  kvctl lease list -w json");
  const auto arguments = std::make_shared<LeaseArguments>();
  AddLeaseVerb(lease, context, "grant", "Creates leases", "ttl", RunGrant,
               "Examples:\n"
               "  kvctl lease grant 60\n"
               "  kvctl lease grant 60 -w json",
               arguments);
  AddLeaseVerb(lease, context, "revoke", "Revokes leases and deletes their keys", "lease",
               RunRevoke,
               "Examples:\n"
               "  kvctl lease revoke 32695410dcc0ca06\n"
               "  kvctl lease revoke 32695410dcc0ca06 -w json",
               arguments);
  AddLeaseVerb(lease, context, "timetolive", "Gets what is left of a lease", "lease", RunTimeToLive,
               "Examples:\n"
               "  kvctl lease timetolive 32695410dcc0ca06\n"
               "  kvctl lease timetolive 32695410dcc0ca06 --keys",
               arguments)
      ->add_flag("--keys", arguments->keys, "Get the keys attached to the lease");
  AddLeaseVerb(
      lease, context, "list", "Lists all active leases", nullptr,
      [](Context& c, const LeaseArguments& /*arguments*/) { return RunList(c); },
      "Examples:\n"
      "  kvctl lease list\n"
      "  kvctl lease list -w json",
      arguments);
  AddLeaseVerb(lease, context, "keep-alive", "Renews a lease until it ends", "lease", RunKeepAlive,
               "Examples:\n"
               "  kvctl lease keep-alive 32695410dcc0ca06\n"
               "  kvctl lease keep-alive --once 32695410dcc0ca06",
               arguments)
      ->add_flag("--once", arguments->once, "Renew once and exit");
}

}  // namespace keelson::kvctl
