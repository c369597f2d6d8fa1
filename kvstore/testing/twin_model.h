// The naive twin of the store: every version in a map, no engine, nothing clever. Tests give
// it and the real one the same commands and compare every answer.
#ifndef KEELSON_KVSTORE_TESTING_TWIN_MODEL_H_
#define KEELSON_KVSTORE_TESTING_TWIN_MODEL_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kvstore/api/command.pb.h"
#include "kvstore/state_machine.h"
#include "kvstore/store.h"

namespace keelson::kvstore::testing {

class TwinModel {
 public:
  CommandResult Apply(Command command);

  absl::Status Range(const etcdserverpb::RangeRequest& request,
                     etcdserverpb::RangeResponse* response) const;
  absl::Status ReadTxn(const etcdserverpb::TxnRequest& request,
                       etcdserverpb::TxnResponse* response);
  // All changes in `range` from revision `from` on.
  absl::Status History(const KeyRange& range, int64_t from, bool prev_kv,
                       std::vector<Store::Change>* changes) const;
  // The live pair, or null.
  const mvccpb::KeyValue* Live(const std::string& key, int64_t at) const;

  std::vector<std::string> LeaseKeys(int64_t id) const;
  const std::map<int64_t, Store::LeaseInfo>& leases() const { return leases_; }
  int64_t revision() const { return revision_; }
  int64_t compacted() const { return compacted_; }
  // How many versions kvstore.md 5.2 keeps, and with them all changes at the compacted revision.
  size_t KeptVersions() const;
  // How many keys are live now.
  size_t LiveKeys() const;
  // Changes of the commands so far, by revision.
  const std::map<int64_t, std::vector<mvccpb::Event>>& events() const { return events_; }

 private:
  struct Version {
    int64_t main = 0;
    bool deleted = false;
    mvccpb::KeyValue pair;
  };

  absl::Status CheckPut(const etcdserverpb::PutRequest& request) const;
  absl::Status CheckBranch(const etcdserverpb::TxnRequest& txn, bool puts) const;
  bool Succeeds(const etcdserverpb::TxnRequest& txn) const;
  void Mark(const etcdserverpb::TxnRequest& txn);
  void Put(const etcdserverpb::PutRequest& request, etcdserverpb::PutResponse* response);
  void DeleteRange(const etcdserverpb::DeleteRangeRequest& request,
                   etcdserverpb::DeleteRangeResponse* response);
  void DeleteKey(const std::string& key);
  void Read(const etcdserverpb::RangeRequest& request, int64_t at,
            etcdserverpb::RangeResponse* response) const;
  void Run(const etcdserverpb::TxnRequest& txn, etcdserverpb::TxnResponse* response);
  int64_t Now() const { return revision_ + (changed_ ? 1 : 0); }

  std::map<std::string, std::vector<Version>> keys_;
  std::map<int64_t, std::vector<mvccpb::Event>> events_;
  std::map<int64_t, Store::LeaseInfo> leases_;
  std::map<const etcdserverpb::TxnRequest*, bool> outcome_;  // of the running transaction
  int64_t revision_ = 1;
  int64_t compacted_ = -1;
  bool changed_ = false;
};

}  // namespace keelson::kvstore::testing

#endif  // KEELSON_KVSTORE_TESTING_TWIN_MODEL_H_
