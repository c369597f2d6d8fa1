// The fields form: one `"Name" : value` a line, for grep and awk.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kvstore/cmd/format.h"
#include "kvstore/cmd/printer.h"

namespace keelson::kvctl {
namespace {

class FieldsPrinter final : public Printer {
 public:
  explicit FieldsPrinter(std::ostream& out) : out_(out) {}

  Outcome Range(const etcdserverpb::RangeResponse& response) override {
    Header(response.header());
    for (const mvccpb::KeyValue& kv : response.kvs()) Pair("", kv);
    Line("More", Bool(response.more()));
    Line("Count", response.count());
    return Done();
  }
  Outcome Put(const etcdserverpb::PutResponse& response) override {
    Header(response.header());
    if (response.has_prev_kv()) Pair("Prev", response.prev_kv());
    return Done();
  }
  Outcome Delete(const etcdserverpb::DeleteRangeResponse& response) override {
    Header(response.header());
    Line("Deleted", response.deleted());
    for (const mvccpb::KeyValue& kv : response.prev_kvs()) Pair("Prev", kv);
    return Done();
  }
  Outcome Txn(const etcdserverpb::TxnResponse& response) override {
    Header(response.header());
    Line("Succeeded", Bool(response.succeeded()));
    for (const etcdserverpb::ResponseOp& op : response.responses()) {
      if (op.has_response_range()) Range(op.response_range());
      if (op.has_response_put()) Put(op.response_put());
      if (op.has_response_delete_range()) Delete(op.response_delete_range());
      if (op.has_response_txn()) Txn(op.response_txn());
    }
    return Done();
  }
  Outcome Watch(const etcdserverpb::WatchResponse& response) override {
    Header(response.header());
    for (const mvccpb::Event& event : response.events()) {
      Line("Type", mvccpb::Event::EventType_Name(event.type()));
      if (event.has_prev_kv()) Pair("Prev", event.prev_kv());
      Pair("", event.kv());
    }
    return Done();
  }
  Outcome Grant(const etcdserverpb::LeaseGrantResponse& response) override {
    Header(response.header());
    Line("ID", response.id());
    Line("TTL", response.ttl());
    return Done();
  }
  Outcome Revoke(const etcdserverpb::LeaseRevokeResponse& response, int64_t /*lease*/) override {
    Header(response.header());
    return Done();
  }
  Outcome TimeToLive(const etcdserverpb::LeaseTimeToLiveResponse& response,
                     bool /*keys*/) override {
    Header(response.header());
    Line("ID", response.id());
    Line("TTL", response.ttl());
    Line("GrantedTTL", response.grantedttl());
    for (const std::string& key : response.keys()) Line("Key", Quote(key));
    return Done();
  }
  Outcome Leases(const etcdserverpb::LeaseLeasesResponse& response) override {
    Header(response.header());
    for (const etcdserverpb::LeaseStatus& lease : response.leases()) Line("ID", lease.id());
    return Done();
  }
  Outcome KeepAlive(const etcdserverpb::LeaseKeepAliveResponse& response) override {
    Header(response.header());
    Line("ID", response.id());
    Line("TTL", response.ttl());
    return Done();
  }
  Outcome Members(const etcdserverpb::MemberListResponse& response) override {
    Header(response.header());
    for (const etcdserverpb::Member& member : response.members()) {
      Line("ID", member.id());
      Line("Name", Quote(member.name()));
      for (const std::string& url : member.peerurls()) Line("PeerURL", Quote(url));
      for (const std::string& url : member.clienturls()) Line("ClientURL", Quote(url));
      Line("IsLearner", Bool(member.islearner()));
      out_ << "\n";
    }
    return Done();
  }
  Outcome Status(const std::vector<EndpointStatus>& statuses) override {
    for (const EndpointStatus& endpoint : statuses) {
      const etcdserverpb::StatusResponse& status = endpoint.status;
      Header(status.header());
      Line("Version", Quote(status.version()));
      Line("DBSize", status.dbsize());
      Line("Leader", status.leader());
      Line("IsLearner", Bool(status.islearner()));
      Line("RaftIndex", status.raftindex());
      Line("RaftTerm", status.raftterm());
      Line("RaftAppliedIndex", status.raftappliedindex());
      Line("Errors", absl::StrCat("[", absl::StrJoin(status.errors(), " "), "]"));
      Line("Endpoint", Quote(endpoint.endpoint));
      out_ << "\n";
    }
    return Done();
  }
  Outcome Health(const std::vector<EndpointHealth>& healths) override {
    for (const EndpointHealth& health : healths) {
      Line("Endpoint", Quote(health.endpoint));
      Line("Health", Bool(health.status.ok()));
      Line("Took", DurationText(health.took));
      Line("Error", health.status.ok() ? "" : TextOf(health.status));
      out_ << "\n";
    }
    return Done();
  }
  Outcome Hashes(const std::vector<EndpointHash>& hashes) override {
    for (const EndpointHash& hash : hashes) {
      Header(hash.hash.header());
      Line("Endpoint", Quote(hash.endpoint));
      Line("Hash", hash.hash.hash());
      out_ << "\n";
    }
    return Done();
  }
  Outcome Snapshot(const SnapshotSummary& snapshot) override {
    Line("Hash", snapshot.hash);
    Line("Revision", snapshot.revision);
    Line("Keys", snapshot.rows);
    Line("Size", snapshot.bytes);
    return Done();
  }
  Outcome Answer(const google::protobuf::Message& /*response*/,
                 const etcdserverpb::ResponseHeader& header, const AnswerForms& forms) override {
    if (!forms.fields.has_value()) return Unsupported();
    Header(header);
    out_ << *forms.fields;
    return Done();
  }

 private:
  [[nodiscard]] std::string Name() const override { return "fields"; }

  static const char* Bool(bool value) { return value ? "true" : "false"; }

  template <typename Value>
  void Line(const std::string& name, const Value& value) {
    out_ << '"' << name << "\" : " << value << "\n";
  }
  void Header(const etcdserverpb::ResponseHeader& header) {
    Line("ClusterID", header.cluster_id());
    Line("MemberID", header.member_id());
    Line("Revision", header.revision());
    Line("RaftTerm", header.raft_term());
  }
  void Pair(const std::string& prefix, const mvccpb::KeyValue& kv) {
    Line(prefix + "Key", Quote(kv.key()));
    Line(prefix + "CreateRevision", kv.create_revision());
    Line(prefix + "ModRevision", kv.mod_revision());
    Line(prefix + "Version", kv.version());
    Line(prefix + "Value", Quote(kv.value()));
    Line(prefix + "Lease", kv.lease());
  }

  std::ostream& out_;
};

}  // namespace

std::unique_ptr<Printer> MakeFieldsPrinter(std::ostream& out) {
  return std::make_unique<FieldsPrinter>(out);
}

}  // namespace keelson::kvctl
