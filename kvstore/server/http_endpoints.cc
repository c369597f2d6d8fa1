#include "kvstore/server/http_endpoints.h"

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kvstore/config/identity.h"
#include "kvstore/server/raft_state.h"

namespace keelson::kvstore {
namespace {

using Writer = std::shared_ptr<http::ResponseWriter>;

// The query's fields; a broken one counts as none.
std::vector<http::Header> QueryOf(const http::Request& request) {
  return http::ParseForm(request.Query()).value_or(std::vector<http::Header>{});
}

std::set<std::string> ValuesOf(const std::vector<http::Header>& query, const std::string& name) {
  std::set<std::string> values;
  for (const http::Header& field : query) {
    if (field.name == name) values.insert(field.value);
  }
  return values;
}

// --- /health ---

void SendHealth(Server* server, const Writer& writer, const std::string& reason) {
  const bool healthy = reason.empty();
  (healthy ? server->counters().health_successes : server->counters().health_failures).fetch_add(1);
  // Only our own words and etcd's texts come here: nothing needs escaping. etcd gives reasons from
  // 3.5 on.
  const std::string why = server->options().version.starts_with("3.4.")
                              ? ""
                              : absl::StrCat(R"(,"reason":")", reason, "\"");
  writer->Send(http::JsonResponse(
      healthy ? 200 : 503,
      absl::StrCat(R"({"health":")", healthy ? "true" : "false", "\"", why, "}")));
}

void ServeHealth(Server* server, const http::Request& request, const Writer& writer) {
  const std::vector<http::Header> query = QueryOf(request);
  const bool serializable = ValuesOf(query, "serializable").contains("true");
  const std::set<std::string> excluded = ValuesOf(query, "exclude");
  for (const auto& [type, name] :
       {std::pair(etcdserverpb::NOSPACE, "NOSPACE"), std::pair(etcdserverpb::CORRUPT, "CORRUPT")}) {
    if (server->HasAlarm(type) && !excluded.contains(name)) {
      return SendHealth(server, writer, absl::StrCat("ALARM ", name));
    }
  }
  if (!serializable && !server->HasLeader()) return SendHealth(server, writer, "RAFT NO LEADER");
  server->CheckRead(serializable, [server, writer](const absl::Status& status) {
    SendHealth(server, writer, status.ok() ? "" : absl::StrCat("RANGE ERROR:", status.message()));
  });
}

// --- /livez and /readyz ---

struct Check {
  std::string name;
  bool linearizable = false;  // else the read is local
  bool always_ok = false;     // what cannot go wrong here yet
  bool corruption = false;    // no read: whether an alarm says that data are damaged
  bool no_learner = false;    // instead of a read
};

struct CheckRun {
  Server* server = nullptr;
  Writer writer;
  bool verbose = false;
  std::vector<Check> checks;
  std::string lines;
  bool failed = false;
};

void SendChecks(const CheckRun& run) {
  std::string body = run.failed || run.verbose ? run.lines : "";
  if (!run.failed) body += "ok\n";
  http::Response response = http::TextResponse(run.failed ? 503 : 200, std::move(body));
  response.headers.Set("X-Content-Type-Options", "nosniff");
  run.writer->Send(std::move(response));
}

// Runs the checks from number `next` on, one after the other, then answers.
void RunChecks(const std::shared_ptr<CheckRun>& run, size_t next) {
  if (next == run->checks.size()) return SendChecks(*run);
  const Check& check = run->checks[next];
  const auto done = [run, next](const absl::Status& status) {
    const std::string& name = run->checks[next].name;
    if (status.ok()) {
      absl::StrAppend(&run->lines, "[+]", name, " ok\n");
    } else {
      run->failed = true;
      absl::StrAppend(&run->lines, "[-]", name, " failed: ", status.message(), "\n");
    }
    RunChecks(run, next + 1);
  };
  if (check.always_ok) return done(absl::OkStatus());
  if (check.corruption) {
    return done(run->server->HasAlarm(etcdserverpb::CORRUPT)
                    ? absl::DataLossError("alarm activated: CORRUPT")
                    : absl::OkStatus());
  }
  if (check.no_learner) {
    return done(run->server->IsLearner() ? absl::UnavailableError("the local member is a learner")
                                         : absl::OkStatus());
  }
  run->server->CheckRead(!check.linearizable, done);
}

void ServeChecks(Server* server, std::vector<Check> checks, const http::Request& request,
                 const Writer& writer) {
  const std::vector<http::Header> query = QueryOf(request);
  const std::set<std::string> excluded = ValuesOf(query, "exclude");
  auto run = std::make_shared<CheckRun>();
  run->server = server;
  run->writer = writer;
  run->verbose = !ValuesOf(query, "verbose").empty();
  for (Check& check : checks) {
    if (!excluded.contains(check.name)) run->checks.push_back(std::move(check));
  }
  RunChecks(run, 0);
}

void AddChecks(http::Router& router, Server* server, const std::string& path,
               const std::vector<Check>& checks) {
  router.Handle("GET", path, [server, checks](const http::Request& request, const Writer& writer) {
    ServeChecks(server, checks, request, writer);
  });
  for (const Check& check : checks) {
    router.Handle("GET", absl::StrCat(path, "/", check.name),
                  [server, check](const http::Request& request, const Writer& writer) {
                    ServeChecks(server, {check}, request, writer);
                  });
  }
}

// As the expvar page of etcd has it, without the command line and what is Go's.
std::string DebugVars(Server* server) {
  etcdserverpb::StatusResponse status;
  server->GetStatus(&status);
  const std::string_view state = RaftStateName(server->Peek().soft_state.role);
  return absl::StrCat(R"({"raft.status":{"id":")", FormatId(status.header().member_id()),
                      R"(","term":)", status.raftterm(), R"(,"commit":)", status.raftindex(),
                      R"(,"lead":")", FormatId(status.leader()), R"(","raftState":")",
                      absl::string_view(state.data(), state.size()), R"(","applied":)",
                      status.raftappliedindex(), "}}");
}

}  // namespace

std::string ClusterVersionOf(const std::string& version) {
  return absl::StrCat(version.substr(0, version.rfind('.')), ".0");
}

void AddHttpEndpoints(http::Router& router, Server* server, MetricRegistry* metrics) {
  router.Handle("GET", "/health", [server](const http::Request& request, const Writer& writer) {
    ServeHealth(server, request, writer);
  });
  router.Handle("GET", "/version", [server](const http::Request&, const Writer& writer) {
    const std::string& version = server->options().version;
    const std::string cluster = ClusterVersionOf(version);
    writer->Send(
        http::JsonResponse(200, absl::StrCat(R"({"etcdserver":")", version, R"(","etcdcluster":")",
                                             cluster, R"(","storage":")", cluster, "\"}")));
  });
  router.Handle("GET", "/debug/vars", [server](const http::Request&, const Writer& writer) {
    writer->Send(http::JsonResponse(200, DebugVars(server)));
  });
  router.Handle("GET", "/metrics", [metrics](const http::Request&, const Writer& writer) {
    http::Response response;
    response.headers.Add("Content-Type", std::string(kMetricsContentType));
    response.body = metrics->Text();
    writer->Send(std::move(response));
  });
  AddChecks(router, server, "/livez", {{.name = "serializable_read"}});
  AddChecks(router, server, "/readyz",
            {{.name = "data_corruption", .corruption = true},
             {.name = "serializable_read"},
             {.name = "linearizable_read", .linearizable = true},
             {.name = "non_learner", .no_learner = true}});
}

}  // namespace keelson::kvstore
