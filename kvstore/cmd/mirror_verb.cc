// make-mirror.
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "kvstore/cmd/kv_requests.h"
#include "kvstore/cmd/mirror.h"
#include "kvstore/cmd/verb.h"
#include "kvstore/cmd/verbs.h"

namespace keelson::kvctl {
namespace {

constexpr absl::Duration kReportInterval = absl::Seconds(30);

struct MirrorArguments {
  std::vector<std::string> words;
  std::string prefix;
  std::string dest_prefix;
  std::string revision = "0";
  std::string max_txn_ops = "128";
  std::string cert;
  std::string key;
  std::string cacert;
  std::string user;
  std::string password;
  bool no_dest_prefix = false;
  bool insecure = true;
};

Outcome ReadNumber(const std::string& text, const char* flag, int64_t least, int64_t* value) {
  const Outcome outcome = ParseInt(text, 10, value);
  if (outcome.exit == Exit::kOk && *value >= least) return Done();
  return Fail(Exit::kBadArguments,
              absl::StrCat("invalid argument \"", text, "\" for \"", flag, "\" flag: ",
                           outcome.exit == Exit::kOk ? "it is too small" : outcome.error));
}

Outcome ConnectDestination(Context& context, const MirrorArguments& arguments,
                           std::unique_ptr<kvstore::Client>* client) {
  kvstore::ConnectOptions options;
  Outcome outcome = context.MakeConnectOptions({arguments.words[0]}, &options);
  if (outcome.exit != Exit::kOk) return outcome;
  options.tls = {.ca_file = arguments.cacert,
                 .cert_file = arguments.cert,
                 .key_file = arguments.key,
                 .skip_verify = false,
                 .always = !arguments.insecure};
  options.user = arguments.user;
  options.password = arguments.password;
  const size_t colon = arguments.user.find(':');
  if (arguments.password.empty() && colon != std::string::npos) {
    options.user = arguments.user.substr(0, colon);
    options.password = arguments.user.substr(colon + 1);
  }
  auto connected = kvstore::Connect(options);
  if (!connected.ok()) return Fail(Exit::kBadArguments, TextOf(connected.status()));
  *client = *std::move(connected);
  return Done();
}

// Copies, follows, and begins anew where history was compacted away in between.
absl::Status Run(Mirror& mirror, int64_t revision) {
  bool exact = false;
  while (true) {
    if (revision == 0) {
      const absl::StatusOr<int64_t> copied = mirror.CopyAll(exact);
      if (!copied.ok()) return copied.status();
      revision = *copied + 1;
    }
    const absl::Status ended = mirror.Follow(revision);
    if (!absl::IsOutOfRange(ended)) return ended;
    revision = 0;
    exact = true;
  }
}

Outcome RunMirror(Context& context, const MirrorArguments& arguments) {
  if (arguments.words.size() != 1) {
    return Fail(Exit::kBadArguments, "make-mirror takes one destination argument");
  }
  if (arguments.no_dest_prefix && !arguments.dest_prefix.empty()) {
    return Fail(
        Exit::kBadArguments,
        "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one");
  }
  MirrorOptions options{.prefix = arguments.prefix, .dest_prefix = arguments.dest_prefix};
  if (!arguments.no_dest_prefix && options.dest_prefix.empty()) {
    options.dest_prefix = options.prefix;
  }
  int64_t revision = 0;
  Outcome outcome = ReadNumber(arguments.revision, "--rev", 0, &revision);
  if (outcome.exit == Exit::kOk) {
    outcome = ReadNumber(arguments.max_txn_ops, "--max-txn-ops", 1, &options.max_txn_ops);
  }
  std::unique_ptr<kvstore::Client> source;
  std::unique_ptr<kvstore::Client> destination;
  if (outcome.exit == Exit::kOk) outcome = ConnectDestination(context, arguments, &destination);
  if (outcome.exit == Exit::kOk) outcome = context.Connect(&source);
  if (outcome.exit != Exit::kOk) return outcome;

  Mirror mirror(*source, *destination, options);
  absl::Notification ended;
  std::thread reporter([&] {
    while (!ended.WaitForNotificationWithTimeout(kReportInterval)) {
      context.out << mirror.copied() << "\n" << std::flush;
    }
  });
  const absl::Status status = Run(mirror, revision);
  ended.Notify();
  reporter.join();
  return Fail(status);
}

}  // namespace

void AddMakeMirror(CLI::App& root, Context& context) {
  const auto arguments = std::make_shared<MirrorArguments>();
  CLI::App& app = *AddVerb(
      root, context,
      {"make-mirror", "Keeps the keys of this cluster in another one", "destination",
       "Runs until it is stopped, and prints each 30 s how many changes it has made. It goes on "
       "by\n"
       "itself after a lost connection; where the source has compacted what it missed, it copies\n"
       "everything again and removes what is gone.\n\n"
       "Examples:\n  kvctl make-mirror 10.1.0.1:2379 --prefix=config/\n"
       "  kvctl make-mirror 10.1.0.1:2379 --prefix=config/ --dest-prefix=site-a/"},
      arguments, RunMirror);
  app.add_option("--prefix", arguments->prefix, "Keys that begin with this");
  app.add_option("--dest-prefix", arguments->dest_prefix, "What takes its place there");
  app.add_flag("--no-dest-prefix", arguments->no_dest_prefix, "Nothing takes its place");
  app.add_option("--rev", arguments->revision,
                 "Copy nothing, and follow from this revision on; 0: copy first")
      ->capture_default_str();
  app.add_option("--max-txn-ops", arguments->max_txn_ops, "Most changes in one transaction")
      ->capture_default_str();
  app.add_option("--dest-cert", arguments->cert, "Our certificate for the destination");
  app.add_option("--dest-key", arguments->key, "Its key");
  app.add_option("--dest-cacert", arguments->cacert, "Authorities that vouch for the destination");
  app.add_option("--dest-user", arguments->user, "User there, as --user");
  app.add_option("--dest-password", arguments->password, "Password there");
  app.add_flag("--dest-insecure-transport", arguments->insecure,
               "Plain text where no other flag asks for TLS; =false: TLS always");
}

}  // namespace keelson::kvctl
