// kvctl: the command line of kvstored and etcd, with etcdctl's verbs, flags and output.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kvstore/cmd/verbs.h"

namespace keelson::kvctl {
namespace {

// The order of the help text.
constexpr void (*kVerbs[])(CLI::App&, Context&) = {
    AddGet,    AddPut,        AddDelete,     AddTxn,     AddWatch,      AddCompaction,
    AddLease,  AddLock,       AddElect,      AddAuth,    AddMember,     AddEndpoint,
    AddTop,    AddAlarm,      AddSnapshot,   AddMigrate, AddMakeMirror, AddCheck,
    AddDefrag, AddMoveLeader, AddCompletion, AddVersion,
};

void AddGlobalFlags(CLI::App& root, GlobalFlags& flags) {
  const auto add = [&root](const char* name, std::string& value, const char* what,
                           const char* variable) {
    root.add_option(name, value, what)->capture_default_str()->envname(variable);
  };
  add("--endpoints", flags.endpoints, "Members to talk to, comma separated", "ETCDCTL_ENDPOINTS");
  add("-d,--discovery-srv", flags.discovery_srv, "Domain whose SRV records name the members",
      "ETCDCTL_DISCOVERY_SRV");
  add("--discovery-srv-name", flags.discovery_srv_name,
      "Suffix of the service that is asked for with --discovery-srv", "ETCDCTL_DISCOVERY_SRV_NAME");
  root.add_flag("--insecure-discovery", flags.insecure_discovery,
                "Use members without TLS that --discovery-srv finds")
      ->envname("ETCDCTL_INSECURE_DISCOVERY");
  add("--dial-timeout", flags.dial_timeout, "How long to try to connect", "ETCDCTL_DIAL_TIMEOUT");
  add("--command-timeout", flags.command_timeout, "How long a short command may take",
      "ETCDCTL_COMMAND_TIMEOUT");
  add("--keepalive-time", flags.keepalive_time, "Silence after which a connection is probed",
      "ETCDCTL_KEEPALIVE_TIME");
  add("--keepalive-timeout", flags.keepalive_timeout, "How long a probe may take",
      "ETCDCTL_KEEPALIVE_TIMEOUT");
  add("--cacert", flags.ca_file, "Authorities (PEM) that vouch for the server", "ETCDCTL_CACERT");
  add("--cert", flags.cert_file, "Our certificate (PEM)", "ETCDCTL_CERT");
  add("--key", flags.key_file, "Our certificate's key (PEM)", "ETCDCTL_KEY");
  root.add_flag("--insecure-transport", flags.insecure_transport,
                "Plain text where no other flag asks for TLS; =false: TLS always")
      ->envname("ETCDCTL_INSECURE_TRANSPORT");
  root.add_flag("--insecure-skip-tls-verify", flags.insecure_skip_tls_verify,
                "Do not verify the server's certificate (for tests only)")
      ->envname("ETCDCTL_INSECURE_SKIP_TLS_VERIFY");
  add("--user", flags.user, "name[:password]; without a password it is asked for", "ETCDCTL_USER");
  add("--password", flags.password, "The user's password", "ETCDCTL_PASSWORD");
  add("-w,--write-out", flags.write_out, "Output: simple, fields, json, protobuf or table",
      "ETCDCTL_WRITE_OUT");
  root.add_flag("--hex", flags.hex, "Print keys and values in hex (simple output)")
      ->envname("ETCDCTL_HEX");
}

// Least number of inserted, deleted and changed letters between two words.
size_t Distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row[b.size()];
}

// `; did you mean "x"?` for the nearest of `names`, or nothing when none is near.
std::string Suggestion(const std::string& word, const std::vector<std::string>& names) {
  std::string best;
  size_t best_distance = std::max<size_t>(word.size() / 2, 1) + 1;
  for (const std::string& name : names) {
    const size_t distance = Distance(word, name);
    if (distance < best_distance) {
      best = name;
      best_distance = distance;
    }
  }
  return best.empty() ? "" : absl::StrCat("; did you mean \"", best, "\"?");
}

const CLI::App* ChosenVerb(const CLI::App& root) {
  const CLI::App* app = &root;
  while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
  return app;
}

// What CLI11 left over: an unknown flag, an unknown verb or one word too many.
Outcome CheckLeftOver(const CLI::App& root) {
  for (const std::string& word : root.remaining(true)) {
    if (word == "--") continue;
    const CLI::App* verb = ChosenVerb(root);
    if (word.size() > 1 && word[0] == '-') {
      const std::string name = word.substr(0, word.find('='));
      std::vector<std::string> names;
      for (const CLI::App* app = verb; app != nullptr; app = app->get_parent()) {
        for (const CLI::Option* option : app->get_options()) {
          for (const std::string& flag : option->get_lnames()) names.push_back("--" + flag);
        }
      }
      return Fail(Exit::kBadArguments,
                  absl::StrCat("unknown flag: ", name, Suggestion(name, names)));
    }
    std::vector<std::string> verbs;
    for (const CLI::App* app : verb->get_subcommands(nullptr)) verbs.push_back(app->get_name());
    if (verbs.empty()) {
      return Fail(Exit::kBadArguments,
                  absl::StrCat("too many arguments for ", verb->get_name(), ": \"", word, "\""));
    }
    return Fail(Exit::kBadArguments, absl::StrCat("unknown command \"", word, "\" for \"",
                                                  verb->get_name(), "\"", Suggestion(word, verbs)));
  }
  return Done();
}

// CLI11 takes the word behind "--name=" for its value; here it is an empty value.
void Parse(CLI::App& root, const std::vector<std::string>& given) {
  std::vector<std::string> words;
  bool flags = true;
  for (const std::string& word : given) {
    flags = flags && word != "--";
    if (flags && word.size() > 3 && word[0] == '-' && word[1] == '-' &&
        word.find('=') == word.size() - 1) {
      words.push_back(word.substr(0, word.size() - 1));
      words.emplace_back();
    } else {
      words.push_back(word);
    }
  }
  std::reverse(words.begin(), words.end());  // CLI11 wants the last word first.
  root.parse(std::move(words));
}

// Parses the command line. Behind a "--", `watch` and `lock` have a command; elsewhere it only ends
// the flags.
void ParseCommandLine(CLI::App& root, const std::vector<std::string>& words, Context& context) {
  const auto dashes = std::find(words.begin(), words.end(), "--");
  if (dashes != words.end()) {
    Parse(root, {words.begin(), dashes});
    if (root.got_subcommand("watch") || root.got_subcommand("lock")) {
      context.command.assign(dashes + 1, words.end());
      return;
    }
    root.clear();
  }
  Parse(root, words);
}

int Finish(const Outcome& outcome) {
  std::cout.flush();
  if (!outcome.error.empty()) std::cerr << "Error: " << outcome.error << "\n";
  if (!std::cout) {
    std::cerr << "Error: write to standard output failed\n";
    return static_cast<int>(Exit::kIo);
  }
  return static_cast<int>(outcome.exit);
}

int Main(int argc, char** argv) {
  Context context(std::cin, std::cout, std::cerr);
  CLI::App root("Talks to kvstored and etcd.", "kvctl");
  root.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  root.fallthrough();
  root.allow_extras();
  root.require_subcommand(0, 1);
  root.footer(
      "Global flags may stand anywhere. Each can be set by the environment as ETCDCTL_<NAME>.\n\n"
      "Examples:\n"
      "  kvctl put greeting hello\n"
      "  kvctl endpoint status --cluster -w table");
  AddGlobalFlags(root, context.flags);
  for (const auto add : kVerbs) add(root, context);
  try {
    ParseCommandLine(root, {argv + 1, argv + argc}, context);
  } catch (const CLI::CallForHelp& help) {
    return root.exit(help);
  } catch (const CLI::Error& error) {
    return Finish(Fail(Exit::kBadArguments, error.what()));
  }
  for (const CLI::Option* option : root.get_options()) {
    if (option->count() > 0) context.given.insert("--" + option->get_single_name());
  }
  const Outcome outcome = CheckLeftOver(root);
  if (outcome.exit != Exit::kOk) return Finish(outcome);
  if (!context.run) {  // No verb, or a group such as `lease` without its verb.
    std::cout << ChosenVerb(root)->help();
    return Finish(Done());
  }
  const Outcome discovered = context.DiscoverEndpoints();
  return Finish(discovered.exit == Exit::kOk ? context.run() : discovered);
}

}  // namespace
}  // namespace keelson::kvctl

int main(int argc, char** argv) { return keelson::kvctl::Main(argc, argv); }
