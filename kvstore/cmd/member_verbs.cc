// member list, add, remove, update, promote, replace.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kvstore/cmd/format.h"
#include "kvstore/cmd/kv_requests.h"
#include "kvstore/cmd/verbs.h"

namespace keelson::kvctl {
namespace {

struct MemberArguments {
  std::vector<std::string> words;
  std::string peer_urls;
  bool learner = false;
  std::string timeout = "10m";
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
  Outcome outcome = ParseHexId(arguments.words.front(), id);
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

// ---- replace ----

// Healthy members are connected long enough after this.
constexpr absl::Duration kHealthyWithin = absl::Seconds(8);
constexpr absl::Duration kPromotionPause = absl::Milliseconds(500);

bool HasUrls(const etcdserverpb::Member& member, std::vector<std::string> urls) {
  std::vector<std::string> theirs(member.peerurls().begin(), member.peerurls().end());
  std::sort(theirs.begin(), theirs.end());
  std::sort(urls.begin(), urls.end());
  return theirs == urls;
}

// A member may be added only while all others are there and have been for some seconds.
bool IsUnhealthy(const absl::Status& status) {
  return status.message() == "etcdserver: unhealthy cluster";
}

absl::StatusOr<etcdserverpb::MemberAddResponse> AddWhenHealthy(
    Session& session, const etcdserverpb::MemberAddRequest& request, absl::Time deadline) {
  while (true) {
    auto added = session.client->MemberAdd(request);
    if (!IsUnhealthy(added.status()) || absl::Now() > deadline) return added;
    absl::SleepFor(kPromotionPause);
  }
}

// Adds the successor as a learner, or finds the one that an earlier try added. `refused` gets the
// server's error.
Outcome AddSuccessor(Context& context, Session& session, const std::string& name,
                     const std::vector<std::string>& urls, absl::Time deadline,
                     etcdserverpb::Member* successor, absl::Status* refused) {
  const auto members = session.client->MemberList();
  if (!members.ok()) return Fail(members.status());
  etcdserverpb::MemberAddResponse answer;
  *answer.mutable_header() = members->header();
  *answer.mutable_members() = members->members();
  for (const etcdserverpb::Member& member : members->members()) {
    if (HasUrls(member, urls)) *answer.mutable_member() = member;
  }
  if (!answer.has_member()) {
    etcdserverpb::MemberAddRequest request;
    for (const std::string& url : urls) request.add_peerurls(url);
    request.set_islearner(true);
    auto added = AddWhenHealthy(session, request, deadline);
    *refused = added.status();
    if (!added.ok()) return Fail(added.status());
    answer = *std::move(added);
    Outcome outcome = session.printer->MemberAdd(answer);
    if (outcome.exit != Exit::kOk) return outcome;
  }
  *successor = answer.member();
  if (successor->name().empty()) PrintVariables(answer, name, context.out);
  context.out.flush();
  return Done();
}

// Waits until the successor runs and has caught up: only then can it be promoted.
Outcome Promote(Session& session, const etcdserverpb::Member& successor, absl::Time deadline) {
  if (!successor.islearner()) return Done();
  while (true) {
    const auto promoted = session.client->MemberPromote(successor.id());
    if (promoted.ok()) return session.printer->MemberPromote(*promoted, successor.id());
    const absl::Status& status = promoted.status();
    if (status.message() == "etcdserver: can only promote a learner member") return Done();
    const bool later = absl::IsFailedPrecondition(status) || absl::IsUnavailable(status) ||
                       absl::IsDeadlineExceeded(status);
    if (!later || absl::Now() > deadline) {
      return Fail(Exit::kError,
                  absl::StrCat("member ", IdText(successor.id()),
                               " was not promoted, and the old one is still there; the same "
                               "command goes on from here: ",
                               TextOf(status)));
    }
    absl::SleepFor(kPromotionPause);
  }
}

Outcome RunReplace(Context& context, const MemberArguments& arguments) {
  if (arguments.words.size() != 2) {
    return Fail(Exit::kBadArguments,
                "member replace needs the ID of the old member and the name of the new one");
  }
  MemberArguments old = arguments;
  old.words.resize(1);
  uint64_t id = 0;
  std::vector<std::string> urls;
  absl::Duration timeout;
  Session session;
  Outcome outcome = ReadId(old, &id);
  if (outcome.exit == Exit::kOk) outcome = ReadUrls(arguments, &urls);
  if (outcome.exit == Exit::kOk && !absl::ParseDuration(arguments.timeout, &timeout)) {
    outcome = Fail(Exit::kBadArguments, "--timeout needs a duration such as 10m");
  }
  if (outcome.exit == Exit::kOk) outcome = context.Open(&session);
  const absl::Time deadline = absl::Now() + timeout;
  etcdserverpb::Member successor;
  if (outcome.exit != Exit::kOk) return outcome;
  const auto add = [&](absl::Time until) {
    absl::Status refused;
    outcome = AddSuccessor(context, session, arguments.words[1], urls, until, &successor, &refused);
    return refused;
  };
  const auto remove = [&] {
    const auto removed = session.client->MemberRemove(id);
    return removed.ok() ? session.printer->MemberRemove(*removed, id) : Fail(removed.status());
  };
  bool old_is_gone = false;
  if (IsUnhealthy(add(std::min(deadline, absl::Now() + kHealthyWithin)))) {
    // Somebody is away, the old one as it seems: then it has to go first.
    if (Outcome removed = remove(); removed.exit != Exit::kOk) return removed;
    old_is_gone = true;
    (void)add(deadline);  // `outcome` says the same.
  }
  if (outcome.exit == Exit::kOk && successor.id() == id) {
    outcome = Fail(Exit::kBadArguments, "the old member has these peer URLs itself");
  }
  if (outcome.exit == Exit::kOk) outcome = Promote(session, successor, deadline);
  return outcome.exit != Exit::kOk || old_is_gone ? outcome : remove();
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
  CLI::App* replace = AddVerb(member, context, "replace", "Puts a new member in an old one's place",
                              "memberID-and-name", RunReplace, arguments);
  replace->add_option("--peer-urls", arguments->peer_urls, "The new member's peer URLs");
  replace->add_option("--timeout", arguments->timeout, "How long the new one may take to catch up")
      ->capture_default_str();
  replace->footer(
      "Adds a learner and prints the variables to start it with, waits until it runs and has "
      "caught\n"
      "up, promotes it and removes the old member. What was done stays done: the same command "
      "goes\n"
      "on where it was interrupted.\n\n"
      "Examples:\n"
      "  kvctl member replace 8211f1d0f64f3269 m4 --peer-urls=http://10.0.0.4:2380");
}

}  // namespace keelson::kvctl
