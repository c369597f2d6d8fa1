// The simple and table forms, for people.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kvstore/cmd/format.h"
#include "kvstore/cmd/printer.h"

namespace keelson::kvctl {
namespace {

class SimplePrinter final : public Printer {
 public:
  SimplePrinter(const PrinterOptions& options, std::ostream& out, std::ostream& err)
      : options_(options), out_(out), err_(err) {}

  Outcome Range(const etcdserverpb::RangeResponse& response) override {
    for (const mvccpb::KeyValue& kv : response.kvs()) Pair(kv, options_.value_only);
    return Done();
  }
  Outcome Put(const etcdserverpb::PutResponse& response) override {
    out_ << "OK\n";
    if (response.has_prev_kv()) Pair(response.prev_kv(), false);
    return Done();
  }
  Outcome Delete(const etcdserverpb::DeleteRangeResponse& response) override {
    out_ << response.deleted() << "\n";
    for (const mvccpb::KeyValue& kv : response.prev_kvs()) Pair(kv, false);
    return Done();
  }
  Outcome Txn(const etcdserverpb::TxnResponse& response) override {
    out_ << (response.succeeded() ? "SUCCESS\n" : "FAILURE\n");
    for (const etcdserverpb::ResponseOp& op : response.responses()) {
      out_ << "\n";
      if (op.has_response_range()) Range(op.response_range());
      if (op.has_response_put()) Put(op.response_put());
      if (op.has_response_delete_range()) Delete(op.response_delete_range());
      if (op.has_response_txn()) Txn(op.response_txn());
    }
    return Done();
  }
  Outcome Watch(const etcdserverpb::WatchResponse& response) override {
    if (response.events().empty()) {
      out_ << "progress notify: " << response.header().revision() << "\n";
    }
    for (const mvccpb::Event& event : response.events()) {
      out_ << mvccpb::Event::EventType_Name(event.type()) << "\n";
      if (event.has_prev_kv()) Pair(event.prev_kv(), false);
      Pair(event.kv(), false);
    }
    return Done();
  }
  Outcome Grant(const etcdserverpb::LeaseGrantResponse& response) override {
    out_ << "lease " << LeaseIdText(response.id()) << " granted with TTL(" << response.ttl()
         << "s)\n";
    return Done();
  }
  Outcome Revoke(const etcdserverpb::LeaseRevokeResponse& /*response*/, int64_t lease) override {
    out_ << "lease " << LeaseIdText(lease) << " revoked\n";
    return Done();
  }
  Outcome TimeToLive(const etcdserverpb::LeaseTimeToLiveResponse& response, bool keys) override {
    const std::string id = LeaseIdText(response.id());
    if (response.grantedttl() == 0 && response.ttl() == -1) {
      out_ << "lease " << id << " already expired\n";
      return Done();
    }
    out_ << "lease " << id << " granted with TTL(" << response.grantedttl() << "s), remaining("
         << response.ttl() << "s)";
    if (keys) out_ << ", attached keys([" << absl::StrJoin(response.keys(), " ") << "])";
    out_ << "\n";
    return Done();
  }
  Outcome Leases(const etcdserverpb::LeaseLeasesResponse& response) override {
    out_ << "found " << response.leases_size() << " leases\n";
    for (const etcdserverpb::LeaseStatus& lease : response.leases()) {
      out_ << LeaseIdText(lease.id()) << "\n";
    }
    return Done();
  }
  Outcome KeepAlive(const etcdserverpb::LeaseKeepAliveResponse& response) override {
    out_ << "lease " << LeaseIdText(response.id()) << " keepalived with TTL(" << response.ttl()
         << ")\n";
    return Done();
  }
  Outcome Members(const etcdserverpb::MemberListResponse& response) override {
    for (const etcdserverpb::Member& member : response.members()) {
      out_ << absl::StrJoin(MemberCells(member), ", ") << "\n";
    }
    return Done();
  }
  Outcome MemberAdd(const etcdserverpb::MemberAddResponse& response) override {
    return Changed("added to", response, response.member().id());
  }
  Outcome MemberRemove(const etcdserverpb::MemberRemoveResponse& response, uint64_t id) override {
    return Changed("removed from", response, id);
  }
  Outcome MemberUpdate(const etcdserverpb::MemberUpdateResponse& response, uint64_t id) override {
    return Changed("updated in", response, id);
  }
  Outcome MemberPromote(const etcdserverpb::MemberPromoteResponse& response, uint64_t id) override {
    return Changed("promoted in", response, id);
  }
  Outcome Status(const std::vector<EndpointStatus>& statuses) override {
    for (const EndpointStatus& status : statuses) {
      out_ << absl::StrJoin(StatusCells(status), ", ") << "\n";
    }
    return Done();
  }
  Outcome Health(const std::vector<EndpointHealth>& healths) override {
    for (const EndpointHealth& health : healths) {
      if (health.status.ok()) {
        err_ << health.endpoint
             << " is healthy: successfully committed proposal: took = " << DurationText(health.took)
             << "\n";
      } else {
        err_ << health.endpoint
             << " is unhealthy: failed to commit proposal: " << TextOf(health.status) << "\n";
      }
    }
    return Done();
  }
  Outcome Hashes(const std::vector<EndpointHash>& hashes) override {
    for (const EndpointHash& hash : hashes) {
      out_ << hash.endpoint << ", " << hash.hash.hash() << "\n";
    }
    return Done();
  }
  Outcome Snapshot(const SnapshotSummary& snapshot) override {
    out_ << absl::StrJoin(SnapshotCells(snapshot), ", ") << "\n";
    return Done();
  }
  Outcome Answer(const google::protobuf::Message& /*response*/,
                 const etcdserverpb::ResponseHeader& /*header*/,
                 const AnswerForms& forms) override {
    out_ << forms.simple;
    return Done();
  }

 private:
  template <typename Response>
  Outcome Changed(const char* how, const Response& response, uint64_t id) {
    out_ << "Member " << absl::StrCat(absl::Hex(id, absl::kSpacePad16)) << " " << how << " cluster "
         << absl::StrCat(absl::Hex(response.header().cluster_id(), absl::kSpacePad16)) << "\n";
    return Done();
  }
  [[nodiscard]] std::string Name() const override { return "simple"; }

  void Pair(const mvccpb::KeyValue& kv, bool value_only) {
    if (!value_only) out_ << (options_.hex ? Hex(kv.key()) : kv.key()) << "\n";
    out_ << (options_.hex ? Hex(kv.value()) : kv.value()) << "\n";
  }

  const PrinterOptions options_;
  std::ostream& out_;
  std::ostream& err_;
};

class TablePrinter final : public Printer {
 public:
  explicit TablePrinter(std::ostream& out) : out_(out) {}

  Outcome Members(const etcdserverpb::MemberListResponse& response) override {
    std::vector<std::vector<std::string>> rows;
    for (const etcdserverpb::Member& member : response.members())
      rows.push_back(MemberCells(member));
    out_ << Table({"ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"}, rows);
    return Done();
  }
  Outcome Status(const std::vector<EndpointStatus>& statuses) override {
    std::vector<std::vector<std::string>> rows;
    for (const EndpointStatus& status : statuses) rows.push_back(StatusCells(status));
    out_ << Table({"endpoint", "ID", "version", "db size", "is leader", "is learner", "raft term",
                   "raft index", "raft applied index", "errors"},
                  rows);
    return Done();
  }
  Outcome Health(const std::vector<EndpointHealth>& healths) override {
    std::vector<std::vector<std::string>> rows;
    for (const EndpointHealth& health : healths) {
      rows.push_back({health.endpoint, health.status.ok() ? "true" : "false",
                      DurationText(health.took), health.status.ok() ? "" : TextOf(health.status)});
    }
    out_ << Table({"endpoint", "health", "took", "error"}, rows);
    return Done();
  }
  Outcome Hashes(const std::vector<EndpointHash>& hashes) override {
    std::vector<std::vector<std::string>> rows;
    for (const EndpointHash& hash : hashes) {
      rows.push_back({hash.endpoint, absl::StrCat(hash.hash.hash())});
    }
    out_ << Table({"endpoint", "hash"}, rows);
    return Done();
  }
  Outcome Snapshot(const SnapshotSummary& snapshot) override {
    out_ << Table({"hash", "revision", "total keys", "total size"}, {SnapshotCells(snapshot)});
    return Done();
  }

 private:
  [[nodiscard]] std::string Name() const override { return "table"; }

  std::ostream& out_;
};

const char* BoolText(bool value) { return value ? "true" : "false"; }

}  // namespace

std::vector<std::string> MemberCells(const etcdserverpb::Member& member) {
  return {IdText(member.id()),
          member.name().empty() ? "unstarted" : "started",
          member.name(),
          absl::StrJoin(member.peerurls(), ","),
          absl::StrJoin(member.clienturls(), ","),
          BoolText(member.islearner())};
}

std::vector<std::string> StatusCells(const EndpointStatus& status) {
  const etcdserverpb::StatusResponse& answer = status.status;
  return {status.endpoint,
          IdText(answer.header().member_id()),
          answer.version(),
          SizeText(static_cast<uint64_t>(answer.dbsize())),
          BoolText(answer.leader() == answer.header().member_id()),
          BoolText(answer.islearner()),
          absl::StrCat(answer.raftterm()),
          absl::StrCat(answer.raftindex()),
          absl::StrCat(answer.raftappliedindex()),
          absl::StrJoin(answer.errors(), ", ")};
}

std::vector<std::string> SnapshotCells(const SnapshotSummary& snapshot) {
  return {absl::StrCat(absl::Hex(snapshot.hash)), absl::StrCat(snapshot.revision),
          absl::StrCat(snapshot.rows), SizeText(snapshot.bytes)};
}

std::unique_ptr<Printer> MakeSimplePrinter(const PrinterOptions& options, std::ostream& out,
                                           std::ostream& err) {
  return std::make_unique<SimplePrinter>(options, out, err);
}

std::unique_ptr<Printer> MakeTablePrinter(std::ostream& out) {
  return std::make_unique<TablePrinter>(out);
}

std::unique_ptr<Printer> MakePrinter(const std::string& form, const PrinterOptions& options,
                                     std::ostream& out, std::ostream& err) {
  if (form == "simple") return MakeSimplePrinter(options, out, err);
  if (form == "fields") return MakeFieldsPrinter(out);
  if (form == "json") return MakeJsonPrinter(out);
  if (form == "protobuf") return MakeProtobufPrinter(out);
  if (form == "table") return MakeTablePrinter(out);
  return nullptr;
}

}  // namespace keelson::kvctl
