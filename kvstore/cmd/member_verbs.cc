// member list, add, remove, update, promote.
#include <CLI/CLI.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "kvstore/cmd/format.h"
#include "kvstore/cmd/kv_requests.h"
#include "kvstore/cmd/verbs.h"

namespace keelson::kvctl {
namespace {

struct MemberArguments {
  std::vector<std::string> words;
  std::string peer_urls;
  bool learner = false;
};

// The URLs of --peer-urls. What is wrong with one is told in etcdctl's words, which asks no server.
Outcome ReadUrls(const MemberArguments& arguments, std::vector<std::string>* urls) {
  if (arguments.peer_urls.empty()) {
    return Fail(Exit::kBadArguments, "member peer urls not provided");
  }
  *urls = absl::StrSplit(arguments.peer_urls, ',');
  for (const std::string& url : *urls) {
    const size_t mark = url.find("://");
    const std::string scheme = mark == std::string::npos ? "" : url.substr(0, mark);
    if (scheme != "http" && scheme != "https" && scheme != "unix" && scheme != "unixs") {
      return Fail(Exit::kError,
                  absl::StrCat("URL scheme must be http, https, unix, or unixs: ", url));
    }
    const std::string rest = url.substr(mark + 3);
    const std::string host = rest.substr(0, rest.find('/'));
    if (host.find(':') == std::string::npos) {
      return Fail(Exit::kError,
                  absl::StrCat("URL address does not have the form \"host:port\": ", url));
    }
    if (host != rest) return Fail(Exit::kError, absl::StrCat("URL must not contain a path: ", url));
  }
  return Done();
}

// The one word of a verb, an id in hexadecimal.
Outcome ReadId(const MemberArguments& arguments, uint64_t* id) {
  if (arguments.words.size() != 1) return Fail(Exit::kBadArguments, "member ID is not provided");
  const Outcome outcome = ParseHexId(arguments.words.front(), id);
  if (outcome.exit == Exit::kOk) return outcome;
  return Fail(Exit::kBadArguments,
              absl::StrCat("bad member ID arg (", outcome.error, "), expecting ID in Hex"));
}

Outcome RunList(Context& context) {
  Session session;
  Outcome outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto answer = session.client->MemberList();
  if (!answer.ok()) return Fail(answer.status());
  return session.printer->Members(*answer);
}

// What the new member's flags should say, for a shell.
void PrintVariables(const etcdserverpb::MemberAddResponse& answer, const std::string& name,
                    std::ostream& out) {
  std::vector<std::string> cluster;
  for (const etcdserverpb::Member& member : answer.members()) {
    const bool is_new = member.id() == answer.member().id();
    for (const std::string& url : member.peerurls()) {
      cluster.push_back(absl::StrCat(is_new ? name : member.name(), "=", url));
    }
  }
  out << "\nETCD_NAME=" << Quote(name)
      << "\nETCD_INITIAL_CLUSTER=" << Quote(absl::StrJoin(cluster, ","))
      << "\nETCD_INITIAL_ADVERTISE_PEER_URLS="
      << Quote(absl::StrJoin(answer.member().peerurls(), ","))
      << "\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n";
}

Outcome RunAdd(Context& context, const MemberArguments& arguments) {
  if (arguments.words.empty()) return Fail(Exit::kBadArguments, "member name not provided");
  if (arguments.words.size() > 1) {
    return Fail(Exit::kBadArguments, "too many arguments");
  }
  std::vector<std::string> urls;
  Session session;
  Outcome outcome = ReadUrls(arguments, &urls);
  if (outcome.exit == Exit::kOk) outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  etcdserverpb::MemberAddRequest request;
  for (const std::string& url : urls) request.add_peerurls(url);
  request.set_islearner(arguments.learner);
  const auto answer = session.client->MemberAdd(request);
  if (!answer.ok()) return Fail(answer.status());
  outcome = session.printer->MemberAdd(*answer);
  if (outcome.exit == Exit::kOk && context.flags.write_out == "simple") {
    PrintVariables(*answer, arguments.words.front(), context.out);
  }
  return outcome;
}

Outcome RunRemove(Context& context, const MemberArguments& arguments) {
  uint64_t id = 0;
  Session session;
  Outcome outcome = ReadId(arguments, &id);
  if (outcome.exit == Exit::kOk) outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto answer = session.client->MemberRemove(id);
  if (!answer.ok()) return Fail(answer.status());
  return session.printer->MemberRemove(*answer, id);
}

Outcome RunUpdate(Context& context, const MemberArguments& arguments) {
  uint64_t id = 0;
  std::vector<std::string> urls;
  Session session;
  Outcome outcome = ReadId(arguments, &id);
  if (outcome.exit == Exit::kOk) outcome = ReadUrls(arguments, &urls);
  if (outcome.exit == Exit::kOk) outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto answer = session.client->MemberUpdate(id, urls);
  if (!answer.ok()) return Fail(answer.status());
  return session.printer->MemberUpdate(*answer, id);
}

Outcome RunPromote(Context& context, const MemberArguments& arguments) {
  uint64_t id = 0;
  Session session;
  Outcome outcome = ReadId(arguments, &id);
  if (outcome.exit == Exit::kOk) outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto answer = session.client->MemberPromote(id);
  if (!answer.ok()) return Fail(answer.status());
  return session.printer->MemberPromote(*answer, id);
}

using Run = Outcome (*)(Context&, const MemberArguments&);

CLI::App* AddVerb(CLI::App& parent, Context& context, const char* name, const char* what,
                  const char* word, Run run, const std::shared_ptr<MemberArguments>& arguments) {
  CLI::App* const verb = parent.add_subcommand(name, what);
  verb->add_option(word, arguments->words);
  verb->callback([&context, arguments, run] {
    context.run = [&context, arguments, run] { return run(context, *arguments); };
  });
  return verb;
}

}  // namespace

void AddMember(CLI::App& root, Context& context) {
  CLI::App& member = *root.add_subcommand("member", "Membership related commands");
  member.require_subcommand(0, 1);
  member.footer(
      "Examples:\n"
      "  kvctl member list -w table\n"
      "  kvctl member add m4 --peer-urls=http://10.0.0.4:2380");
  CLI::App* list = member.add_subcommand("list", "Lists all members in the cluster");
  list->footer(
      "Columns of the simple form: ID, status, name, peer addresses, client addresses, learner.\n\n"
      "Examples:\n"
      "  kvctl member list\n"
      "  kvctl member list -w table");
  list->callback([&context] { context.run = [&context] { return RunList(context); }; });

  const auto arguments = std::make_shared<MemberArguments>();
  CLI::App* add =
      AddVerb(member, context, "add", "Adds a member into the cluster", "name", RunAdd, arguments);
  add->add_option("--peer-urls", arguments->peer_urls, "Its peer URLs, separated by commas");
  add->add_flag("--learner", arguments->learner, "It gets the data but does not vote");
  add->footer(
      "Then start it with the variables that are printed.\n\n"
      "Examples:\n"
      "  kvctl member add m4 --peer-urls=http://10.0.0.4:2380 --learner");
  AddVerb(member, context, "remove", "Removes a member from the cluster", "memberID", RunRemove,
          arguments)
      ->footer(
          "Its id never comes back; its process ends.\n\n"
          "Examples:\n"
          "  kvctl member remove 8211f1d0f64f3269");
  CLI::App* update = AddVerb(member, context, "update", "Updates a member in the cluster",
                             "memberID", RunUpdate, arguments);
  update->add_option("--peer-urls", arguments->peer_urls, "Its new peer URLs");
  update->footer(
      "Examples:\n"
      "  kvctl member update 8211f1d0f64f3269 --peer-urls=http://10.0.0.9:2380");
  AddVerb(member, context, "promote", "Promotes a non-voting member in the cluster", "memberID",
          RunPromote, arguments)
      ->footer(
          "Examples:\n"
          "  kvctl member promote 8211f1d0f64f3269");
}

}  // namespace keelson::kvctl
