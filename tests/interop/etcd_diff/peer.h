// One server under comparison: unary calls, and a watch stream that gathers what it hears.
#ifndef KEELSON_TESTS_INTEROP_ETCD_DIFF_PEER_H_
#define KEELSON_TESTS_INTEROP_ETCD_DIFF_PEER_H_

#include <google/protobuf/message.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "kvstore/api/rpc.pb.h"
#include "tests/interop/etcd_diff/generator.h"

namespace keelson::etcd_diff {

class Peer {
 public:
  static std::unique_ptr<Peer> Connect(const std::string& endpoint);
  virtual ~Peer() = default;

  // Begins a call; `user` says whose token goes with it ("": none). Several may be under way.
  virtual void Begin(const Operation& operation, const std::string& user) = 0;
  // Waits for the end of the one that began first, and fills in `response`.
  virtual absl::Status End(google::protobuf::Message* response) = 0;
  virtual void SetToken(const std::string& user, const std::string& token) = 0;

  struct Watched {
    std::vector<std::string> answers;  // created, cancelled
    std::vector<std::string> events;   // one after the other, however they were sent
    bool ended = false;
  };
  virtual void SendWatch(const etcdserverpb::WatchRequest& request) = 0;
  // What has come so far, by watch id. A copy.
  virtual std::map<int64_t, Watched> watched() = 0;
  virtual size_t events_of(int64_t watch_id) = 0;
  // Drops as many events of each watch as `seen` has of it, and all of the watches that have ended.
  virtual void Forget(const std::map<int64_t, Watched>& seen,
                      const std::vector<int64_t>& ended) = 0;
  struct Made {
    size_t count = 0;
    int64_t last_id = -1;  // -1: that one was refused
  };
  // The requests for watches that have been answered.
  virtual Made made() = 0;
  // Whether the watch has been ended, and not been forgotten.
  virtual bool ended(int64_t watch_id) = 0;
  // The revision of the last answer to a request for progress, and how many there were.
  virtual std::pair<int64_t, size_t> progress() = 0;
};

}  // namespace keelson::etcd_diff

#endif  // KEELSON_TESTS_INTEROP_ETCD_DIFF_PEER_H_
