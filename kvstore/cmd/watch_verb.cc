// watch: prints events as they come, and can run a command for each.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdlib>
#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "kvstore/cmd/format.h"
#include "kvstore/cmd/kv_requests.h"
#include "kvstore/cmd/run_command.h"
#include "kvstore/cmd/txn_lines.h"
#include "kvstore/cmd/verbs.h"

namespace keelson::kvctl {
namespace {

struct WatchArguments {
  std::optional<std::string> key;
  std::optional<std::string> range_end;
  std::string revision = "0";
  bool prefix = false;
  bool prev_kv = false;
  bool progress_notify = false;
  bool interactive = false;
};

void AddOptions(CLI::App& app, WatchArguments& arguments) {
  app.add_option("key", arguments.key, "The key, or the lower bound; or $ETCDCTL_WATCH_KEY");
  app.add_option("range_end", arguments.range_end,
                 "The upper bound, not included; or $ETCDCTL_WATCH_RANGE_END");
  app.add_option("--rev", arguments.revision, "Revision to start at; 0 for what comes")
      ->capture_default_str();
  app.add_flag("--prefix", arguments.prefix, "Watch all keys that begin with the key");
  app.add_flag("--prev-kv", arguments.prev_kv, "Print the pair as it was before the event");
  app.add_flag("--progress-notify", arguments.progress_notify,
               "Have the server tell its revision when nothing happens");
}

// What the key and range of the command line, or of the environment, ask for.
Outcome ToRequest(WatchArguments arguments, etcdserverpb::WatchCreateRequest* request) {
  if (!arguments.key) {
    if (const char* key = std::getenv("ETCDCTL_WATCH_KEY")) arguments.key = key;
    const char* end = std::getenv("ETCDCTL_WATCH_RANGE_END");
    if (end != nullptr && *end != '\0') arguments.range_end = end;
  }
  if (!arguments.key) return Fail(Exit::kBadArguments, "bad number of arguments");
  if (arguments.prefix && arguments.range_end) {
    return Fail(Exit::kBadArguments, "`range_end` and `--prefix` are mutually exclusive");
  }
  int64_t revision = 0;
  if (ParseInt(arguments.revision, 10, &revision).exit != Exit::kOk) {
    return Fail(Exit::kBadArguments, absl::StrCat("invalid argument ", Quote(arguments.revision),
                                                  " for \"--rev\" flag"));
  }
  request->set_key(*arguments.key);
  if (arguments.range_end) request->set_range_end(*arguments.range_end);
  if (arguments.prefix) request->set_range_end(kvstore::PrefixEnd(*arguments.key));
  if (arguments.key->empty()) request->set_key(std::string(1, '\0'));
  request->set_start_revision(revision);
  request->set_prev_kv(arguments.prev_kv);
  request->set_progress_notify(arguments.progress_notify);
  return Done();
}

// All watches of one run. Answers are printed, and commands run, one at a time.
class WatchSession {
 public:
  explicit WatchSession(Context& context) : context_(context) {}

  Outcome Open() {
    Outcome outcome = context_.MakePrinter(false, &printer_);
    return outcome.exit == Exit::kOk ? context_.Connect(&client_) : outcome;
  }

  void Add(const etcdserverpb::WatchCreateRequest& request, std::vector<std::string> command) {
    watchers_.push_back(client_->Watch(
        request, {.on_response = [this, command = std::move(command)](
                                     const auto& response) { Print(response, command); },
                  .on_end =
                      [this](const absl::Status& status) {
                        absl::MutexLock lock(&mu_);
                        context_.err << "watch was canceled (" << TextOf(status) << ")\n";
                        EndLocked(Fail(Exit::kInterrupted, "watch is canceled by the server"));
                      }}));
  }

  void RequestProgress() {
    for (const auto& watcher : watchers_) watcher->RequestProgress();
  }

  // Waits until a watch or a command has failed.
  Outcome Wait() {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&ended_));
    return outcome_;
  }

 private:
  void Print(const etcdserverpb::WatchResponse& response, const std::vector<std::string>& command) {
    absl::MutexLock lock(&mu_);
    if (ended_) return;
    const Outcome outcome = printer_->Watch(response);
    context_.out.flush();
    if (outcome.exit != Exit::kOk) return EndLocked(outcome);
    if (command.empty()) return;
    for (const mvccpb::Event& event : response.events()) {
      const absl::Status status = RunCommand(
          command, {{"ETCD_WATCH_REVISION", absl::StrCat(response.header().revision())},
                    {"ETCD_WATCH_EVENT_TYPE", Quote(mvccpb::Event::EventType_Name(event.type()))},
                    {"ETCD_WATCH_KEY", Quote(event.kv().key())},
                    {"ETCD_WATCH_VALUE", Quote(event.kv().value())}});
      if (!status.ok()) {
        context_.err << TextOf(status) << "\n";
        return EndLocked({Exit::kError, ""});
      }
    }
  }

  void EndLocked(const Outcome& outcome) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (!ended_) outcome_ = outcome;
    ended_ = true;
  }

  Context& context_;
  std::unique_ptr<Printer> printer_;
  std::unique_ptr<kvstore::Client> client_;
  absl::Mutex mu_;  // Orders output; held while a command runs.
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  Outcome outcome_ ABSL_GUARDED_BY(mu_);
  std::vector<std::unique_ptr<kvstore::Watcher>> watchers_;  // Last: they use the above.
};

// One line of interactive mode. What is wrong with it goes to stderr; the session goes on.
void RunLine(Context& context, WatchSession& session, const std::string& line) {
  std::optional<std::vector<std::string>> words = SplitWords(line);
  if (words && words->size() == 1 && words->front() == "progress") return session.RequestProgress();
  if (!words || words->empty() || words->front() != "watch") {
    context.err << "Invalid command " << line << " (only support watch)\n";
    return;
  }
  words->erase(words->begin());
  const auto dashes = std::find(words->begin(), words->end(), "--");
  std::vector<std::string> command;
  if (dashes != words->end()) command.assign(dashes + 1, words->end());
  words->erase(dashes, words->end());
  std::reverse(words->begin(), words->end());

  WatchArguments arguments;
  CLI::App app;
  app.set_help_flag();
  AddOptions(app, arguments);
  std::string error;
  etcdserverpb::WatchCreateRequest request;
  try {
    app.parse(*words);
    error = ToRequest(arguments, &request).error;
  } catch (const CLI::Error& e) {
    error = e.what();
  }
  if (!error.empty()) {
    context.err << "Invalid command " << line << " (" << error << ")\n";
    return;
  }
  session.Add(request, std::move(command));
}

Outcome RunWatch(Context& context, const WatchArguments& arguments) {
  WatchSession session(context);
  if (arguments.interactive) {
    Outcome outcome = session.Open();
    if (outcome.exit != Exit::kOk) return outcome;
    std::string line;
    while (std::getline(context.in, line)) RunLine(context, session, line);
    return Fail(Exit::kInvalidInput, "Error reading watch request line: EOF");
  }
  etcdserverpb::WatchCreateRequest request;
  Outcome outcome = ToRequest(arguments, &request);
  if (outcome.exit != Exit::kOk) return outcome;
  outcome = session.Open();
  if (outcome.exit != Exit::kOk) return outcome;
  session.Add(request, context.command);
  return session.Wait();
}

}  // namespace

void AddWatch(CLI::App& root, Context& context) {
  CLI::App* app = root.add_subcommand("watch", "Watches keys or prefixes");
  app->footer(
      "Examples:\n"
      "  kvctl watch --prefix services/ --rev=1\n"
      "  kvctl watch greeting -- sh -c 'echo $ETCD_WATCH_KEY changed'\n"
      "  kvctl watch -i    (then lines such as: watch --prefix a, or: progress)");
  const auto arguments = std::make_shared<WatchArguments>();
  AddOptions(*app, *arguments);
  app->add_flag("-i,--interactive", arguments->interactive, "Read watch requests from stdin");
  app->callback([&context, arguments] {
    context.run = [&context, arguments] { return RunWatch(context, *arguments); };
  });
}

}  // namespace keelson::kvctl
