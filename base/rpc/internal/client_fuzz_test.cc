// A client's connection with two calls is given bytes in pieces of changing sizes. Whatever a server
// sends, it must not break, and each call must end once.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/rpc/internal/client_connection.h"
#include "base/rpc/internal/client_stream.h"
#include "base/rpc/internal/fuzz_socket.h"

namespace keelson::rpc::internal {
namespace {

class Handler final : public ResponseHandler {
 public:
  void OnAccepted(const Metadata&) override {
    KEELSON_CHECK(!accepted && !done);
    accepted = true;
  }
  void OnMessage(std::string_view message) override {
    KEELSON_CHECK(accepted && !done);
    if (message.size() % 3 == 1) call->Pause();
    (void)call->Send(std::string(message));
    if (message.size() % 3 == 1) call->Resume();
    if (message.size() % 7 == 5) call->Cancel();
  }
  void OnRoom() override { KEELSON_CHECK(!done); }
  void OnDone(const absl::Status&) override {
    KEELSON_CHECK(!done);
    done = true;
  }

  std::shared_ptr<ClientStream> call;
  bool accepted = false;
  bool done = false;
};

void Serve(std::string_view input) {
  ClientContext context;
  context.options.address = "fuzz:1";
  context.options.max_response_bytes = 1000;
  context.options.max_metadata_bytes = 500;
  context.mailbox = std::make_shared<Mailbox<ClientStream>>();
  std::shared_ptr<Handler> handlers[2];
  {
    ClientConnection connection(&context, std::make_unique<FuzzSocket>(input),
                                absl::InfiniteDuration());
    for (std::shared_ptr<Handler>& handler : handlers) {
      handler = std::make_shared<Handler>();
      handler->call = std::make_shared<ClientStream>(
          context.mailbox, CallOptions{.path = "/a", .metadata = {{"x", "y"}}}, handler, 1000);
      (void)handler->call->Send("first");
      connection.Begin(handler->call);
    }
    handlers[1]->call->HalfClose();
    bool alive = true;
    while (alive) {
      context.now += absl::Milliseconds(100);
      for (const std::shared_ptr<ClientStream>& stream : context.mailbox->Take()) {
        if (stream->handler == nullptr) continue;
        connection.OnStream(stream, stream->TakeOutgoing());
      }
      connection.OnReadable();
      alive = connection.Flush();
    }
  }
  context.mailbox
      ->Close();  // As the client does: calls that came too late hold it, and it holds them.
  for (const std::shared_ptr<Handler>& handler : handlers) {
    KEELSON_CHECK(handler->done);
    handler->call = nullptr;
  }
  KEELSON_CHECK(context.deadlines.empty());
}

}  // namespace
}  // namespace keelson::rpc::internal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  keelson::rpc::internal::Serve(input);
  // Behind a greeting, which a fuzzer would take long to find.
  constexpr std::string_view kSettings("\0\0\0\4\0\0\0\0\0", 9);
  keelson::rpc::internal::Serve(std::string(kSettings).append(input));
  return 0;
}
