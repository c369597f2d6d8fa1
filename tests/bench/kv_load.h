// What the load generators for etcd-compatible servers share: calls over base/rpc, all on one thread,
// and delays by rank. base/rpc hands a message over as bytes, which need not be decoded: on two cores
// it is the server that is to be measured, and not what its clients make of its answers.
#ifndef KEELSON_TESTS_BENCH_KV_LOAD_H_
#define KEELSON_TESTS_BENCH_KV_LOAD_H_

#include <google/protobuf/message_lite.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/event_loop.h"
#include "base/rpc/client.h"

namespace keelson::bench {

using SteadyClock = std::chrono::steady_clock;

inline constexpr char kPut[] = "/etcdserverpb.KV/Put";
inline constexpr char kRange[] = "/etcdserverpb.KV/Range";
inline constexpr char kTxn[] = "/etcdserverpb.KV/Txn";
inline constexpr char kWatch[] = "/etcdserverpb.Watch/Watch";

double Seconds(SteadyClock::duration duration);
SteadyClock::duration Duration(double seconds);

// Ends the program with exit code 1.
[[noreturn]] void Fail(std::string_view what, const absl::Status& status = absl::OkStatus());

// `count` connections. Messages of any size are taken.
std::vector<std::unique_ptr<rpc::Channel>> Connect(EventLoop& loop, const std::string& endpoint,
                                                   int count);

// A call of one message each way. `look`, which may be null, sees the bytes of the answer; `done` is
// the last. Both run on the loop.
void Call(rpc::Channel& channel, std::string_view path,
          const google::protobuf::MessageLite& request, std::function<void(std::string_view)> look,
          std::function<void(absl::Status)> done);

// Not thread-safe.
class Delays {
 public:
  void Add(SteadyClock::duration delay) { milliseconds_.push_back(Seconds(delay) * 1e3); }
  void Add(Delays other);
  [[nodiscard]] size_t count() const { return milliseconds_.size(); }
  // Milliseconds; `part` is from 0 to 1. 0 when there are none.
  double At(double part);
  // "name_count":..., and p50, p99 and max in milliseconds.
  std::string Json(std::string_view name);

 private:
  std::vector<double> milliseconds_;
};

}  // namespace keelson::bench

#endif  // KEELSON_TESTS_BENCH_KV_LOAD_H_
