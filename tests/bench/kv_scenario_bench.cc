// One load of a named shape against an etcd-compatible server; what came of it is one line of JSON.
//
//   kv_scenario_bench --endpoint=127.0.0.1:2379 fill --keys=1000000
//   kv_scenario_bench --endpoint=127.0.0.1:2379 watchers --watchers=10000
//
// The same program loads kvstored and etcd, so its own cost weighs on both alike. It has one thread,
// and decodes of large answers the first only; of the others it looks at the length and at the fields
// at their end, and of events it counts the messages and decodes one a round.
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "kvstore/api/rpc.pb.h"
#include "tests/bench/kv_load.h"

namespace {

using etcdserverpb::PutRequest;
using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;
using etcdserverpb::TxnRequest;
using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;
using keelson::EventLoop;
using keelson::UniqueFd;
using keelson::bench::Call;
using keelson::bench::Delays;
using keelson::bench::Fail;
using keelson::bench::Seconds;
using keelson::bench::SteadyClock;
namespace bench = keelson::bench;
namespace rpc = keelson::rpc;

using Channels = std::vector<std::unique_ptr<rpc::Channel>>;

struct Options {
  std::string endpoint = "127.0.0.1:2379";
  uint64_t keys = 10000;
  size_t value_bytes = 256;
  int outstanding = 16;
  int watchers = 10000;
  int streams = 100;
  int times = 10;
  uint64_t page = 1000;
  double rate = 1000;
  double seconds = 5;
};

// 64 bytes.
std::string Key(uint64_t number) { return absl::StrFormat("bench/%058d", number); }
constexpr char kEnd[] = "bench0";  // of all keys

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

template <typename Message>
Message Decode(std::string_view bytes) {
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    Fail("a message cannot be decoded");
  }
  return message;
}

// A load on the thread of its loop. It ends when whoever runs it says so.
class Load {
 public:
  Load(const Options& load_options, int connections)
      : options(load_options), channels(bench::Connect(loop, options.endpoint, connections)) {}

  void Run(const std::function<void()>& begin) {
    loop.Post(begin);
    finished.WaitForNotification();
    for (const auto& channel : channels) channel->Close();
  }
  // Runs `begin` for each of `outstanding` slots, which call End when they are through.
  void RunSlots(const std::function<void(int)>& begin) {
    running_ = options.outstanding;
    Run([&] {
      for (int slot = 0; slot < options.outstanding; ++slot) begin(slot);
    });
  }
  void End() {
    if (--running_ == 0) finished.Notify();
  }

  [[nodiscard]] rpc::Channel& channel(int number) {
    return *channels[static_cast<size_t>(number) % channels.size()];
  }
  [[nodiscard]] double elapsed() const { return Seconds(SteadyClock::now() - start); }
  [[nodiscard]] bool over() const { return elapsed() >= options.seconds; }

  const Options& options;
  EventLoop loop{"load"};
  const Channels channels;
  const SteadyClock::time_point start = SteadyClock::now();
  absl::Notification finished;

 private:
  int running_ = 0;
};

void Put(rpc::Channel& channel, const std::string& key, std::string value,
         std::function<void()> done) {
  PutRequest request;
  request.set_key(key);
  request.set_value(std::move(value));
  Call(channel, bench::kPut, request, nullptr,
       [done = std::move(done)](const absl::Status& status) {
         if (!status.ok()) Fail("a put", status);
         done();
       });
}

// ---- fill: keys of 64 bytes, 128 in a transaction ----

class Fill {
 public:
  explicit Fill(const Options& options) : load_(options, 4) {}

  void Run() {
    load_.RunSlots([this](int slot) { Next(slot); });
    absl::PrintF("{\"keys\":%d,\"seconds\":%.3f}\n", load_.options.keys, load_.elapsed());
  }

 private:
  void Next(int slot) {
    constexpr uint64_t kInTransaction = 128;
    const Options& options = load_.options;
    if (next_ >= options.keys) return load_.End();
    const auto request = std::make_shared<TxnRequest>();
    for (uint64_t i = 0; i < kInTransaction && next_ < options.keys; ++i, ++next_) {
      PutRequest& put = *request->add_success()->mutable_request_put();
      put.set_key(Key(next_));
      put.set_value(Value(options.value_bytes, next_));
    }
    Send(slot, request);
  }

  void Send(int slot, const std::shared_ptr<TxnRequest>& request) {
    Call(load_.channel(slot), bench::kTxn, *request, nullptr,
         [=, this](const absl::Status& status) {
           if (status.ok()) return Next(slot);
           // Both servers refuse more while too much waits to be applied.
           if (status.message() != "etcdserver: too many requests") Fail("a transaction", status);
           load_.loop.PostAfter(absl::Milliseconds(5), [=, this] { Send(slot, request); });
         });
  }

  Load load_;
  uint64_t next_ = 0;
};

// ---- range: serializable ranges over all keys ----

class Range {
 public:
  explicit Range(const Options& options) : load_(options, options.outstanding) {
    request_.set_key("bench/");
    request_.set_range_end(kEnd);
    request_.set_serializable(true);
    RangeResponse end;
    end.set_count(static_cast<int64_t>(options.keys));
    end_ = end.SerializeAsString();
  }

  void Run() {
    load_.RunSlots([this](int slot) { Next(slot); });
    absl::PrintF("{\"per_second\":%.2f,%s}\n",
                 static_cast<double>(delays_.count()) / load_.elapsed(), delays_.Json("range"));
  }

 private:
  void Next(int slot) {
    if (load_.over()) return load_.End();
    const auto sent = SteadyClock::now();
    Call(
        load_.channel(slot), bench::kRange, request_,
        [this](std::string_view answer) { Check(answer); },
        [=, this](const absl::Status& status) {
          if (!status.ok()) Fail("a range", status);
          delays_.Add(SteadyClock::now() - sent);
          Next(slot);
        });
  }

  void Check(std::string_view answer) {
    if (bytes_ == 0) {
      const auto response = Decode<RangeResponse>(answer);
      if (response.kvs_size() != static_cast<int>(load_.options.keys)) Fail("keys are missing");
      for (const auto& pair : response.kvs()) {
        if (pair.value().size() != load_.options.value_bytes) Fail("a value is not whole");
      }
      bytes_ = answer.size();
    }
    if (answer.size() != bytes_ || !answer.ends_with(end_)) Fail("a range differs from the first");
  }

  Load load_;
  RangeRequest request_;
  std::string end_;  // The field `count`, the last one of an answer.
  size_t bytes_ = 0;
  Delays delays_;
};

// ---- Watches ----

// A stream with a number of watchers of one key.
class WatchStream final : public rpc::ResponseHandler {
 public:
  using OnEvents = std::function<void(std::string_view)>;

  // On the loop. `created` hears that all watchers are; `events` is given what comes then.
  static void Open(rpc::Channel& channel, const std::string& key, int watchers,
                   std::function<void()> created, OnEvents events) {
    const auto call = channel.Start(
        {.path = bench::kWatch},
        std::make_shared<WatchStream>(watchers, std::move(created), std::move(events)));
    WatchRequest request;
    request.mutable_create_request()->set_key(key);
    for (int i = 0; i < watchers; ++i) (void)call->Send(request.SerializeAsString());
  }

  WatchStream(int watchers, std::function<void()> created, OnEvents events)
      : missing_(watchers), created_(std::move(created)), events_(std::move(events)) {}

  void OnMessage(std::string_view message) override {
    if (missing_ == 0) return events_(message);
    if (!Decode<WatchResponse>(message).created()) Fail("a watch is not created");
    if (--missing_ == 0) created_();
  }
  void OnDone(const absl::Status& status) override {
    if (!absl::IsCancelled(status)) Fail("a stream of watches ends", status);
  }

 private:
  int missing_;
  const std::function<void()> created_;
  const OnEvents events_;
};

void CheckEvent(std::string_view message, std::string_view key) {
  const auto response = Decode<WatchResponse>(message);
  if (response.events_size() != 1 || response.events(0).kv().key() != key) {
    Fail("a watcher is told something else");
  }
}

// ---- watchers: many on one key; from a put until all have been told ----

class Watchers {
 public:
  explicit Watchers(const Options& options) : load_(options, kChannels + 1) {}

  void Run() {
    const Options& options = load_.options;
    load_.Run([&] {
      opening_ = options.streams;
      for (int i = 0; i < options.streams; ++i) {
        WatchStream::Open(
            load_.channel(i % kChannels), kKey, each_,
            [this] {
              if (--opening_ == 0) Next();
            },
            [this](std::string_view message) { OnEvents(message); });
      }
    });
    absl::PrintF("{\"watchers\":%d,%s}\n", each_ * options.streams, delays_.Json("all_told"));
  }

 private:
  static constexpr int kChannels = 8;
  static constexpr char kKey[] = "hot";

  void Next() {
    const Options& options = load_.options;
    if (delays_.count() == static_cast<size_t>(options.times)) return load_.finished.Notify();
    waiting_ = each_ * options.streams + 1;  // The put's answer, too.
    sent_ = SteadyClock::now();
    Put(load_.channel(kChannels), kKey, Value(options.value_bytes, 1), [this] { Hear(); });
  }
  void OnEvents(std::string_view message) {
    if (message.size() < load_.options.value_bytes) Fail("a watcher is told something else");
    if (waiting_ == 2) CheckEvent(message, kKey);
    Hear();
  }
  void Hear() {
    if (--waiting_ > 0) return;
    delays_.Add(SteadyClock::now() - sent_);
    Next();
  }

  Load load_;
  const int each_ = std::max(1, load_.options.watchers / load_.options.streams);
  int opening_ = 0;
  int waiting_ = 0;
  SteadyClock::time_point sent_;
  Delays delays_;
};

// ---- paced: puts at a fixed rate, each timed from when it was due ----

// More than `outstanding` are not in flight: what is due then waits for an answer.

class Paced final : private EventLoop::Source {
 public:
  explicit Paced(const Options& options)
      : load_(options, 8),
        timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)),
        total_(static_cast<uint64_t>(options.rate * options.seconds)) {}

  void Run() {
    load_.Run([this] {
      load_.loop.Watch(timer_.get(), EPOLLIN, this);
      Set();
    });
    load_.loop.Await([this] { load_.loop.Unwatch(timer_.get(), this); });
    absl::PrintF("{\"rate\":%.0f,%s,%s}\n", load_.options.rate, late_.Json("late"),
                 delays_.Json("put"));
  }

 private:
  [[nodiscard]] SteadyClock::time_point Due(uint64_t number) const {
    return load_.start + bench::Duration(0.05 + static_cast<double>(number) / load_.options.rate);
  }

  // steady_clock is CLOCK_MONOTONIC.
  void Set() { SetTo(absl::FromChrono(Due(next_).time_since_epoch())); }
  void Clear() { SetTo(absl::ZeroDuration()); }
  void SetTo(absl::Duration at) {
    const itimerspec spec{.it_interval = {}, .it_value = absl::ToTimespec(at)};
    if (::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr) != 0) Fail("a timer");
  }

  void OnReady(uint32_t) override { SendDue(); }

  void SendDue() {
    const auto limit = static_cast<uint64_t>(load_.options.outstanding);
    while (next_ < total_ && next_ - delays_.count() < limit) {
      const SteadyClock::time_point due = Due(next_);
      const SteadyClock::time_point now = SteadyClock::now();
      if (due > now) return Set();
      late_.Add(now - due);
      Put(load_.channel(static_cast<int>(next_ % 8)), Key(next_ % load_.options.keys),
          Value(load_.options.value_bytes, next_), [this, due] {
            delays_.Add(SteadyClock::now() - due);
            if (delays_.count() == total_) return load_.finished.Notify();
            SendDue();
          });
      ++next_;
    }
    Clear();
  }

  Load load_;
  const UniqueFd timer_;
  const uint64_t total_;
  uint64_t next_ = 0;
  Delays late_;  // from when a put was due until it was sent
  Delays delays_;
};

// ---- mixed: how late a watch is while others list all keys on the same connection ----

class Mixed {
 public:
  explicit Mixed(const Options& options) : load_(options, 2) {}

  void Run() {
    load_.RunSlots([this](int slot) {
      if (slot == 0) {
        WatchStream::Open(
            load_.channel(0), kKey, 1, [this] { Change(); },
            [this](std::string_view message) {
              CheckEvent(message, kKey);
              Hear();
            });
      }
      Page(0);
    });
    absl::PrintF("{\"listed_mib_per_second\":%.1f,%s}\n",
                 static_cast<double>(bytes_) / (1 << 20) / load_.elapsed(), delays_.Json("watch"));
  }

 private:
  static constexpr char kKey[] = "watched";

  // Asks for the page of a list that begins with key `first`.
  void Page(uint64_t first) {
    const Options& options = load_.options;
    if (load_.over()) return load_.End();
    if (first >= options.keys) first = 0;
    RangeRequest request;
    request.set_key(Key(first));
    request.set_range_end(kEnd);
    request.set_limit(static_cast<int64_t>(options.page));
    Call(
        load_.channel(0), bench::kRange, request,
        [this, first](std::string_view answer) { CheckPage(answer, first); },
        [this, first](const absl::Status& status) {
          if (!status.ok()) Fail("a list", status);
          Page(first + load_.options.page);
        });
  }

  void CheckPage(std::string_view answer, uint64_t first) {
    const Options& options = load_.options;
    RangeResponse end;
    const uint64_t left = options.keys - first;
    end.set_more(left > options.page);
    end.set_count(static_cast<int64_t>(left));
    const size_t bytes = std::min(left, options.page) * options.value_bytes;
    if (answer.size() < bytes || !answer.ends_with(end.SerializeAsString())) {
      Fail("a page is not whole");
    }
    if (bytes_ == 0 && Decode<RangeResponse>(answer).kvs_size() !=
                           static_cast<int>(std::min(left, options.page))) {
      Fail("a page is not whole");
    }
    bytes_ += answer.size();
  }

  void Change() {
    if (load_.over()) return;
    waiting_ = 2;  // The put's answer and the watcher's event.
    sent_ = SteadyClock::now();
    Put(load_.channel(1), kKey, "v", [this] { Hear(); });
  }
  void Hear() {
    if (--waiting_ > 0) return;
    delays_.Add(SteadyClock::now() - sent_);
    Change();
  }

  Load load_;
  uint64_t bytes_ = 0;
  int waiting_ = 0;
  SteadyClock::time_point sent_;
  Delays delays_;
};

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
  const auto add = [&](const char* name, const char* text, std::function<void()> run) {
    app.add_subcommand(name, text)->callback(std::move(run));
  };
  add("fill", "write all keys, in transactions", [&] { Fill(options).Run(); });
  add("range", "read all keys at once, serializably, again and again",
      [&] { Range(options).Run(); });
  add("watchers", "tell many watchers of one key", [&] { Watchers(options).Run(); });
  add("paced", "put at a fixed rate", [&] { Paced(options).Run(); });
  add("mixed", "watch while others list all keys on the same connection",
      [&] { Mixed(options).Run(); });
  CLI11_PARSE(app, argc, argv);
  return 0;
}
