// The output forms of kvctl: simple, fields, json, protobuf and table, byte for byte etcdctl 3.4's.
#ifndef KEELSON_KVSTORE_CMD_PRINTER_H_
#define KEELSON_KVSTORE_CMD_PRINTER_H_

#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "kvstore/api/cluster.pb.h"
#include "kvstore/api/maintenance.pb.h"
#include "kvstore/api/rpc.pb.h"
#include "kvstore/cmd/outcome.h"

namespace keelson::kvctl {

struct EndpointStatus {
  std::string endpoint;
  etcdserverpb::StatusResponse status;
};

struct EndpointHealth {
  std::string endpoint;
  absl::Status status;  // OK: healthy
  absl::Duration took;
};

struct EndpointHash {
  std::string endpoint;
  etcdserverpb::HashKVResponse hash;
};

// A snapshot file.
struct SnapshotSummary {
  uint32_t hash = 0;  // CRC-32C of all buckets
  int64_t revision = 0;
  uint64_t rows = 0;
  uint64_t bytes = 0;
};

// What an answer without a form of its own looks like; ends in newlines.
struct AnswerForms {
  std::string simple;
  std::optional<std::string> fields = "";  // behind the header; nullopt: not supported
};

struct PrinterOptions {
  bool hex = false;         // simple: keys and values as \xNN
  bool value_only = false;  // simple: no keys
};

// Writes one answer to the stream it was made with. A form that cannot show something writes
// nothing and returns kBadFeature, which names the form.
class Printer {
 public:
  virtual ~Printer() = default;

  virtual Outcome Range(const etcdserverpb::RangeResponse&) { return Unsupported(); }
  virtual Outcome Put(const etcdserverpb::PutResponse&) { return Unsupported(); }
  virtual Outcome Delete(const etcdserverpb::DeleteRangeResponse&) { return Unsupported(); }
  virtual Outcome Txn(const etcdserverpb::TxnResponse&) { return Unsupported(); }
  virtual Outcome Watch(const etcdserverpb::WatchResponse&) { return Unsupported(); }
  virtual Outcome Grant(const etcdserverpb::LeaseGrantResponse&) { return Unsupported(); }
  virtual Outcome Revoke(const etcdserverpb::LeaseRevokeResponse&, int64_t /*lease*/) {
    return Unsupported();
  }
  virtual Outcome TimeToLive(const etcdserverpb::LeaseTimeToLiveResponse&, bool /*keys*/) {
    return Unsupported();
  }
  virtual Outcome Leases(const etcdserverpb::LeaseLeasesResponse&) { return Unsupported(); }
  virtual Outcome KeepAlive(const etcdserverpb::LeaseKeepAliveResponse&) { return Unsupported(); }
  virtual Outcome Members(const etcdserverpb::MemberListResponse&) { return Unsupported(); }
  virtual Outcome MemberAdd(const etcdserverpb::MemberAddResponse&) { return Unsupported(); }
  virtual Outcome MemberRemove(const etcdserverpb::MemberRemoveResponse&, uint64_t /*id*/) {
    return Unsupported();
  }
  virtual Outcome MemberUpdate(const etcdserverpb::MemberUpdateResponse&, uint64_t /*id*/) {
    return Unsupported();
  }
  virtual Outcome MemberPromote(const etcdserverpb::MemberPromoteResponse&, uint64_t /*id*/) {
    return Unsupported();
  }
  virtual Outcome Status(const std::vector<EndpointStatus>&) { return Unsupported(); }
  // The simple form goes to stderr, as etcdctl 3.4 does it.
  virtual Outcome Health(const std::vector<EndpointHealth>&) { return Unsupported(); }
  virtual Outcome Hashes(const std::vector<EndpointHash>&) { return Unsupported(); }
  virtual Outcome Snapshot(const SnapshotSummary&) { return Unsupported(); }
  // Any other answer; json and protobuf show `response` itself.
  virtual Outcome Answer(const google::protobuf::Message& /*response*/,
                         const etcdserverpb::ResponseHeader&, const AnswerForms&) {
    return Unsupported();
  }

 protected:
  [[nodiscard]] virtual std::string Name() const = 0;
  [[nodiscard]] Outcome Unsupported() const {
    return Fail(Exit::kBadFeature, Name() + " not supported as output format");
  }
};

// `form` is simple, fields, json, protobuf or table; nullptr for any other. The streams outlive
// the printer.
std::unique_ptr<Printer> MakePrinter(const std::string& form, const PrinterOptions& options,
                                     std::ostream& out, std::ostream& err);

std::unique_ptr<Printer> MakeSimplePrinter(const PrinterOptions& options, std::ostream& out,
                                           std::ostream& err);
std::unique_ptr<Printer> MakeFieldsPrinter(std::ostream& out);
std::unique_ptr<Printer> MakeJsonPrinter(std::ostream& out);
std::unique_ptr<Printer> MakeProtobufPrinter(std::ostream& out);
std::unique_ptr<Printer> MakeTablePrinter(std::ostream& out);

// Cells that simple and table share.
std::vector<std::string> MemberCells(const etcdserverpb::Member& member);
std::vector<std::string> StatusCells(const EndpointStatus& status);
std::vector<std::string> SnapshotCells(const SnapshotSummary& snapshot);

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_PRINTER_H_
