// alarm, defrag and move-leader.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file_system.h"
#include "kvstore/api/maintenance.pb.h"
#include "kvstore/cmd/format.h"
#include "kvstore/cmd/kv_requests.h"
#include "kvstore/cmd/verb.h"
#include "kvstore/cmd/verbs.h"

namespace keelson::kvctl {
namespace {

namespace pb = etcdserverpb;

struct MaintenanceArguments {
  std::vector<std::string> words;
  bool cluster = false;
  std::string data_dir;
};

// ---- alarm ----

Outcome Print(Session& session, const pb::AlarmResponse& answer) {
  std::string simple;
  std::string fields;
  for (const pb::AlarmMember& alarm : answer.alarms()) {
    const std::string& type = pb::AlarmType_Name(alarm.alarm());
    absl::StrAppend(&simple, "memberID:", alarm.memberid(), " alarm:", type, " \n");
    absl::StrAppend(&fields, "\"MemberID\" : ", alarm.memberid(), "\n\"AlarmType\" : ", type,
                    "\n\n");
  }
  return session.printer->Answer(answer, answer.header(), {.simple = simple, .fields = fields});
}

absl::StatusOr<pb::AlarmResponse> AskAlarms(kvstore::Client& client,
                                            pb::AlarmRequest::AlarmAction action,
                                            const pb::AlarmMember& member) {
  pb::AlarmRequest request;
  request.set_action(action);
  request.set_memberid(member.memberid());
  request.set_alarm(member.alarm());
  return Ask<pb::AlarmResponse>(client, "Maintenance/Alarm", request, true);
}

Outcome RunAlarmList(Context& context, const MaintenanceArguments& arguments) {
  if (!arguments.words.empty()) {
    return Fail(Exit::kBadArguments, "alarm list command accepts no arguments");
  }
  Session session;
  Outcome outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto answer = AskAlarms(*session.client, pb::AlarmRequest::GET, {});
  return answer.ok() ? Print(session, *answer) : Fail(answer.status());
}

Outcome RunAlarmDisarm(Context& context, const MaintenanceArguments& arguments) {
  if (!arguments.words.empty()) {
    return Fail(Exit::kBadArguments, "alarm disarm command accepts no arguments");
  }
  Session session;
  Outcome outcome = context.Open(&session);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto raised = AskAlarms(*session.client, pb::AlarmRequest::GET, {});
  if (!raised.ok()) return Fail(raised.status());
  pb::AlarmResponse ended;
  for (const pb::AlarmMember& alarm : raised->alarms()) {
    const auto answer = AskAlarms(*session.client, pb::AlarmRequest::DEACTIVATE, alarm);
    if (!answer.ok()) return Fail(answer.status());
    *ended.mutable_header() = answer->header();
    ended.mutable_alarms()->MergeFrom(answer->alarms());
  }
  return Print(session, ended);
}

// ---- defrag ----

// Neither server's files are touched: ours need it not, and etcd's are etcdctl's.
Outcome DefragmentFolder(Context& context, const std::string& data_dir) {
  const auto etcd = RealFileSystem().Exists(JoinPath(data_dir, "member/snap/db"));
  if (!etcd.ok()) return Fail(etcd.status());
  if (*etcd) {
    return Fail(Exit::kError, absl::StrCat("Failed to defragment etcd data[", data_dir,
                                           "] (it belongs to etcd; use its own tool)"));
  }
  context.out << "kvstored's data needs no defragmentation\n";
  return Done();
}

Outcome RunDefrag(Context& context, const MaintenanceArguments& arguments) {
  if (!arguments.data_dir.empty()) return DefragmentFolder(context, arguments.data_dir);
  std::vector<std::string> endpoints;
  Outcome outcome = context.FindEndpoints(arguments.cluster, &endpoints);
  if (outcome.exit != Exit::kOk) return outcome;
  bool failed = false;
  for (const std::string& endpoint : endpoints) {
    std::unique_ptr<kvstore::Client> client;
    outcome = context.ConnectTo({endpoint}, &client);
    if (outcome.exit != Exit::kOk) return outcome;
    const auto answer = Ask<pb::DefragmentResponse>(*client, "Maintenance/Defragment",
                                                    pb::DefragmentRequest(), true);
    if (answer.ok()) {
      context.out << "Finished defragmenting etcd member[" << endpoint << "]\n";
    } else {
      context.err << "Failed to defragment etcd member[" << endpoint << "] ("
                  << TextOf(answer.status()) << ")\n";
      failed = true;
    }
  }
  return {.exit = failed ? Exit::kError : Exit::kOk, .error = ""};
}

// ---- move-leader ----

// A client of the member that leads, among the endpoints given.
Outcome FindLeader(Context& context, std::unique_ptr<kvstore::Client>* leader, uint64_t* id) {
  const std::vector<std::string> endpoints = context.Endpoints();
  for (const std::string& endpoint : endpoints) {
    std::unique_ptr<kvstore::Client> client;
    Outcome outcome = context.ConnectTo({endpoint}, &client);
    if (outcome.exit != Exit::kOk) return outcome;
    const auto status = client->Status();
    if (!status.ok()) return Fail(status.status());
    if (status->leader() != status->header().member_id()) continue;
    *leader = std::move(client);
    *id = status->leader();
    return Done();
  }
  return Fail(Exit::kBadArguments,
              absl::StrCat("no leader endpoint given at [", absl::StrJoin(endpoints, " "), "]"));
}

Outcome RunMoveLeader(Context& context, const MaintenanceArguments& arguments) {
  if (arguments.words.size() != 1) {
    return Fail(Exit::kBadArguments, "move-leader command needs 1 argument");
  }
  uint64_t target = 0;
  Outcome outcome = ParseHexId(arguments.words[0], &target);
  if (outcome.exit != Exit::kOk) return outcome;
  std::unique_ptr<Printer> printer;
  outcome = context.MakePrinter(false, &printer);
  if (outcome.exit != Exit::kOk) return outcome;
  std::unique_ptr<kvstore::Client> leader;
  uint64_t from = 0;
  outcome = FindLeader(context, &leader, &from);
  if (outcome.exit != Exit::kOk) return outcome;
  pb::MoveLeaderRequest request;
  request.set_targetid(target);
  const auto answer = Ask<pb::MoveLeaderResponse>(*leader, "Maintenance/MoveLeader", request);
  if (!answer.ok()) return Fail(answer.status());
  return printer->Answer(*answer, answer->header(),
                         {.simple = absl::StrCat("Leadership transferred from ", IdText(from),
                                                 " to ", IdText(target), "\n"),
                          .fields = std::nullopt});
}

}  // namespace

void AddAlarm(CLI::App& root, Context& context) {
  const auto arguments = std::make_shared<MaintenanceArguments>();
  CLI::App& alarm = AddGroup(root, "alarm", "Alarm related commands",
                             "Examples:\n  kvctl alarm list\n  kvctl alarm disarm");
  AddVerb(alarm, context,
          {"list", "Lists all alarms", "words", "Examples:\n  kvctl alarm list -w json"}, arguments,
          RunAlarmList);
  AddVerb(alarm, context,
          {"disarm", "Disarms all alarms", "words",
           "kvstored ends an alarm for want of space by itself when there is space again.\n\n"
           "Examples:\n  kvctl alarm disarm"},
          arguments, RunAlarmDisarm);
}

void AddDefrag(CLI::App& root, Context& context) {
  const auto arguments = std::make_shared<MaintenanceArguments>();
  CLI::App* defrag = AddVerb(root, context,
                             {"defrag", "Defragments the endpoints' storage", nullptr,
                              "kvstored needs none and answers at once; etcd stops serving "
                              "meanwhile.\n\nExamples:\n  kvctl defrag --cluster"},
                             arguments, RunDefrag);
  defrag->add_flag("--cluster", arguments->cluster, "Use all endpoints of the member list");
  defrag->add_option("--data-dir", arguments->data_dir, "A folder that no server uses");
}

void AddMoveLeader(CLI::App& root, Context& context) {
  AddVerb(root, context,
          {"move-leader", "Hands leadership to another member", "memberID",
           "The leader must be among the endpoints.\n\n"
           "Examples:\n  kvctl move-leader 8211f1d0f64f3269"},
          std::make_shared<MaintenanceArguments>(), RunMoveLeader);
}

}  // namespace keelson::kvctl
