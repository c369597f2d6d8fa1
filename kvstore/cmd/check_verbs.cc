// check perf and check datascale.
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kvstore/api/maintenance.pb.h"
#include "kvstore/cmd/format.h"
#include "kvstore/cmd/load.h"
#include "kvstore/cmd/metrics_page.h"
#include "kvstore/cmd/verb.h"
#include "kvstore/cmd/verbs.h"

namespace keelson::kvctl {
namespace {

struct CheckArguments {
  std::vector<std::string> words;
  std::string load = "s";
  std::string prefix;
  bool auto_compact = false;
  bool auto_defrag = false;
};

struct Model {
  int rate;  // of perf: puts a second
  int puts;  // of datascale
  int clients;
};

constexpr int kPerfSeconds = 60;

// The model that --load names.
Outcome FindModel(const CheckArguments& arguments, Model* model) {
  static const std::map<std::string, Model> kModels = {
      {"s", {150, 10'000, 50}},         {"small", {150, 10'000, 50}},
      {"m", {1000, 100'000, 200}},      {"medium", {1000, 100'000, 200}},
      {"l", {8000, 1'000'000, 500}},    {"large", {8000, 1'000'000, 500}},
      {"xl", {15000, 3'000'000, 1000}}, {"xLarge", {15000, 3'000'000, 1000}},
  };
  const auto found = kModels.find(arguments.load);
  if (found == kModels.end()) {
    return Fail(Exit::kBadFeature, absl::StrCat("unknown load option ", arguments.load));
  }
  *model = found->second;
  return Done();
}

using Clients = std::vector<std::unique_ptr<kvstore::Client>>;

// As many clients as the model asks for, and a look that the prefix is free.
Outcome Prepare(Context& context, const CheckArguments& arguments, int count, Clients* clients) {
  clients->resize(static_cast<size_t>(count));
  for (auto& client : *clients) {
    Outcome outcome = context.Connect(&client);
    if (outcome.exit != Exit::kOk) return outcome;
  }
  etcdserverpb::RangeRequest request = kvstore::RangeOfPrefix(arguments.prefix);
  request.set_limit(1);
  const auto found = clients->front()->Range(request);
  if (!found.ok()) return Fail(found.status());
  if (found->kvs().empty()) return Done();
  return Fail(Exit::kInvalidInput, absl::StrCat("prefix ", Quote(arguments.prefix),
                                                " has keys. Delete with etcdctl del --prefix ",
                                                arguments.prefix, " first"));
}

// Removes what was written, and does what the --auto flags say.
Outcome CleanUp(Context& context, const CheckArguments& arguments, kvstore::Client& client) {
  const auto deleted = client.DeleteRange(kvstore::DeleteOfPrefix(arguments.prefix));
  if (!deleted.ok()) return Fail(deleted.status());
  if (arguments.auto_compact) {
    etcdserverpb::CompactionRequest request;
    request.set_revision(deleted->header().revision());
    request.set_physical(true);
    context.out << "Compacting with revision " << request.revision() << "\n";
    const auto compacted = client.Compact(request);
    if (!compacted.ok()) return Fail(compacted.status());
    context.out << "Compacted with revision " << request.revision() << "\n";
  }
  if (!arguments.auto_defrag) return Done();
  for (const std::string& endpoint : context.Endpoints()) {
    context.out << "Defragmenting " << Quote(endpoint) << "\n";
    std::unique_ptr<kvstore::Client> one;
    Outcome outcome = context.ConnectTo({endpoint}, &one);
    if (outcome.exit != Exit::kOk) return outcome;
    const auto answer = Ask<etcdserverpb::DefragmentResponse>(
        *one, "Maintenance/Defragment", etcdserverpb::DefragmentRequest(), true);
    if (!answer.ok()) return Fail(answer.status());
    context.out << "Defragmented " << Quote(endpoint) << "\n";
  }
  return Done();
}

bool PrintErrors(Context& context, const LoadReport& report) {
  if (report.errors.empty()) return false;
  context.out << "FAIL: too many errors\n";
  for (const auto& [text, count] : report.errors) {
    context.out << "FAIL: ERROR(" << text << ") -> " << count << "\n";
  }
  return true;
}

// The verdict, in etcdctl's lines.
Outcome Judge(Context& context, const LoadReport& report, int rate) {
  bool good = !PrintErrors(context, report);
  const int throughput = static_cast<int>(report.per_second) + 1;
  if (report.per_second / rate <= 0.9) {
    context.out << "FAIL: Throughput too low: " << throughput << " writes/s\n";
    good = false;
  } else {
    context.out << "PASS: Throughput is " << throughput << " writes/s\n";
  }
  if (report.slowest > 0.5) {
    context.out << absl::StrFormat("Slowest request took too long: %fs\n", report.slowest);
    good = false;
  } else {
    context.out << absl::StrFormat("PASS: Slowest request took %fs\n", report.slowest);
  }
  if (report.deviation > 0.1) {
    context.out << absl::StrFormat("Stddev too high: %fs\n", report.deviation);
    good = false;
  } else {
    context.out << absl::StrFormat("PASS: Stddev is %fs\n", report.deviation);
  }
  context.out << (good ? "PASS\n" : "FAIL\n");
  return {.exit = good ? Exit::kOk : Exit::kError, .error = ""};
}

Outcome RunPerf(Context& context, const CheckArguments& arguments) {
  Model model = {};
  Outcome outcome = FindModel(arguments, &model);
  if (outcome.exit != Exit::kOk) return outcome;
  Clients clients;
  outcome = Prepare(context, arguments, model.clients, &clients);
  if (outcome.exit != Exit::kOk) return outcome;
  Load load;
  load.prefix = arguments.prefix;
  load.key_bytes = 256;
  load.value_bytes = 1024;
  load.duration = absl::Seconds(kPerfSeconds);
  load.rate = model.rate;
  const LoadReport report = RunLoad(load, clients);
  outcome = CleanUp(context, arguments, *clients.front());
  return outcome.exit == Exit::kOk ? Judge(context, report, model.rate) : outcome;
}

// The server's memory, or nothing and a line that says so.
std::optional<double> ReadMemory(Context& context, const char* when) {
  const auto page = FetchMetrics(context, context.Endpoints().front());
  const std::optional<double> bytes =
      page.ok() ? page->Get("process_resident_memory_bytes") : std::nullopt;
  if (!bytes.has_value()) {
    context.out << "FAIL: Could not read process_resident_memory_bytes " << when
                << " the put operations.\n";
  }
  return bytes;
}

Outcome RunDatascale(Context& context, const CheckArguments& arguments) {
  Model model = {};
  Outcome outcome = FindModel(arguments, &model);
  if (outcome.exit != Exit::kOk) return outcome;
  Clients clients;
  outcome = Prepare(context, arguments, model.clients, &clients);
  if (outcome.exit != Exit::kOk) return outcome;
  const std::optional<double> before = ReadMemory(context, "before");
  if (!before.has_value()) return {.exit = Exit::kError, .error = ""};
  Load load;
  load.prefix = arguments.prefix;
  load.key_bytes = 512;
  load.value_bytes = 512;
  load.puts = static_cast<uint64_t>(model.puts);
  context.out << "Start data scale check for work load [" << model.puts
              << " key-value pairs, 1024 bytes per key-value, " << model.clients
              << " concurrent clients].\n"
              << std::flush;
  const LoadReport report = RunLoad(load, clients);
  const std::optional<double> after = ReadMemory(context, "after");
  outcome = CleanUp(context, arguments, *clients.front());
  if (outcome.exit != Exit::kOk) return outcome;
  if (PrintErrors(context, report) || !after.has_value())
    return {.exit = Exit::kError, .error = ""};
  context.out << absl::StrFormat("PASS: Approximate system memory used : %.2f MB.\n",
                                 (*after - *before) / (1024 * 1024));
  return Done();
}

void AddFlags(CLI::App& app, CheckArguments& arguments) {
  app.add_option("--load", arguments.load, "The workload: s, m, l or xl")->capture_default_str();
  app.add_option("--prefix", arguments.prefix, "What the keys begin with; none may be there yet")
      ->capture_default_str();
  app.add_flag("--auto-compact", arguments.auto_compact, "Compact the history afterwards");
  app.add_flag("--auto-defrag", arguments.auto_defrag, "Defragment the endpoints afterwards");
}

}  // namespace

void AddCheck(CLI::App& root, Context& context) {
  CLI::App& check = AddGroup(root, "check", "Checks properties of the cluster",
                             "Examples:\n  kvctl check perf --load=m");
  const auto perf = std::make_shared<CheckArguments>();
  perf->prefix = "/etcdctl-check-perf/";
  AddFlags(*AddVerb(check, context,
                    {"perf", "Puts for a minute, and says whether that went well", nullptr,
                     "Well: 90 % of the rate, no put above 500 ms, a deviation below 100 ms.\n"
                     "s is 150 puts a second by 50 clients, m 1000 by 200, l 8000 by 500, xl 15000 "
                     "by 1000.\n\nExamples:\n  kvctl check perf --load=s"},
                    perf, RunPerf),
           *perf);
  const auto scale = std::make_shared<CheckArguments>();
  scale->prefix = "/etcdctl-check-datascale/";
  AddFlags(
      *AddVerb(check, context,
               {"datascale", "Shows how much memory the first endpoint takes for keys", nullptr,
                "s is 10,000 pairs of 1 KiB, m 100,000, l 1,000,000, xl 3,000,000.\n\n"
                "Examples:\n  kvctl check datascale --load=s --auto-compact"},
               scale, RunDatascale),
      *scale);
}

}  // namespace keelson::kvctl
