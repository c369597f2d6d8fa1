// kvstored: one member of a replicated key-value store that speaks etcd's v3 API.
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "base/event_loop.h"
#include "base/exit_code.h"
#include "base/logging.h"
#include "base/notify.h"
#include "base/signals.h"
#include "base/version.h"
#include "kvstore/config/options.h"
#include "kvstore/daemon/member.h"
#include "kvstore/gateway/command.h"
#include "kvstore/gateway/tcp_proxy.h"

namespace keelson::kvstore {
namespace {

std::vector<std::string> Environment() {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) all.emplace_back(*entry);
  return all;
}

// Every client needs a descriptor; systems give few by default and allow more.
void RaiseFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE,
                    &limit);  // Best effort: the old limit works, with fewer clients.
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "kvstored: %s\n", std::string(status.message()).c_str());
  return static_cast<int>(ExitCodeFor(status));
}

int Run(const CommandLine& line, SignalWaiter& signals) {
  const Options& options = line.options;
  InitLogging({.level = options.log_level,
               .format = options.log_format,
               .component = "kvstored",
               .background = true});
  for (const std::string& warning : line.warnings) LogWarning(warning);
  LogInfo("starting",
          {{"name", options.name}, {"version", Version()}, {"data_dir", options.data_dir}});

  Member::Hooks hooks;
  hooks.on_ready = [name = options.name,
                    version = options.etcd_version.substr(0, options.etcd_version.rfind('.'))] {
    // These words are what harnesses made for etcd wait for.
    LogInfo("published the member to the cluster", {{"name", name}});
    LogInfo("enabled capabilities for version", {{"version", version}});
    LogInfo("ready to serve client requests");
    (void)Notify("READY=1");
  };
  hooks.on_removed = [&signals] {
    LogError("the member has been permanently removed from the cluster");
    LogWarning("data-dir used by this member must be removed");
    signals.Wake();  // Ends as after SIGTERM, with exit code 0, as etcd.
  };
  hooks.on_fatal = [](const absl::Status& status) {
    LogError("cannot go on", {{"err", status}});
    ShutdownLogging();
    // No destructor may write to a disk that has failed.
    ::_exit(static_cast<int>(ExitCode::kFailed));
  };
  auto member = Member::Start(options, std::move(hooks));
  if (!member.ok()) {
    LogError("cannot start", {{"err", std::string(member.status().message())}});
    ShutdownLogging();
    return static_cast<int>(ExitCodeFor(member.status()));
  }
  for (const std::string& address : (*member)->client_addresses()) {
    LogInfo("serving client traffic", {{"address", address}});
  }

  // Nothing is reloaded yet, and a hang-up of the terminal is not a reason to stop.
  while (signals.Wait() == SIGHUP) {
  }
  LogInfo("stopping");
  (void)Notify("STOPPING=1");
  (*member)->Stop();
  member->reset();
  LogInfo("stopped");
  ShutdownLogging();
  return static_cast<int>(ExitCode::kDone);
}

int RunGateway(const std::vector<std::string>& arguments, SignalWaiter& signals) {
  absl::StatusOr<GatewayCommand> command = ParseGatewayCommand(arguments);
  if (!command.ok()) return Fail(command.status());
  if (command->help.has_value()) {
    std::fputs(command->help->c_str(), stdout);
    return static_cast<int>(ExitCode::kDone);
  }
  InitLogging({.component = "kvstored-gateway", .background = true});
  for (const std::string& warning : command->warnings) LogWarning(warning);
  command->options.on_unreachable = [](const std::string& endpoint, const absl::Status& why) {
    LogWarning("an endpoint cannot be reached", {{"endpoint", endpoint}, {"err", why}});
  };
  EventLoop loop("gateway");
  const auto proxy = TcpProxy::Start(loop, command->options);
  if (!proxy.ok()) {
    LogError("cannot start", {{"err", std::string(proxy.status().message())}});
    ShutdownLogging();
    return static_cast<int>(ExitCodeFor(proxy.status()));
  }
  LogInfo("ready to proxy client requests",
          {{"address", (*proxy)->address()},
           {"endpoints", absl::StrJoin(command->options.endpoints, ",")}});
  (void)Notify("READY=1");
  while (signals.Wait() == SIGHUP) {
  }
  LogInfo("stopping");
  (void)Notify("STOPPING=1");
  ShutdownLogging();
  return static_cast<int>(ExitCode::kDone);
}

int Main(int argc, char** argv) {
  // Debian's Abseil looks for lock cycles at each lock, gRPC's included: a tenth of the CPU time.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  SignalWaiter signals;
  (void)::umask(077);
  RaiseFileLimit();
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (!arguments.empty() && arguments[0] == "gateway") {
    return RunGateway({arguments.begin() + 1, arguments.end()}, signals);
  }
  const absl::StatusOr<CommandLine> line = ParseCommandLine(arguments, Environment());
  if (!line.ok()) return Fail(line.status());
  if (line->text.has_value()) {
    const std::string text = line->text->empty()
                                 ? absl::StrCat(VersionLine("kvstored"),
                                                "\netcd Version: ", Options().etcd_version, "\n")
                                 : *line->text;
    std::fputs(text.c_str(), stdout);
    return static_cast<int>(ExitCode::kDone);
  }
  return Run(*line, signals);
}

}  // namespace
}  // namespace keelson::kvstore

int main(int argc, char** argv) { return keelson::kvstore::Main(argc, argv); }
