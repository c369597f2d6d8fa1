// A connection is given bytes in pieces of changing sizes. Whatever it gets, it must not break, and
// every call that started must end once.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/rpc/internal/connection.h"
#include "base/rpc/internal/fuzz_socket.h"
#include "base/rpc/internal/loop.h"

namespace keelson::rpc::internal {
namespace {

// Answers each message by itself, and is paused by some.
class EchoHandler final : public CallHandler {
 public:
  EchoHandler(std::shared_ptr<Call> call, int* open) : call_(std::move(call)), open_(open) {
    ++*open_;
  }
  void OnMessage(std::string_view message) override {
    KEELSON_CHECK(!done_);
    if (message.size() % 3 == 1) call_->Pause();
    (void)call_->Send(std::string(message));
    if (message.size() % 3 == 1) call_->Resume();
  }
  void OnHalfClose() override {
    KEELSON_CHECK(!done_);
    call_->Finish(absl::OkStatus());
  }
  void OnRoom() override { KEELSON_CHECK(!done_); }
  void OnDone() override {
    KEELSON_CHECK(!done_);
    done_ = true;
    --*open_;
  }

 private:
  const std::shared_ptr<Call> call_;
  int* const open_;
  bool done_ = false;
};

void Serve(std::string_view input) {
  int open = 0;
  Methods methods;
  Method echo;
  echo.path = "/a";
  echo.start = [&open](const std::shared_ptr<Call>& call) {
    return std::make_shared<EchoHandler>(call, &open);
  };
  methods.emplace(echo.path, echo);
  const ServerOptions options{.max_request_bytes = 1000, .max_metadata_bytes = 500};
  Counters counters;
  LoopContext context{.options = &options,
                      .methods = &methods,
                      .counters = &counters,
                      .mailbox = std::make_shared<Mailbox<Stream>>(),
                      .deadlines = {},
                      .now = {},
                      .input = {},
                      .output = {}};
  {
    Connection connection(&context, std::make_unique<FuzzSocket>(input));
    bool alive = true;
    while (alive) {
      context.now += absl::Milliseconds(100);
      connection.OnReadable();
      for (const std::shared_ptr<Stream>& stream : context.mailbox->Take()) {
        if (stream->connection != nullptr) connection.OnStream(stream);
      }
      alive = connection.Flush();
    }
  }
  KEELSON_CHECK(open == 0) << open;
  KEELSON_CHECK(counters.calls == 0 && counters.connections == 0);
  KEELSON_CHECK(context.deadlines.empty());
}

}  // namespace
}  // namespace keelson::rpc::internal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  keelson::rpc::internal::Serve(input);
  // Behind a preface, which a fuzzer would take long to find.
  constexpr std::string_view kPreface("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
  keelson::rpc::internal::Serve(std::string(kPreface).append(input));
  return 0;
}
