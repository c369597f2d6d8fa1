// top: what the members are doing.
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "kvstore/cmd/format.h"
#include "kvstore/cmd/metrics_page.h"
#include "kvstore/cmd/verb.h"
#include "kvstore/cmd/verbs.h"

namespace keelson::kvctl {
namespace {

struct TopArguments {
  std::vector<std::string> words;
  std::string interval = "2s";
  std::string output;
  bool once = false;
};

// A part of a request's way whose time servers measure.
struct Phase {
  const char* name;
  const char* histogram;
};
constexpr Phase kPhases[] = {
    {"log sync", "etcd_disk_wal_fsync_duration_seconds"},
    {"database", "etcd_disk_backend_commit_duration_seconds"},
    {"apply", "etcd_server_apply_duration_seconds"},
    {"peers", "etcd_network_peer_round_trip_time_seconds"},
    {"call", "grpc_server_handling_seconds"},
};
constexpr double kSlowSeconds = 0.1;

// One look at a member.
struct Sample {
  absl::Time at;
  absl::StatusOr<etcdserverpb::StatusResponse> status = absl::UnknownError("not asked");
  absl::StatusOr<MetricsPage> page = absl::UnknownError("not asked");
};

struct PhaseTimes {
  double per_second = 0;
  double mean_ms = 0;
  double slow = 0;  // beyond kSlowSeconds, in the interval
};

// What two looks tell.
struct Row {
  std::string endpoint;
  std::string error;
  etcdserverpb::StatusResponse status;
  int64_t lag = 0;  // entries that the leader has and this one has not applied
  double pending = 0;
  std::map<std::string, double> requests;  // a second, by method
  std::map<std::string, PhaseTimes> phases;
};

std::vector<Sample> Look(Context& context, const std::vector<std::string>& endpoints,
                         const std::vector<std::unique_ptr<kvstore::Client>>& clients) {
  std::vector<Sample> samples(endpoints.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < endpoints.size(); ++i) {
    threads.emplace_back([&, i] {
      samples[i].status = clients[i]->Status();
      samples[i].page = FetchMetrics(context, endpoints[i]);
      samples[i].at = absl::Now();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return samples;
}

// Of a histogram: how many took longer than kSlowSeconds.
double SlowOnes(const MetricsPage& page, const std::string& histogram) {
  const double all = page.Sum(histogram + "_count", "");
  double bound = 0;
  double within = all;
  for (const auto& [text, count] : page.By(histogram + "_bucket", "le")) {
    double le = 0;
    if (!absl::SimpleAtod(text, &le) || le < kSlowSeconds || (bound != 0 && le >= bound)) continue;
    bound = le;
    within = count;
  }
  return all - within;
}

PhaseTimes TimesOf(const MetricsPage& before, const MetricsPage& now, const std::string& histogram,
                   double seconds) {
  const auto grown = [&](const char* part) {
    return now.Sum(histogram + part, "") - before.Sum(histogram + part, "");
  };
  const double count = grown("_count");
  return {.per_second = count / seconds,
          .mean_ms = count > 0 ? grown("_sum") / count * 1000 : 0,
          .slow = SlowOnes(now, histogram) - SlowOnes(before, histogram)};
}

Row Compare(const std::string& endpoint, const Sample& before, const Sample& now) {
  Row row;
  row.endpoint = endpoint;
  if (!now.status.ok()) {
    row.error = TextOf(now.status.status());
    return row;
  }
  row.status = *now.status;
  if (!now.page.ok() || !before.page.ok()) {
    row.error = TextOf(now.page.ok() ? before.page.status() : now.page.status());
    return row;
  }
  const double seconds = std::max(absl::ToDoubleSeconds(now.at - before.at), 0.001);
  row.pending = now.page->Get("etcd_server_proposals_pending").value_or(0);
  auto methods = before.page->By("grpc_server_started_total", "grpc_method");
  for (const auto& [method, count] : now.page->By("grpc_server_started_total", "grpc_method")) {
    const double rate = (count - methods[method]) / seconds;
    if (rate > 0) row.requests[method] = rate;
  }
  for (const Phase& phase : kPhases) {
    if (now.page->Sum(absl::StrCat(phase.histogram, "_count"), "") == 0) continue;
    row.phases[phase.name] = TimesOf(*before.page, *now.page, phase.histogram, seconds);
  }
  return row;
}

std::vector<Row> CompareAll(const std::vector<std::string>& endpoints,
                            const std::vector<Sample>& before, const std::vector<Sample>& now) {
  std::vector<Row> rows;
  uint64_t newest = 0;
  for (size_t i = 0; i < endpoints.size(); ++i) {
    rows.push_back(Compare(endpoints[i], before[i], now[i]));
    newest = std::max(newest, rows.back().status.raftindex());
  }
  for (Row& row : rows) {
    row.lag = static_cast<int64_t>(newest) - static_cast<int64_t>(row.status.raftappliedindex());
  }
  return rows;
}

bool Leads(const Row& row) {
  return row.status.leader() != 0 && row.status.leader() == row.status.header().member_id();
}

std::string JsonOf(const Row& row) {
  std::vector<std::string> requests;
  for (const auto& [method, rate] : row.requests) {
    requests.push_back(absl::StrFormat("%s:%.1f", JsonString(method), rate));
  }
  std::vector<std::string> phases;
  for (const auto& [name, times] : row.phases) {
    phases.push_back(absl::StrFormat("%s:{\"per_second\":%.1f,\"mean_ms\":%.3f,\"slow\":%.0f}",
                                     JsonString(name), times.per_second, times.mean_ms,
                                     times.slow));
  }
  return absl::StrCat(
      "{\"endpoint\":", JsonString(row.endpoint), ",\"error\":", JsonString(row.error),
      ",\"member_id\":", row.status.header().member_id(),
      ",\"leader\":", Leads(row) ? "true" : "false",
      ",\"learner\":", row.status.islearner() ? "true" : "false",
      ",\"term\":", row.status.raftterm(), ",\"revision\":", row.status.header().revision(),
      ",\"raft_index\":", row.status.raftindex(), ",\"lag\":", row.lag,
      ",\"pending\":", row.pending, ",\"db_size\":", row.status.dbsize(), ",\"requests\":{",
      absl::StrJoin(requests, ","), "},\"phases\":{", absl::StrJoin(phases, ","), "}}");
}

void PrintTable(Context& context, const std::vector<Row>& rows) {
  std::vector<std::vector<std::string>> members;
  std::vector<std::vector<std::string>> phases;
  for (const Row& row : rows) {
    double all = 0;
    std::vector<std::pair<double, std::string>> most;
    for (const auto& [method, rate] : row.requests) {
      all += rate;
      most.emplace_back(-rate, absl::StrFormat("%s %.0f", method, rate));
    }
    std::sort(most.begin(), most.end());
    if (most.size() > 3) most.resize(3);
    const std::string methods = absl::StrJoin(
        most, ", ", [](std::string* out, const auto& entry) { out->append(entry.second); });
    members.push_back({row.endpoint, IdText(row.status.header().member_id()),
                       !row.error.empty() && row.status.raftterm() == 0 ? "down"
                       : Leads(row)                                     ? "leader"
                       : row.status.islearner()                         ? "learner"
                                                                        : "follower",
                       absl::StrCat(row.status.header().revision()), absl::StrCat(row.lag),
                       absl::StrCat(row.pending),
                       SizeText(static_cast<uint64_t>(row.status.dbsize())),
                       absl::StrFormat("%.0f", all), row.error.empty() ? methods : row.error});
    for (const auto& [name, times] : row.phases) {
      phases.push_back({row.endpoint, name, absl::StrFormat("%.1f", times.per_second),
                        absl::StrFormat("%.3f", times.mean_ms),
                        absl::StrFormat("%.0f", times.slow)});
    }
  }
  context.out << Table(
      {"endpoint", "id", "role", "revision", "lag", "pending", "db size", "requests/s", "most"},
      members);
  if (!phases.empty()) {
    context.out << Table({"endpoint", "phase", "per second", "mean ms", "above 100 ms"}, phases);
  }
}

Outcome RunTop(Context& context, const TopArguments& arguments) {
  absl::Duration interval;
  if (!absl::ParseDuration(arguments.interval, &interval) || interval < absl::Milliseconds(100)) {
    return Fail(Exit::kBadArguments, "--interval needs a duration of 100ms at least");
  }
  const std::string& form = arguments.output.empty() ? context.flags.write_out : arguments.output;
  if (form != "simple" && form != "table" && form != "json") {
    return Fail(Exit::kBadFeature, absl::StrCat(form, " not supported as output format"));
  }
  std::vector<std::string> endpoints;
  Outcome outcome = context.FindEndpoints(true, &endpoints);
  if (outcome.exit != Exit::kOk) return outcome;
  std::vector<std::unique_ptr<kvstore::Client>> clients(endpoints.size());
  for (size_t i = 0; i < endpoints.size(); ++i) {
    outcome = context.ConnectTo({endpoints[i]}, &clients[i]);
    if (outcome.exit != Exit::kOk) return outcome;
  }
  std::vector<Sample> before = Look(context, endpoints, clients);
  do {
    absl::SleepFor(interval);
    std::vector<Sample> now = Look(context, endpoints, clients);
    const std::vector<Row> rows = CompareAll(endpoints, before, now);
    if (form == "json") {
      context.out << "{\"members\":["
                  << absl::StrJoin(rows, ",",
                                   [](std::string* out, const Row& row) { *out += JsonOf(row); })
                  << "]}\n";
    } else {
      if (!arguments.once) context.out << "\x1b[H\x1b[2J";
      PrintTable(context, rows);
    }
    context.out.flush();
    before = std::move(now);
  } while (!arguments.once && context.out);
  return Done();
}

}  // namespace

void AddTop(CLI::App& root, Context& context) {
  const auto arguments = std::make_shared<TopArguments>();
  CLI::App* top = AddVerb(
      root, context,
      {"top", "Shows what all members are doing", nullptr,
       "Who leads, how many entries each is behind, requests a second by method, and how long the\n"
       "parts of a request's way take, as far as the server measures them.\n\n"
       "Examples:\n  kvctl top\n  kvctl top --once --output=json"},
      arguments, RunTop);
  top->add_flag("--once", arguments->once, "Look at one interval, print it and end");
  top->add_option("--interval", arguments->interval, "Time between two looks")
      ->capture_default_str();
  top->add_option("--output", arguments->output, "table or json; as --write-out by default");
}

}  // namespace keelson::kvctl
