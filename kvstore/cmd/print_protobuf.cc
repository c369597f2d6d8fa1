// The protobuf form: the bytes of an answer, without a newline.
#include "kvstore/cmd/printer.h"

namespace keelson::kvctl {
namespace {

class ProtobufPrinter final : public Printer {
 public:
  explicit ProtobufPrinter(std::ostream& out) : out_(out) {}

  Outcome Range(const etcdserverpb::RangeResponse& r) override { return Bytes(r); }
  Outcome Put(const etcdserverpb::PutResponse& r) override { return Bytes(r); }
  Outcome Delete(const etcdserverpb::DeleteRangeResponse& r) override { return Bytes(r); }
  Outcome Txn(const etcdserverpb::TxnResponse& r) override { return Bytes(r); }
  Outcome Watch(const etcdserverpb::WatchResponse& r) override {
    etcdserverpb::WatchResponse shown = r;
    shown.clear_watch_id();  // etcdctl's does not know it any more.
    return Bytes(shown);
  }
  Outcome Grant(const etcdserverpb::LeaseGrantResponse& r) override { return Bytes(r); }
  Outcome Revoke(const etcdserverpb::LeaseRevokeResponse& r, int64_t) override { return Bytes(r); }
  Outcome TimeToLive(const etcdserverpb::LeaseTimeToLiveResponse& r, bool) override {
    return Bytes(r);
  }
  Outcome Leases(const etcdserverpb::LeaseLeasesResponse& r) override { return Bytes(r); }
  Outcome KeepAlive(const etcdserverpb::LeaseKeepAliveResponse& r) override { return Bytes(r); }
  Outcome Members(const etcdserverpb::MemberListResponse& r) override { return Bytes(r); }
  Outcome MemberAdd(const etcdserverpb::MemberAddResponse& r) override { return Bytes(r); }
  Outcome MemberRemove(const etcdserverpb::MemberRemoveResponse& r, uint64_t) override {
    return Bytes(r);
  }
  Outcome MemberUpdate(const etcdserverpb::MemberUpdateResponse& r, uint64_t) override {
    return Bytes(r);
  }
  Outcome MemberPromote(const etcdserverpb::MemberPromoteResponse& r, uint64_t) override {
    return Bytes(r);
  }
  Outcome Answer(const google::protobuf::Message& response, const etcdserverpb::ResponseHeader&,
                 const AnswerForms&) override {
    return Bytes(response);
  }

 private:
  [[nodiscard]] std::string Name() const override { return "protobuf"; }

  Outcome Bytes(const google::protobuf::Message& message) {
    out_ << message.SerializeAsString();
    return Done();
  }

  std::ostream& out_;
};

}  // namespace

std::unique_ptr<Printer> MakeProtobufPrinter(std::ostream& out) {
  return std::make_unique<ProtobufPrinter>(out);
}

}  // namespace keelson::kvctl
