// Random requests of etcd's version 3 API, good and bad.
#ifndef KEELSON_TESTS_INTEROP_ETCD_DIFF_GENERATOR_H_
#define KEELSON_TESTS_INTEROP_ETCD_DIFF_GENERATOR_H_

#include <google/protobuf/message.h>

#include <memory>
#include <string>

#include "base/random.h"
#include "kvstore/api/rpc.pb.h"

namespace keelson::etcd_diff {

// One unary call. Of the response only the type counts.
struct Operation {
  std::string method;  // "KV/Range"
  std::unique_ptr<google::protobuf::Message> request;
  std::unique_ptr<google::protobuf::Message> response;
};

// What requests are aimed at.
struct Aim {
  int64_t revision = 1;   // of the store
  int64_t compacted = 0;  // up to where
  bool auth = false;      // authentication is on: leave out where kvstored asks for more rights
};

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  Operation Next(const Aim& aim);
  // Part of the above.
  Operation KeyValueOperation(const Aim& aim);
  Operation LeaseOperation();
  Operation AuthOperation();
  Operation Compaction(const Aim& aim);
  Operation Hash(const Aim& aim);
  void FillWatch(const Aim& aim, etcdserverpb::WatchCreateRequest* watch);

  Random& random() { return random_; }

 private:
  bool Chance(double p) { return random_.Bernoulli(p); }
  std::string Key();
  std::string RangeEnd(const std::string& key, bool ordered);
  std::string AnyRangeEnd(const std::string& key);
  std::string Value();
  int64_t Revision(const Aim& aim);
  int64_t LeaseId();
  void FillRange(const Aim& aim, etcdserverpb::RangeRequest* range);
  void FillPut(const Aim& aim, etcdserverpb::PutRequest* put);
  void FillDelete(const Aim& aim, etcdserverpb::DeleteRangeRequest* request);
  void FillCompare(const Aim& aim, etcdserverpb::Compare* compare);
  void FillTxn(const Aim& aim, int depth, etcdserverpb::TxnRequest* txn);
  void FillOperation(const Aim& aim, int depth, etcdserverpb::RequestOp* op);

  Random random_;
};

}  // namespace keelson::etcd_diff

#endif  // KEELSON_TESTS_INTEROP_ETCD_DIFF_GENERATOR_H_
