#include "tests/bench/kv_load.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <utility>

#include "absl/strings/str_format.h"

namespace keelson::bench {
namespace {

class Unary final : public rpc::ResponseHandler {
 public:
  Unary(std::function<void(std::string_view)> look, std::function<void(absl::Status)> done)
      : look_(std::move(look)), done_(std::move(done)) {}

  void OnMessage(std::string_view message) override {
    ++messages_;
    if (look_) look_(message);
  }
  void OnDone(const absl::Status& status) override {
    if (status.ok() && messages_ != 1) Fail("an answer is not one message");
    done_(status);
  }

 private:
  const std::function<void(std::string_view)> look_;
  const std::function<void(absl::Status)> done_;
  int messages_ = 0;
};

}  // namespace

double Seconds(SteadyClock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

SteadyClock::duration Duration(double seconds) {
  return std::chrono::duration_cast<SteadyClock::duration>(std::chrono::duration<double>(seconds));
}

void Fail(std::string_view what, const absl::Status& status) {
  const std::string why = status.ok() ? "" : ": " + status.ToString();
  std::fprintf(stderr, "load: %.*s%s\n", static_cast<int>(what.size()), what.data(), why.c_str());
  std::fflush(stderr);
  std::_Exit(1);  // Other threads run on.
}

std::vector<std::unique_ptr<rpc::Channel>> Connect(EventLoop& loop, const std::string& endpoint,
                                                   int count) {
  std::vector<std::unique_ptr<rpc::Channel>> channels;
  for (int i = 0; i < count; ++i) {
    rpc::ChannelOptions options{.address = endpoint};
    options.max_response_bytes = std::numeric_limits<uint32_t>::max();
    channels.push_back(rpc::Channel::Create(loop, std::move(options)));
  }
  return channels;
}

void Call(rpc::Channel& channel, std::string_view path,
          const google::protobuf::MessageLite& request, std::function<void(std::string_view)> look,
          std::function<void(absl::Status)> done) {
  const auto call = channel.Start({.path = std::string(path)},
                                  std::make_shared<Unary>(std::move(look), std::move(done)));
  (void)call->Send(request.SerializeAsString());
  call->HalfClose();
}

void Delays::Add(Delays other) {
  milliseconds_.insert(milliseconds_.end(), other.milliseconds_.begin(), other.milliseconds_.end());
}

double Delays::At(double part) {
  if (milliseconds_.empty()) return 0;
  std::sort(milliseconds_.begin(), milliseconds_.end());
  const auto rank = static_cast<size_t>(part * static_cast<double>(milliseconds_.size()));
  return milliseconds_[std::min(rank, milliseconds_.size() - 1)];
}

std::string Delays::Json(std::string_view name) {
  return absl::StrFormat(R"("%s_count":%d,"%s_p50_ms":%.3f,"%s_p99_ms":%.3f,"%s_max_ms":%.3f)",
                         name, count(), name, At(0.5), name, At(0.99), name, At(1));
}

}  // namespace keelson::bench
