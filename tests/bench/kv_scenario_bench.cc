// One load of a named shape against an etcd-compatible server; what came of it is one line of JSON.
//
//   kv_scenario_bench --endpoint=127.0.0.1:2379 fill --keys=1000000
//   kv_scenario_bench --endpoint=127.0.0.1:2379 watchers --watchers=10000
//
// The same program loads kvstored and etcd, so its own cost weighs on both alike.
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "kvstore/api/rpc.pb.h"
#include "kvstore/api/services.grpc.pb.h"

namespace {

using etcdserverpb::KV;
using etcdserverpb::PutRequest;
using etcdserverpb::PutResponse;
using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::TxnRequest;
using etcdserverpb::TxnResponse;
using etcdserverpb::Watch;
using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;
using SteadyClock = std::chrono::steady_clock;

struct Options {
  std::string endpoint = "127.0.0.1:2379";
  uint64_t keys = 10000;
  size_t value_bytes = 256;
  int outstanding = 16;
  int watchers = 10000;
  int streams = 100;
  int times = 10;
  int page = 1000;
  double rate = 1000;
  double seconds = 5;
};

[[noreturn]] void Fail(std::string_view what, const grpc::Status& status = {}) {
  absl::FPrintF(stderr, "kv_scenario_bench: %s: %s\n", what, status.error_message());
  std::exit(1);
}

double Seconds(SteadyClock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

// A connection of its own for each number.
std::shared_ptr<grpc::Channel> Connect(const Options& options, int number = 0) {
  grpc::ChannelArguments arguments;
  arguments.SetInt("channel", number);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(options.endpoint, grpc::InsecureChannelCredentials(), arguments);
}

// 64 bytes.
std::string Key(uint64_t number) { return absl::StrFormat("bench/%058d", number); }

// Hardly compressible, so that nobody gains by that.
std::string Value(size_t bytes, uint64_t seed) {
  std::string value(bytes, '\0');
  uint64_t state = seed * 2654435761u + 88172645463325252u;
  for (char& c : value) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    c = static_cast<char>(state);
  }
  return value;
}

// Milliseconds, by rank.
class Delays {
 public:
  void Add(SteadyClock::duration delay) {
    absl::MutexLock lock(&mu_);
    all_.push_back(Seconds(delay) * 1e3);
  }
  // "name_p50_ms":..., and so on.
  std::string Json(std::string_view name) {
    absl::MutexLock lock(&mu_);
    std::sort(all_.begin(), all_.end());
    const auto at = [&](double part) {
      return all_.empty()
                 ? 0
                 : all_[std::min(all_.size() - 1,
                                 static_cast<size_t>(part * static_cast<double>(all_.size())))];
    };
    return absl::StrFormat(R"("%s_count":%d,"%s_p50_ms":%.3f,"%s_p99_ms":%.3f,"%s_max_ms":%.3f)",
                           name, all_.size(), name, at(0.5), name, at(0.99), name, at(1));
  }

 private:
  absl::Mutex mu_;
  std::vector<double> all_ ABSL_GUARDED_BY(mu_);
};

// Runs `work(thread)` on `threads` threads until all are done.
void OnThreads(int threads, const std::function<void(int)>& work) {
  std::vector<std::thread> running;
  for (int i = 0; i < threads; ++i) running.emplace_back(work, i);
  for (std::thread& thread : running) thread.join();
}

// ---- fill: keys of 64 bytes, 128 in a transaction ----

void Fill(const Options& options) {
  constexpr uint64_t kInTransaction = 128;
  std::atomic<uint64_t> next{0};
  const auto start = SteadyClock::now();
  OnThreads(options.outstanding, [&](int thread) {
    const auto kv = KV::NewStub(Connect(options, thread % 4));
    for (uint64_t first = 0; (first = next.fetch_add(kInTransaction)) < options.keys;) {
      TxnRequest request;
      for (uint64_t i = first; i < std::min(first + kInTransaction, options.keys); ++i) {
        PutRequest& put = *request.add_success()->mutable_request_put();
        put.set_key(Key(i));
        put.set_value(Value(options.value_bytes, i));
      }
      // Both servers refuse more while too much waits to be applied.
      for (;;) {
        grpc::ClientContext context;
        TxnResponse response;
        const grpc::Status status = kv->Txn(&context, request, &response);
        if (status.ok()) break;
        if (status.error_message() != "etcdserver: too many requests")
          Fail("a transaction", status);
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    }
  });
  absl::PrintF("{\"keys\":%d,\"seconds\":%.3f}\n", options.keys,
               Seconds(SteadyClock::now() - start));
}

// ---- range: serializable ranges over all keys ----

void Range(const Options& options) {
  std::atomic<uint64_t> ranges{0};
  Delays delays;
  const auto start = SteadyClock::now();
  OnThreads(options.outstanding, [&](int thread) {
    const auto kv = KV::NewStub(Connect(options, thread));
    RangeRequest request;
    request.set_key("bench/");
    request.set_range_end("bench0");
    request.set_serializable(true);
    while (Seconds(SteadyClock::now() - start) < options.seconds) {
      grpc::ClientContext context;
      RangeResponse response;
      const auto sent = SteadyClock::now();
      const grpc::Status status = kv->Range(&context, request, &response);
      if (!status.ok()) Fail("a range", status);
      if (response.kvs_size() != static_cast<int>(options.keys)) Fail("a range has not all keys");
      delays.Add(SteadyClock::now() - sent);
      ranges.fetch_add(1);
    }
  });
  absl::PrintF("{\"per_second\":%.2f,%s}\n",
               static_cast<double>(ranges) / Seconds(SteadyClock::now() - start),
               delays.Json("range"));
}

// ---- watchers: many on one key; a put until all have been told ----

class WatchStream {
 public:
  using OnEvents = std::function<void(const WatchResponse&)>;

  // Opens a stream with `watchers` watchers of `key` and reads until it is destroyed.
  WatchStream(const std::shared_ptr<grpc::Channel>& channel, const std::string& key, int watchers,
              OnEvents on_events)
      : stub_(Watch::NewStub(channel)), stream_(stub_->Watch(&context_)) {
    for (int i = 0; i < watchers; ++i) {
      WatchRequest request;
      request.mutable_create_request()->set_key(key);
      if (!stream_->Write(request)) Fail("a watch");
    }
    WatchResponse response;
    for (int created = 0; created < watchers;) {
      if (!stream_->Read(&response)) Fail("a watch is not created");
      if (response.created()) ++created;
    }
    reader_ = std::thread([this, on_events = std::move(on_events)] {
      WatchResponse next;
      while (stream_->Read(&next)) on_events(next);
    });
  }
  ~WatchStream() {
    context_.TryCancel();
    reader_.join();
  }
  WatchStream(const WatchStream&) = delete;
  WatchStream& operator=(const WatchStream&) = delete;

 private:
  grpc::ClientContext context_;
  const std::unique_ptr<Watch::Stub> stub_;
  const std::unique_ptr<grpc::ClientReaderWriter<WatchRequest, WatchResponse>> stream_;
  std::thread reader_;
};

void Put(KV::Stub* kv, const std::string& key, const std::string& value) {
  grpc::ClientContext context;
  PutRequest request;
  request.set_key(key);
  request.set_value(value);
  PutResponse response;
  const grpc::Status status = kv->Put(&context, request, &response);
  if (!status.ok()) Fail("a put", status);
}

void Watchers(const Options& options) {
  absl::Mutex mu;
  int64_t told = 0;
  std::vector<std::unique_ptr<WatchStream>> streams;
  const int each = std::max(1, options.watchers / options.streams);
  for (int i = 0; i < options.streams; ++i) {
    streams.push_back(std::make_unique<WatchStream>(Connect(options, i % 8), "hot", each,
                                                    [&](const WatchResponse& response) {
                                                      absl::MutexLock lock(&mu);
                                                      told += response.events_size();
                                                    }));
  }
  const auto kv = KV::NewStub(Connect(options, 8));
  Delays delays;
  int64_t wanted = 0;
  for (int i = 0; i < options.times; ++i) {
    wanted += int64_t{each} * options.streams;
    const auto sent = SteadyClock::now();
    Put(kv.get(), "hot", Value(options.value_bytes, 1));
    absl::MutexLock lock(&mu);
    const auto all = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return told >= wanted; };
    if (!mu.AwaitWithTimeout(absl::Condition(&all), absl::Seconds(60))) {
      Fail(absl::StrCat(told, " of ", wanted, " watchers were told within a minute"));
    }
    delays.Add(SteadyClock::now() - sent);
  }
  absl::PrintF("{\"watchers\":%d,%s}\n", each * options.streams, delays.Json("all_told"));
}

// ---- paced: puts at a fixed rate, each timed from when it was due ----

void Paced(const Options& options) {
  Delays delays;
  std::atomic<uint64_t> next{0};
  const auto start = SteadyClock::now() + std::chrono::milliseconds(50);
  const auto due = [&](uint64_t number) {
    return start + std::chrono::duration_cast<SteadyClock::duration>(
                       std::chrono::duration<double>(static_cast<double>(number) / options.rate));
  };
  const auto total = static_cast<uint64_t>(options.rate * options.seconds);
  OnThreads(options.outstanding, [&](int thread) {
    const auto kv = KV::NewStub(Connect(options, thread % 8));
    for (uint64_t number = 0; (number = next.fetch_add(1)) < total;) {
      std::this_thread::sleep_until(due(number));
      Put(kv.get(), Key(number % options.keys), Value(options.value_bytes, number));
      delays.Add(SteadyClock::now() - due(number));
    }
  });
  absl::PrintF("{\"rate\":%.0f,%s}\n", options.rate, delays.Json("put"));
}

// ---- mixed: how late a watch is while others list all keys on the same connection ----

void List(const Options& options, const std::shared_ptr<grpc::Channel>& channel,
          const std::atomic<bool>& stop, std::atomic<uint64_t>* bytes) {
  const auto kv = KV::NewStub(channel);
  while (!stop) {
    std::string from = "bench/";
    for (bool more = true; more && !stop;) {
      grpc::ClientContext context;
      RangeRequest request;
      request.set_key(from);
      request.set_range_end("bench0");
      request.set_limit(options.page);
      RangeResponse response;
      const grpc::Status status = kv->Range(&context, request, &response);
      if (!status.ok()) Fail("a list", status);
      for (const auto& pair : response.kvs()) bytes->fetch_add(pair.value().size());
      more = response.more() && response.kvs_size() > 0;
      if (more) from = response.kvs().rbegin()->key() + '\0';
    }
  }
}

void Mixed(const Options& options) {
  const auto channel = Connect(options);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> bytes{0};
  absl::Mutex mu;
  int64_t told = 0;
  WatchStream stream(channel, "watched", 1, [&](const WatchResponse& response) {
    absl::MutexLock lock(&mu);
    told += response.events_size();
  });
  std::thread lists(
      [&] { OnThreads(options.outstanding, [&](int) { List(options, channel, stop, &bytes); }); });
  Delays delays;
  const auto kv = KV::NewStub(Connect(options, 1));
  const auto start = SteadyClock::now();
  for (int64_t wanted = 1; Seconds(SteadyClock::now() - start) < options.seconds; ++wanted) {
    Put(kv.get(), "watched", "v");
    const auto put = SteadyClock::now();
    absl::MutexLock lock(&mu);
    const auto all = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return told >= wanted; };
    if (!mu.AwaitWithTimeout(absl::Condition(&all), absl::Seconds(60)))
      Fail("a watcher was not told");
    delays.Add(SteadyClock::now() - put);
  }
  stop = true;
  lists.join();
  absl::PrintF("{\"listed_mib_per_second\":%.1f,%s}\n",
               static_cast<double>(bytes) / (1 << 20) / Seconds(SteadyClock::now() - start),
               delays.Json("watch"));
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("One load of a named shape against an etcd-compatible server.");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--endpoint", options.endpoint, "host:port of the server")->capture_default_str();
  app.add_option("--keys", options.keys, "keys of 64 bytes")->capture_default_str();
  app.add_option("--value-bytes", options.value_bytes, "of each value")->capture_default_str();
  app.add_option("--outstanding", options.outstanding, "requests in flight")->capture_default_str();
  app.add_option("--watchers", options.watchers, "on one key")->capture_default_str();
  app.add_option("--streams", options.streams, "that they share")->capture_default_str();
  app.add_option("--times", options.times, "puts to the watched key")->capture_default_str();
  app.add_option("--page", options.page, "keys of a list's page")->capture_default_str();
  app.add_option("--rate", options.rate, "puts per second")->capture_default_str();
  app.add_option("--seconds", options.seconds, "how long")->capture_default_str();
  const auto add = [&](const char* name, const char* text, void (*run)(const Options&)) {
    app.add_subcommand(name, text)->callback([&options, run] { run(options); });
  };
  add("fill", "write all keys, in transactions", Fill);
  add("range", "read all keys at once, serializably, again and again", Range);
  add("watchers", "tell many watchers of one key", Watchers);
  add("paced", "put at a fixed rate", Paced);
  add("mixed", "watch while others list all keys on the same connection", Mixed);
  CLI11_PARSE(app, argc, argv);
  return 0;
}
