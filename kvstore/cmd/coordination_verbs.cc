// lock and elect.
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/signals.h"
#include "kvstore/cmd/candidacy.h"
#include "kvstore/cmd/kv_requests.h"
#include "kvstore/cmd/run_command.h"
#include "kvstore/cmd/verb.h"
#include "kvstore/cmd/verbs.h"

namespace keelson::kvctl {
namespace {

struct QueueArguments {
  std::vector<std::string> words;
  std::string ttl = "10";
  bool listen = false;
};

constexpr int64_t kElectionTtl = 60;

// Hands the signals that end a program to `interrupt`, from a thread, while it lives. Made before
// any
// client, whose threads must not take them.
class Interrupts {
 public:
  explicit Interrupts(std::function<void()> interrupt)
      : thread_([this, interrupt = std::move(interrupt)] {
          while (waiter_.Wait() != 0) interrupt();
        }) {}
  ~Interrupts() {
    waiter_.Wake();
    thread_.join();
  }

 private:
  SignalWaiter waiter_;
  std::thread thread_;
};

// Where an interrupt goes while there may be no candidacy yet.
class InterruptTarget {
 public:
  void Set(std::function<void()> target) {
    const std::lock_guard lock(mu_);
    target_ = std::move(target);
    if (interrupted_ && target_) target_();
  }
  void Interrupt() {
    const std::lock_guard lock(mu_);
    interrupted_ = true;
    if (target_) target_();
  }

 private:
  std::mutex mu_;
  bool interrupted_ = false;
  std::function<void()> target_;
};

Outcome PrintKey(Session& session, const std::string& key, const char* gone) {
  const auto answer = session.client->Range(kvstore::RangeOf(key));
  if (!answer.ok()) return Fail(answer.status());
  if (answer->kvs().empty()) return Fail(Exit::kError, gone);
  return session.printer->Range(*answer);
}

// ---- lock ----

Outcome RunLocked(const Candidacy& candidacy, const std::vector<std::string>& command) {
  const absl::Status status = RunProgram(
      command,
      {{"ETCD_LOCK_KEY", candidacy.key()}, {"ETCD_LOCK_REV", absl::StrCat(candidacy.revision())}});
  return status.ok() ? Done() : Fail(Exit::kError, TextOf(status));
}

Outcome HoldLock(Context& context, Session& session, Candidacy& candidacy,
                 const std::vector<std::string>& command) {
  const absl::Status entered = candidacy.Enter("");
  if (!entered.ok()) return Fail(entered);
  Outcome outcome = Done();
  if (!command.empty()) {
    outcome = RunLocked(candidacy, command);
  } else {
    outcome = PrintKey(session, candidacy.key(), "lock lost on init");
    context.out.flush();
    if (outcome.exit == Exit::kOk && !candidacy.Hold()) {
      return Fail(Exit::kError, "session expired");
    }
  }
  const absl::Status left = candidacy.Leave();
  return outcome.exit == Exit::kOk && !left.ok() ? Fail(left) : outcome;
}

Outcome RunLock(Context& context, const QueueArguments& arguments) {
  // Behind a "--" there may be the command, or the name as well.
  std::vector<std::string> command = arguments.words;
  command.insert(command.end(), context.command.begin(), context.command.end());
  if (command.empty()) {
    return Fail(Exit::kBadArguments,
                "lock takes a lock name argument and an optional command to execute");
  }
  int64_t ttl = 0;
  Outcome outcome = ParseInt(arguments.ttl, 10, &ttl);
  if (outcome.exit != Exit::kOk) {
    return Fail(Exit::kBadArguments, absl::StrCat("invalid argument \"", arguments.ttl,
                                                  "\" for \"--ttl\" flag: ", outcome.error));
  }
  const std::string name = command.front();
  command.erase(command.begin());
  InterruptTarget target;
  const Interrupts interrupts([&target] { target.Interrupt(); });
  Session session;
  outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  Candidacy candidacy(*session.client, name);
  const absl::Status begun = candidacy.Begin(ttl);
  if (!begun.ok()) return Fail(begun);
  target.Set([&candidacy] { candidacy.Interrupt(); });
  outcome = HoldLock(context, session, candidacy, command);
  target.Set(nullptr);
  return outcome;
}

// ---- elect ----

Outcome Campaign(Context& context, const std::string& name, const std::string& proposal) {
  InterruptTarget target;
  const Interrupts interrupts([&target] { target.Interrupt(); });
  Session session;
  Outcome outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  Candidacy candidacy(*session.client, name);
  const absl::Status begun = candidacy.Begin(kElectionTtl);
  if (!begun.ok()) return Fail(begun);
  target.Set([&candidacy] { candidacy.Interrupt(); });
  const absl::Status entered = candidacy.Enter(proposal);
  if (!entered.ok()) {
    outcome = Fail(entered);
  } else {
    outcome = PrintKey(session, candidacy.key(), "elect: session expired");
    context.out.flush();
    if (outcome.exit == Exit::kOk) {
      const bool interrupted = candidacy.Hold();
      const absl::Status left = interrupted ? candidacy.Leave() : absl::OkStatus();
      if (!interrupted) outcome = Fail(Exit::kError, "elect: session expired");
      if (!left.ok()) outcome = Fail(left);
    }
  }
  target.Set(nullptr);
  return outcome;
}

// Prints who leads, whenever that changes.
class Observer {
 public:
  Observer(Context& context, Session& session, const std::string& name)
      : context_(context), session_(session), prefix_(name + "/") {}

  void Interrupt() {
    absl::MutexLock lock(&mu_);
    over_ = true;
  }

  Outcome Run() {
    int64_t next = 0;
    Outcome outcome = Show(0, &next);
    etcdserverpb::WatchCreateRequest request;
    request.set_key(prefix_);
    request.set_range_end(kvstore::PrefixEnd(prefix_));
    request.set_start_revision(next);
    const auto watcher = session_.client->Watch(
        request, {.on_response =
                      [this](const etcdserverpb::WatchResponse& response) {
                        absl::MutexLock lock(&mu_);
                        for (const mvccpb::Event& event : response.events()) {
                          const int64_t revision = event.kv().mod_revision();
                          if (changes_.empty() || changes_.back() < revision) {
                            changes_.push_back(revision);
                          }
                        }
                      },
                  .on_end =
                      [this](const absl::Status&) {
                        absl::MutexLock lock(&mu_);
                        lost_ = over_ = true;
                      }});
    while (outcome.exit == Exit::kOk) {
      const std::vector<int64_t> changes = Await();
      if (changes.empty()) return lost_ ? Fail(Exit::kError, "elect: observer lost") : Done();
      for (const int64_t revision : changes) {
        if (outcome.exit == Exit::kOk) outcome = Show(revision, &next);
      }
    }
    return outcome;
  }

 private:
  // Revisions at which something changed; empty when it is over.
  std::vector<int64_t> Await() {
    const auto ready = [this]()
                           ABSL_NO_THREAD_SAFETY_ANALYSIS { return over_ || !changes_.empty(); };
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&ready));
    if (over_) return {};
    return std::exchange(changes_, {});
  }

  // The leader as of `revision` (0: now), unless it is the one that was shown last.
  Outcome Show(int64_t revision, int64_t* next) {
    etcdserverpb::RangeRequest request = kvstore::RangeOfPrefix(prefix_);
    request.set_sort_order(etcdserverpb::RangeRequest::ASCEND);
    request.set_sort_target(etcdserverpb::RangeRequest::CREATE);
    request.set_limit(1);
    request.set_revision(revision);
    auto answer = session_.client->Range(request);
    if (!answer.ok()) return Fail(answer.status());
    *next = answer->header().revision() + 1;
    if (answer->kvs().empty() || answer->kvs(0).mod_revision() == shown_) return Done();
    shown_ = answer->kvs(0).mod_revision();
    answer->clear_more();
    answer->clear_count();
    Outcome outcome = session_.printer->Range(*answer);
    context_.out.flush();
    return outcome;
  }

  Context& context_;
  Session& session_;
  const std::string prefix_;
  int64_t shown_ = 0;
  absl::Mutex mu_;
  std::vector<int64_t> changes_ ABSL_GUARDED_BY(mu_);
  bool over_ ABSL_GUARDED_BY(mu_) = false;
  bool lost_ = false;  // Written before over_.
};

Outcome Observe(Context& context, const std::string& name) {
  InterruptTarget target;
  const Interrupts interrupts([&target] { target.Interrupt(); });
  Session session;
  Outcome outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  Observer observer(context, session, name);
  target.Set([&observer] { observer.Interrupt(); });
  outcome = observer.Run();
  target.Set(nullptr);
  return outcome;
}

Outcome RunElect(Context& context, const QueueArguments& arguments) {
  const size_t words = arguments.words.size();
  if (words != 1 && words != 2) {
    return Fail(Exit::kBadArguments,
                "elect takes one election name argument and an optional proposal argument");
  }
  if (words == 1) {
    if (!arguments.listen) {
      return Fail(Exit::kBadArguments, "no proposal argument but -l not set");
    }
    return Observe(context, arguments.words[0]);
  }
  if (arguments.listen) return Fail(Exit::kBadArguments, "proposal given but -l is set");
  return Campaign(context, arguments.words[0], arguments.words[1]);
}

}  // namespace

void AddLock(CLI::App& root, Context& context) {
  const auto arguments = std::make_shared<QueueArguments>();
  CLI::App* lock = AddVerb(
      root, context,
      {"lock", "Acquires a named lock", "name-and-command",
       "Holds the lock until it is interrupted, or while the command runs, which finds\n"
       "ETCD_LOCK_KEY and ETCD_LOCK_REV. A command that fails makes the exit code 1.\n\n"
       "Examples:\n  kvctl lock jobs/nightly\n  kvctl lock jobs/nightly -- ./nightly.sh --all"},
      arguments, RunLock);
  lock->add_option("--ttl", arguments->ttl, "Seconds after which a lost holder loses the lock")
      ->capture_default_str();
}

void AddElect(CLI::App& root, Context& context) {
  const auto arguments = std::make_shared<QueueArguments>();
  CLI::App* elect =
      AddVerb(root, context,
              {"elect", "Observes and participates in leader election", "name-and-proposal",
               "With a proposal: waits until it leads, prints its key, and leads until it is "
               "interrupted.\n\n"
               "Examples:\n  kvctl elect primary node-1\n  kvctl elect primary --listen"},
              arguments, RunElect);
  elect->add_flag("-l,--listen", arguments->listen, "Print each leader, without being a candidate");
}

}  // namespace keelson::kvctl
