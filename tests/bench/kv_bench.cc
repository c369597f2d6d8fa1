// Keeps a fixed number of requests outstanding against an etcd-compatible server and
// reports what came back as one line of JSON.
//
//   kv_bench --endpoint=127.0.0.1:2379 --op=put --outstanding=64 --seconds=5
//
// The same program loads kvstored and etcd, so its own cost weighs on both alike.
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/random.h"
#include "kvstore/api/rpc.pb.h"
#include "kvstore/api/services.grpc.pb.h"

namespace {

using SteadyClock = std::chrono::steady_clock;
using etcdserverpb::KV;

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

// One request after another until the time is over.
class Slot {
 public:
  Slot(const Options& options, KV::Stub* stub, uint64_t seed, SteadyClock::time_point end,
       std::atomic<int>* running, absl::Notification* finished)
      : options_(options),
        stub_(stub),
        random_(seed),
        end_(end),
        running_(running),
        finished_(finished) {
    put_.set_value(std::string(options.value_bytes, 'v'));
    range_.set_serializable(options.op == "get-serializable");
  }

  void Next() {
    started_ = SteadyClock::now();
    if (started_ >= end_) {
      if (running_->fetch_sub(1) == 1) finished_->Notify();
      return;
    }
    context_.emplace();
    const std::string key = "bench/" + std::to_string(random_.Below(options_.keys));
    const auto done = [this](const grpc::Status& status) { Done(status); };
    if (options_.op == "put") {
      put_.set_key(key);
      stub_->async()->Put(&*context_, &put_, &put_response_, done);
    } else {
      range_.set_key(key);
      stub_->async()->Range(&*context_, &range_, &range_response_, done);
    }
  }

  [[nodiscard]] const std::vector<uint32_t>& latencies_us() const { return latencies_us_; }
  [[nodiscard]] uint64_t errors() const { return errors_; }
  [[nodiscard]] const std::string& first_error() const { return first_error_; }

 private:
  void Done(const grpc::Status& status) {
    if (status.ok()) {
      latencies_us_.push_back(static_cast<uint32_t>(
          std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - started_)
              .count()));
    } else if (errors_++ == 0) {
      first_error_ = status.error_message();
    }
    Next();
  }

  const Options& options_;
  KV::Stub* const stub_;
  keelson::Random random_;
  const SteadyClock::time_point end_;
  std::atomic<int>* const running_;
  absl::Notification* const finished_;

  std::optional<grpc::ClientContext> context_;
  etcdserverpb::PutRequest put_;
  etcdserverpb::PutResponse put_response_;
  etcdserverpb::RangeRequest range_;
  etcdserverpb::RangeResponse range_response_;
  SteadyClock::time_point started_;
  std::vector<uint32_t> latencies_us_;
  uint64_t errors_ = 0;
  std::string first_error_;
};

std::vector<std::unique_ptr<KV::Stub>> Connect(const Options& options) {
  std::vector<std::unique_ptr<KV::Stub>> stubs;
  for (int i = 0; i < std::min(options.channels, options.outstanding); ++i) {
    grpc::ChannelArguments arguments;
    arguments.SetInt("channel", i);  // Different arguments: a connection of its own.
    stubs.push_back(KV::NewStub(grpc::CreateCustomChannel(
        options.endpoint, grpc::InsecureChannelCredentials(), arguments)));
  }
  return stubs;
}

int Report(const Options& options, const std::vector<std::unique_ptr<Slot>>& slots,
           double elapsed_seconds) {
  std::vector<uint32_t> all;
  uint64_t errors = 0;
  std::string error;
  for (const auto& slot : slots) {
    all.insert(all.end(), slot->latencies_us().begin(), slot->latencies_us().end());
    errors += slot->errors();
    if (error.empty()) error = slot->first_error();
  }
  std::sort(all.begin(), all.end());
  const auto percentile = [&](double p) {
    return all.empty() ? 0U
                       : all[std::min(all.size() - 1,
                                      static_cast<size_t>(p * static_cast<double>(all.size())))];
  };
  std::printf(
      "{\"op\":\"%s\",\"outstanding\":%d,\"ops\":%zu,\"errors\":%llu,\"seconds\":%.3f,"
      "\"ops_per_second\":%.0f,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u}\n",
      options.op.c_str(), options.outstanding, all.size(), static_cast<unsigned long long>(errors),
      elapsed_seconds, static_cast<double>(all.size()) / elapsed_seconds, percentile(0.5),
      percentile(0.99), all.empty() ? 0U : all.back());
  if (errors > 0) std::fprintf(stderr, "kv_bench: %s\n", error.c_str());
  return all.empty() ? 1 : 0;
}

int Run(const Options& options) {
  const std::vector<std::unique_ptr<KV::Stub>> stubs = Connect(options);
  const SteadyClock::time_point start = SteadyClock::now();
  const auto end = start + std::chrono::duration_cast<SteadyClock::duration>(
                               std::chrono::duration<double>(options.seconds));
  std::atomic<int> running{options.outstanding};
  absl::Notification finished;
  std::vector<std::unique_ptr<Slot>> slots;
  for (int i = 0; i < options.outstanding; ++i) {
    const auto index = static_cast<size_t>(i);
    slots.push_back(std::make_unique<Slot>(options, stubs[index % stubs.size()].get(),
                                           options.seed + index, end, &running, &finished));
  }
  for (const auto& slot : slots) slot->Next();
  finished.WaitForNotification();
  return Report(options, slots, std::chrono::duration<double>(SteadyClock::now() - start).count());
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
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // As kvstored does.
  return Run(options);
}
