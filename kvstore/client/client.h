// Talks to a cluster that speaks etcd's v3 protocol: kvstored, or an existing etcd.
//
// Requests and answers are the messages of kvstore/api/rpc.proto. `Client` is an interface, so
// that its users can be tested against a fake, and so that a store in the same process can
// stand in for a cluster; Connect gives the one over the network.
//
//   absl::StatusOr<std::unique_ptr<Client>> client = Connect({.endpoints = {"10.0.0.1:2379"}});
//   if (!client.ok()) return client.status();
//   absl::StatusOr<etcdserverpb::PutResponse> put = (*client)->Put(PutOf("name", "value"));
//
// Errors of the server keep etcd's code and text (kvstore/errors.h). In addition:
//   UNAVAILABLE        no endpoint could be reached within the dial timeout, or the connection
//                      broke.
//   DEADLINE_EXCEEDED  no answer within the command timeout.
// PerhapsDone tells of an error whether the write may have been done all the same.
//
// Failover: the client stays with one endpoint while it works. One that does not answer, has no
// leader or is a learner is avoided for a while. Reads move on to the next endpoint and are
// repeated until the command timeout ends; a write only if it certainly was not done. Watches and
// keep-alives move on by themselves for ever.
//
// Threading: everything here is thread-safe. Calls block. A client has a thread for its
// connections, one for the callbacks of its watches and one for those of its leases; a callback
// may call the client. Watches and keep-alives may outlive the client.
#ifndef KEELSON_KVSTORE_CLIENT_CLIENT_H_
#define KEELSON_KVSTORE_CLIENT_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "kvstore/api/cluster.pb.h"
#include "kvstore/api/rpc.pb.h"

namespace keelson::kvstore {

// A running watch. The destructor cancels it and waits for a callback that is running, so it
// must not be called from that callback.
class Watcher {
 public:
  virtual ~Watcher() = default;

  // Asks for an answer without events once everything up to now has been delivered.
  virtual void RequestProgress() = 0;
};

// True when a call that failed with `status` was perhaps done: its answer did not come, or the
// member could not say. Read before repeating it, or make it a transaction that may be repeated.
// False for a failed write: it was certainly not done.
[[nodiscard]] bool PerhapsDone(const absl::Status& status);

// The revision up to which history is gone, if that is why a watch has ended; otherwise 0. Begin
// anew with a range, as RangeMirror (mirror.h) does.
[[nodiscard]] int64_t CompactRevisionOf(const absl::Status& status);

struct WatchCallbacks {
  // Called for every answer with events or with progress (no events), in revision order. Answers
  // the server cut (fragment) arrive joined. After a reconnect nothing is lost or repeated.
  std::function<void(const etcdserverpb::WatchResponse&)> on_response;

  // Called once, last, when the server ended the watch: OUT_OF_RANGE when the next revision has
  // been compacted away (see CompactRevisionOf), PERMISSION_DENIED or UNAUTHENTICATED, otherwise
  // CANCELLED with the server's reason. May be empty.
  std::function<void(const absl::Status&)> on_end;

  // A member has taken the watch up, with its revision at that moment; again after each
  // reconnect. May be empty.
  std::function<void(int64_t revision)> on_created = nullptr;
};

// Keeps one lease alive while it exists. The destructor stops the renewals; the lease stays.
// It waits for a running callback and must not be called from one.
class KeepAlive {
 public:
  virtual ~KeepAlive() = default;
};

struct KeepAliveCallbacks {
  // Called after every renewal, which happens each third of the TTL. May be empty.
  std::function<void(const etcdserverpb::LeaseKeepAliveResponse&)> on_renewed;

  // Called once, last: NOT_FOUND when the server does not know the lease (any more), or the error
  // of the last try (UNAVAILABLE) when no renewal succeeded for a whole TTL, so that it must be taken
  // for lost. That moment is kept even while a try still waits.
  // Whoever holds a lock by this lease has to stop now.
  std::function<void(const absl::Status&)> on_lost;
};

class Client {
 public:
  virtual ~Client() = default;

  virtual absl::StatusOr<etcdserverpb::RangeResponse> Range(
      const etcdserverpb::RangeRequest& request) = 0;
  virtual absl::StatusOr<etcdserverpb::PutResponse> Put(
      const etcdserverpb::PutRequest& request) = 0;
  virtual absl::StatusOr<etcdserverpb::DeleteRangeResponse> DeleteRange(
      const etcdserverpb::DeleteRangeRequest& request) = 0;
  // Repeated like a read only when both branches hold nothing but ranges.
  virtual absl::StatusOr<etcdserverpb::TxnResponse> Txn(
      const etcdserverpb::TxnRequest& request) = 0;
  virtual absl::StatusOr<etcdserverpb::CompactionResponse> Compact(
      const etcdserverpb::CompactionRequest& request) = 0;

  // A grant that was perhaps done is not repeated: the unknown lease ends by itself.
  virtual absl::StatusOr<etcdserverpb::LeaseGrantResponse> LeaseGrant(
      const etcdserverpb::LeaseGrantRequest& request) = 0;
  virtual absl::StatusOr<etcdserverpb::LeaseRevokeResponse> LeaseRevoke(int64_t lease) = 0;
  // An unknown lease is no error: TTL is -1.
  virtual absl::StatusOr<etcdserverpb::LeaseTimeToLiveResponse> LeaseTimeToLive(int64_t lease,
                                                                                bool keys) = 0;
  virtual absl::StatusOr<etcdserverpb::LeaseLeasesResponse> LeaseLeases() = 0;
  // Renews once. NOT_FOUND when the lease is unknown or has ended.
  virtual absl::StatusOr<etcdserverpb::LeaseKeepAliveResponse> LeaseKeepAliveOnce(
      int64_t lease) = 0;
  // `ttl` is the granted one; it paces the renewals until the first answer tells better.
  virtual std::unique_ptr<KeepAlive> KeepLeaseAlive(int64_t lease, absl::Duration ttl,
                                                    KeepAliveCallbacks callbacks) = 0;

  // Starts at request.start_revision, or with what changes from now on if that is 0.
  virtual std::unique_ptr<Watcher> Watch(const etcdserverpb::WatchCreateRequest& request,
                                         WatchCallbacks callbacks) = 0;

  // A method of etcd's that has no function here, with one message each way: `request` and the
  // answer are protobuf's bytes. InvokeMethod (below) is this with types. `may_repeat`: it does no
  // harm twice.
  virtual absl::StatusOr<std::string> Invoke(
      const std::string& /*path*/,
      std::string /*request*/,  // NOLINT(performance-unnecessary-value-param): others keep it
      bool /*may_repeat*/) {
    return NoCluster();
  }

  // Streams the database of the member this client talks to: `take` gets the pieces in order, the
  // last of them its SHA-256. An error of `take` ends the stream and is passed on. Takes as long as
  // it takes: `timeout` is its own, and infinite if need be. Not repeated.
  virtual absl::Status Snapshot(
      absl::Duration /*timeout*/,
      absl::FunctionRef<absl::Status(std::string_view piece, uint64_t remaining_bytes)> /*take*/) {
    return NoCluster();
  }

  // Makes the members of the cluster that serve clients the endpoints of this client. Connections to
  // those that stay go on.
  virtual absl::Status SyncEndpoints() { return NoCluster(); }
  [[nodiscard]] virtual std::vector<std::string> Endpoints() { return {}; }

  // Time and waiting as they are where this client is: those of the system, or simulated. `timeout`
  // and Monotonic are as for base/clock.h and absl::Mutex::AwaitWithTimeout.
  virtual absl::Duration Monotonic();
  virtual bool Await(absl::Mutex* mu, const absl::Condition& condition, absl::Duration timeout);

  virtual absl::StatusOr<etcdserverpb::MemberListResponse> MemberList() = 0;
  // Changes of the members, for tools; a client that has no cluster behind it need not have them.
  // Not repeated once sent.
  virtual absl::StatusOr<etcdserverpb::MemberAddResponse> MemberAdd(
      const etcdserverpb::MemberAddRequest& /*request*/) {
    return NoCluster();
  }
  virtual absl::StatusOr<etcdserverpb::MemberRemoveResponse> MemberRemove(uint64_t /*id*/) {
    return NoCluster();
  }
  virtual absl::StatusOr<etcdserverpb::MemberUpdateResponse> MemberUpdate(
      uint64_t /*id*/, const std::vector<std::string>& /*peer_urls*/) {
    return NoCluster();
  }
  virtual absl::StatusOr<etcdserverpb::MemberPromoteResponse> MemberPromote(uint64_t /*id*/) {
    return NoCluster();
  }
  // Of the member this client talks to; give Connect a single endpoint to ask a certain one.
  virtual absl::StatusOr<etcdserverpb::StatusResponse> Status() = 0;

 private:
  static absl::Status NoCluster() { return absl::UnimplementedError("there is no cluster"); }
};

struct TlsOptions {
  std::string ca_file;  // PEM; empty: the system's authorities
  // PEM; with key_file, what we identify ourselves with. Each new connection shows what they hold then.
  std::string cert_file;
  std::string key_file;
  bool skip_verify = false;  // accept any certificate of the server; for tests
  bool always = false;       // TLS even if nothing else here asks for it

  [[nodiscard]] bool Any() const {
    return !ca_file.empty() || !cert_file.empty() || !key_file.empty() || skip_verify || always;
  }
};

struct ConnectOptions {
  // "host:port", "http://host:port", "https://host:port" or "unix:///path"; tried in this
  // order. Without a scheme, TLS is used if `tls` says anything.
  std::vector<std::string> endpoints = {"127.0.0.1:2379"};
  absl::Duration dial_timeout = absl::Seconds(2);  // how long to look for one that can be reached
  absl::Duration command_timeout = absl::Seconds(5);
  // Silence on a connection with calls after which it is probed, 10 s at least: servers close
  // connections that are probed too often. And how long a probe may take.
  absl::Duration keepalive_time = absl::Seconds(10);
  absl::Duration keepalive_timeout = absl::Seconds(6);
  TlsOptions tls = {};
  // With authentication. The token is had and renewed as needed; a cluster without authentication
  // serves the client too.
  std::string user = {};
  std::string password = {};
  // How often the members of the cluster become the endpoints (SyncEndpoints); zero: never.
  absl::Duration sync_interval = absl::ZeroDuration();
};

// Checks the options and reads the TLS files; the first call connects.
// INVALID_ARGUMENT (no or malformed endpoint, half a key pair), or an error that names the file.
absl::StatusOr<std::unique_ptr<Client>> Connect(const ConnectOptions& options);

// Client::Invoke with types.
//
//   InvokeMethod<etcdserverpb::AlarmResponse>(client, "/etcdserverpb.Maintenance/Alarm", request)
template <typename Response, typename Request>
absl::StatusOr<Response> InvokeMethod(Client& client, const std::string& path,
                                      const Request& request, bool may_repeat = false) {
  const absl::StatusOr<std::string> bytes =
      client.Invoke(path, request.SerializeAsString(), may_repeat);
  if (!bytes.ok()) return bytes.status();
  Response response;
  if (!response.ParseFromString(*bytes)) return absl::InternalError("an answer cannot be decoded");
  return response;
}

// ---- Requests of the common kinds ----

// The range_end that makes [prefix, range_end) hold exactly the keys that begin with `prefix`.
std::string PrefixEnd(std::string_view prefix);

etcdserverpb::RangeRequest RangeOf(std::string_view key);
etcdserverpb::RangeRequest RangeOfPrefix(std::string_view prefix);
etcdserverpb::PutRequest PutOf(std::string_view key, std::string_view value, int64_t lease = 0);
etcdserverpb::DeleteRangeRequest DeleteOf(std::string_view key);
etcdserverpb::DeleteRangeRequest DeleteOfPrefix(std::string_view prefix);

// Conditions of a Txn: "the key was last changed by that revision" (0: it does not exist).
etcdserverpb::Compare ModRevisionIs(std::string_view key, int64_t revision);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_CLIENT_CLIENT_H_
