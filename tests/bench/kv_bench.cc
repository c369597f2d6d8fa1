// Keeps a fixed number of requests outstanding against an etcd-compatible server and
// reports what came back as one line of JSON.
//
//   kv_bench --endpoint=127.0.0.1:2379 --op=put --outstanding=64 --seconds=5
//
// The same program loads kvstored and etcd, so its own cost weighs on both alike.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "base/event_loop.h"
#include "base/random.h"
#include "kvstore/api/rpc.pb.h"
#include "tests/bench/kv_load.h"

namespace {

using keelson::EventLoop;
using keelson::bench::SteadyClock;
namespace bench = keelson::bench;
namespace rpc = keelson::rpc;

struct Options {
  std::string endpoint = "127.0.0.1:2379";
  std::string op = "put";
  int outstanding = 64;
  int channels = 8;
  double seconds = 5;
  size_t value_bytes = 256;
  uint64_t keys = 10000;
  uint64_t seed = 1;
};

struct Totals {
  bench::Delays delays;
  uint64_t errors = 0;
  absl::Status first_error;
  int running = 0;
  absl::Notification finished;
};

// One request after another until the time is over. All of it runs on the loop.
class Slot {
 public:
  Slot(const Options& options, rpc::Channel& channel, uint64_t seed, SteadyClock::time_point end,
       Totals& totals)
      : options_(options), channel_(channel), random_(seed), end_(end), totals_(totals) {
    put_.set_value(std::string(options.value_bytes, 'v'));
    range_.set_serializable(options.op == "get-serializable");
    ++totals_.running;
  }

  void Next() {
    started_ = SteadyClock::now();
    if (started_ >= end_) {
      if (--totals_.running == 0) totals_.finished.Notify();
      return;
    }
    const std::string key = "bench/" + std::to_string(random_.Below(options_.keys));
    const auto done = [this](const absl::Status& status) { Done(status); };
    if (options_.op == "put") {
      put_.set_key(key);
      bench::Call(channel_, bench::kPut, put_, nullptr, done);
    } else {
      range_.set_key(key);
      bench::Call(channel_, bench::kRange, range_, nullptr, done);
    }
  }

 private:
  void Done(const absl::Status& status) {
    if (status.ok()) {
      totals_.delays.Add(SteadyClock::now() - started_);
    } else if (totals_.errors++ == 0) {
      totals_.first_error = status;
    }
    Next();
  }

  const Options& options_;
  rpc::Channel& channel_;
  keelson::Random random_;
  const SteadyClock::time_point end_;
  Totals& totals_;
  etcdserverpb::PutRequest put_;
  etcdserverpb::RangeRequest range_;
  SteadyClock::time_point started_;
};

int Report(const Options& options, Totals& totals, double elapsed_seconds) {
  const size_t ops = totals.delays.count();
  const auto at = [&](double part) { return totals.delays.At(part) * 1e3; };
  std::printf(
      "{\"op\":\"%s\",\"outstanding\":%d,\"ops\":%zu,\"errors\":%llu,\"seconds\":%.3f,"
      "\"ops_per_second\":%.0f,\"p50_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%.0f}\n",
      options.op.c_str(), options.outstanding, ops, static_cast<unsigned long long>(totals.errors),
      elapsed_seconds, static_cast<double>(ops) / elapsed_seconds, at(0.5), at(0.99), at(1));
  if (totals.errors > 0) {
    std::fprintf(stderr, "kv_bench: %s\n", totals.first_error.ToString().c_str());
  }
  return ops == 0 ? 1 : 0;
}

int Run(const Options& options) {
  EventLoop loop("load");
  const auto channels =
      bench::Connect(loop, options.endpoint, std::min(options.channels, options.outstanding));
  const SteadyClock::time_point start = SteadyClock::now();
  const SteadyClock::time_point end = start + bench::Duration(options.seconds);
  Totals totals;
  std::vector<std::unique_ptr<Slot>> slots;
  for (int i = 0; i < options.outstanding; ++i) {
    const auto index = static_cast<size_t>(i);
    slots.push_back(std::make_unique<Slot>(options, *channels[index % channels.size()],
                                           options.seed + index, end, totals));
  }
  loop.Post([&slots] {
    for (const auto& slot : slots) slot->Next();
  });
  totals.finished.WaitForNotification();
  const double elapsed = bench::Seconds(SteadyClock::now() - start);
  for (const auto& channel : channels) channel->Close();
  return Report(options, totals, elapsed);
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Keeps requests outstanding against an etcd-compatible server.");
  app.add_option("--endpoint", options.endpoint, "host:port of the server")->capture_default_str();
  app.add_option("--op", options.op, "what to send")
      ->check(CLI::IsMember({"put", "get", "get-serializable"}))
      ->capture_default_str();
  app.add_option("--outstanding", options.outstanding, "requests in flight")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("--channels", options.channels, "connections")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--seconds", options.seconds, "how long")->capture_default_str();
  app.add_option("--value-bytes", options.value_bytes, "size of each value")->capture_default_str();
  app.add_option("--keys", options.keys, "size of the key space")->capture_default_str();
  app.add_option("--seed", options.seed, "of the key sequence")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return Run(options);
}
