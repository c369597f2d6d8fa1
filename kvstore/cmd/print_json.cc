// The json form: one line an answer, with the member names and the omissions of Go's encoder.
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "kvstore/cmd/format.h"
#include "kvstore/cmd/go_json.h"
#include "kvstore/cmd/printer.h"

namespace keelson::kvctl {
namespace {

// Builds one object. Add writes always; AddSet only what is not zero, false or empty.
class Object {
 public:
  Object& Raw(const char* name, const std::string& value) {
    absl::StrAppend(&text_, text_.empty() ? "" : ",", "\"", name, "\":", value);
    return *this;
  }
  Object& Add(const char* name, int64_t value) { return Raw(name, absl::StrCat(value)); }
  Object& Add(const char* name, uint64_t value) { return Raw(name, absl::StrCat(value)); }
  Object& Add(const char* name, bool value) { return Raw(name, value ? "true" : "false"); }
  Object& Add(const char* name, const std::string& value) { return Raw(name, JsonString(value)); }

  template <typename Value>
  Object& AddSet(const char* name, const Value& value) {
    return value == Value() ? *this : Add(name, value);
  }
  Object& AddBytes(const char* name, const std::string& value) {
    return value.empty() ? *this : Add(name, absl::Base64Escape(value));
  }
  [[nodiscard]] std::string Text() const { return absl::StrCat("{", text_, "}"); }

 private:
  std::string text_;
};

template <typename Items, typename Convert>
std::string Array(const Items& items, const Convert& convert) {
  std::string text;
  for (const auto& item : items) absl::StrAppend(&text, text.empty() ? "" : ",", convert(item));
  return absl::StrCat("[", text, "]");
}

Object& AddHeader(Object& object, const etcdserverpb::ResponseHeader& header) {
  return object.AddSet("cluster_id", header.cluster_id())
      .AddSet("member_id", header.member_id())
      .AddSet("revision", header.revision())
      .AddSet("raft_term", header.raft_term());
}

std::string HeaderJson(const etcdserverpb::ResponseHeader& header) {
  Object object;
  return AddHeader(object, header).Text();
}

std::string PairJson(const mvccpb::KeyValue& kv) {
  return Object()
      .AddBytes("key", kv.key())
      .AddSet("create_revision", kv.create_revision())
      .AddSet("mod_revision", kv.mod_revision())
      .AddSet("version", kv.version())
      .AddBytes("value", kv.value())
      .AddSet("lease", kv.lease())
      .Text();
}

std::string EventJson(const mvccpb::Event& event) {
  Object object;
  object.AddSet("type", static_cast<int64_t>(event.type()));
  object.Raw("kv", PairJson(event.kv()));
  if (event.has_prev_kv()) object.Raw("prev_kv", PairJson(event.prev_kv()));
  return object.Text();
}

template <typename Response>
Object WithHeader(const Response& response) {
  Object object;
  if (response.has_header()) object.Raw("header", HeaderJson(response.header()));
  return object;
}

std::string RangeJson(const etcdserverpb::RangeResponse& response) {
  Object object = WithHeader(response);
  if (!response.kvs().empty()) object.Raw("kvs", Array(response.kvs(), PairJson));
  return object.AddSet("more", response.more()).AddSet("count", response.count()).Text();
}

std::string PutJson(const etcdserverpb::PutResponse& response) {
  Object object = WithHeader(response);
  if (response.has_prev_kv()) object.Raw("prev_kv", PairJson(response.prev_kv()));
  return object.Text();
}

std::string DeleteJson(const etcdserverpb::DeleteRangeResponse& response) {
  Object object = WithHeader(response);
  object.AddSet("deleted", response.deleted());
  if (!response.prev_kvs().empty()) object.Raw("prev_kvs", Array(response.prev_kvs(), PairJson));
  return object.Text();
}

std::string TxnJson(const etcdserverpb::TxnResponse& response);

std::string OpJson(const etcdserverpb::ResponseOp& op) {
  Object inner;
  if (op.has_response_range()) inner.Raw("ResponseRange", RangeJson(op.response_range()));
  if (op.has_response_put()) inner.Raw("ResponsePut", PutJson(op.response_put()));
  if (op.has_response_delete_range()) {
    inner.Raw("ResponseDeleteRange", DeleteJson(op.response_delete_range()));
  }
  if (op.has_response_txn()) inner.Raw("ResponseTxn", TxnJson(op.response_txn()));
  return Object().Raw("Response", inner.Text()).Text();
}

std::string TxnJson(const etcdserverpb::TxnResponse& response) {
  Object object = WithHeader(response);
  object.AddSet("succeeded", response.succeeded());
  if (!response.responses().empty()) object.Raw("responses", Array(response.responses(), OpJson));
  return object.Text();
}

template <typename Strings>
Object& AddStrings(Object& object, const char* name, const Strings& strings) {
  if (!strings.empty()) {
    object.Raw(name, Array(strings, [](const std::string& s) { return JsonString(s); }));
  }
  return object;
}

std::string MemberJson(const etcdserverpb::Member& member) {
  Object object;
  object.AddSet("ID", member.id()).AddSet("name", member.name());
  AddStrings(object, "peerURLs", member.peerurls());
  AddStrings(object, "clientURLs", member.clienturls());
  return object.AddSet("isLearner", member.islearner()).Text();
}

std::string StatusJson(const EndpointStatus& endpoint) {
  const etcdserverpb::StatusResponse& status = endpoint.status;
  Object object = WithHeader(status);
  object.AddSet("version", status.version())
      .AddSet("dbSize", status.dbsize())
      .AddSet("leader", status.leader())
      .AddSet("raftIndex", status.raftindex())
      .AddSet("raftTerm", status.raftterm())
      .AddSet("raftAppliedIndex", status.raftappliedindex());
  AddStrings(object, "errors", status.errors());
  object.AddSet("dbSizeInUse", status.dbsizeinuse()).AddSet("isLearner", status.islearner());
  return Object().Add("Endpoint", endpoint.endpoint).Raw("Status", object.Text()).Text();
}

std::string HealthJson(const EndpointHealth& health) {
  Object object;
  object.Add("endpoint", health.endpoint)
      .Add("health", health.status.ok())
      .Add("took", DurationText(health.took));
  if (!health.status.ok()) object.Add("error", TextOf(health.status));
  return object.Text();
}

class JsonPrinter final : public Printer {
 public:
  explicit JsonPrinter(std::ostream& out) : out_(out) {}

  Outcome Range(const etcdserverpb::RangeResponse& r) override { return Line(RangeJson(r)); }
  Outcome Put(const etcdserverpb::PutResponse& r) override { return Line(PutJson(r)); }
  Outcome Delete(const etcdserverpb::DeleteRangeResponse& r) override {
    return Line(DeleteJson(r));
  }
  Outcome Txn(const etcdserverpb::TxnResponse& r) override { return Line(TxnJson(r)); }
  Outcome Watch(const etcdserverpb::WatchResponse& r) override {
    return Line(Object()
                    .Raw("Header", HeaderJson(r.header()))
                    .Raw("Events", r.events().empty() ? "[]" : Array(r.events(), EventJson))
                    .Add("CompactRevision", r.compact_revision())
                    .Add("Canceled", r.canceled())
                    .Add("Created", r.created())
                    .Text());
  }
  Outcome Grant(const etcdserverpb::LeaseGrantResponse& r) override {
    Object object;
    AddHeader(object, r.header()).Add("ID", r.id()).Add("TTL", r.ttl()).Add("Error", r.error());
    return Line(object.Text());
  }
  Outcome Revoke(const etcdserverpb::LeaseRevokeResponse& r, int64_t /*lease*/) override {
    return Line(WithHeader(r).Text());
  }
  Outcome TimeToLive(const etcdserverpb::LeaseTimeToLiveResponse& r, bool /*keys*/) override {
    Object object;
    AddHeader(object, r.header())
        .Add("id", r.id())
        .Add("ttl", r.ttl())
        .Add("granted-ttl", r.grantedttl());
    const auto key_json = [](const std::string& key) {
      return JsonString(absl::Base64Escape(key));
    };
    return Line(object.Raw("keys", r.keys().empty() ? "null" : Array(r.keys(), key_json)).Text());
  }
  Outcome Leases(const etcdserverpb::LeaseLeasesResponse& r) override {
    Object object;
    const auto lease_json = [](const etcdserverpb::LeaseStatus& lease) {
      return Object().Add("id", lease.id()).Text();
    };
    return Line(AddHeader(object, r.header()).Raw("leases", Array(r.leases(), lease_json)).Text());
  }
  Outcome KeepAlive(const etcdserverpb::LeaseKeepAliveResponse& r) override {
    Object object;
    return Line(AddHeader(object, r.header()).Add("ID", r.id()).Add("TTL", r.ttl()).Text());
  }
  Outcome MemberAdd(const etcdserverpb::MemberAddResponse& r) override {
    Object object = WithHeader(r);
    if (r.has_member()) object.Raw("member", MemberJson(r.member()));
    return LineWithMembers(object, r);
  }
  Outcome MemberRemove(const etcdserverpb::MemberRemoveResponse& r, uint64_t) override {
    Object object = WithHeader(r);
    return LineWithMembers(object, r);
  }
  Outcome MemberUpdate(const etcdserverpb::MemberUpdateResponse& r, uint64_t) override {
    Object object = WithHeader(r);
    return LineWithMembers(object, r);
  }
  Outcome MemberPromote(const etcdserverpb::MemberPromoteResponse& r, uint64_t) override {
    Object object = WithHeader(r);
    return LineWithMembers(object, r);
  }
  Outcome Members(const etcdserverpb::MemberListResponse& r) override {
    Object object = WithHeader(r);
    if (!r.members().empty()) object.Raw("members", Array(r.members(), MemberJson));
    return Line(object.Text());
  }
  Outcome Status(const std::vector<EndpointStatus>& s) override {
    return Line(Array(s, StatusJson));
  }
  Outcome Health(const std::vector<EndpointHealth>& h) override {
    return Line(Array(h, HealthJson));
  }
  Outcome Hashes(const std::vector<EndpointHash>& hashes) override {
    return Line(Array(hashes, [](const EndpointHash& hash) {
      return Object().Add("Endpoint", hash.endpoint).Raw("HashKV", GoJson(hash.hash)).Text();
    }));
  }
  Outcome Snapshot(const SnapshotSummary& s) override {
    return Line(Object()
                    .Add("hash", uint64_t{s.hash})
                    .Add("revision", s.revision)
                    .Add("totalKey", s.rows)
                    .Add("totalSize", s.bytes)
                    .Text());
  }
  Outcome Answer(const google::protobuf::Message& response, const etcdserverpb::ResponseHeader&,
                 const AnswerForms&) override {
    return Line(GoJson(response));
  }

 private:
  template <typename Response>
  Outcome LineWithMembers(Object& object, const Response& response) {
    if (!response.members().empty()) object.Raw("members", Array(response.members(), MemberJson));
    return Line(object.Text());
  }
  [[nodiscard]] std::string Name() const override { return "json"; }

  Outcome Line(const std::string& text) {
    out_ << text << "\n";
    return Done();
  }

  std::ostream& out_;
};

}  // namespace

std::unique_ptr<Printer> MakeJsonPrinter(std::ostream& out) {
  return std::make_unique<JsonPrinter>(out);
}

}  // namespace keelson::kvctl
