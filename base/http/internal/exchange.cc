#include "base/http/internal/exchange.h"

#include <utility>

#include "base/check.h"

namespace keelson::http::internal {
namespace {

class Writer final : public ResponseWriter {
 public:
  explicit Writer(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}

  ~Writer() override {
    if (stage_ == Stage::kFinished) return;
    Exchange& exchange = *exchange_;
    exchange.Enqueue([&exchange](Connection& connection) { connection.Abandon(exchange); });
  }

  void Send(Response response) override {
    Step(Stage::kFresh, Stage::kFinished, "Send");
    KEELSON_CHECK(response.status >= 200 && response.status <= 999) << response.status;
    Exchange& exchange = *exchange_;
    exchange.buffered_bytes += response.body.size();
    exchange.Enqueue([&exchange, response = std::move(response)](Connection& connection) mutable {
      const size_t bytes = response.body.size();
      connection.Send(exchange, std::move(response));
      exchange.buffered_bytes -= bytes;  // Counted by the connection now.
    });
  }

  void Start(int status, Headers headers) override {
    Step(Stage::kFresh, Stage::kStarted, "Start");
    KEELSON_CHECK(status >= 200 && status <= 999) << status;
    Exchange& exchange = *exchange_;
    exchange.Enqueue([&exchange, status, headers = std::move(headers)](Connection& connection) {
      connection.StartStream(exchange, status, headers);
    });
  }

  bool Write(std::string piece) override {
    Step(Stage::kStarted, Stage::kStarted, "Write");
    Exchange& exchange = *exchange_;
    if (exchange.gone) return false;
    exchange.buffered_bytes += piece.size();
    exchange.Enqueue([&exchange, piece = std::move(piece)](Connection& connection) mutable {
      const size_t bytes = piece.size();
      connection.WritePiece(exchange, std::move(piece));
      exchange.buffered_bytes -= bytes;  // Counted by the connection now.
    });
    return true;
  }

  void Finish() override {
    Step(Stage::kStarted, Stage::kFinished, "Finish");
    Exchange& exchange = *exchange_;
    exchange.Enqueue([&exchange](Connection& connection) { connection.Finish(exchange); });
  }

  size_t BufferedBytes() const override { return exchange_->buffered_bytes; }

  void OnDrained(std::function<void()> callback) override {
    Exchange& exchange = *exchange_;
    exchange.Enqueue([&exchange, callback = std::move(callback)](Connection& connection) mutable {
      connection.OnDrained(exchange, std::move(callback));
    });
  }

  void OnDisconnect(std::function<void()> callback) override {
    Exchange& exchange = *exchange_;
    exchange.Enqueue([&exchange, callback = std::move(callback)](Connection&) mutable {
      if (exchange.finished) return;
      exchange.on_disconnect = std::move(callback);
      if (exchange.gone) exchange.MarkGone();
    });
  }

  bool IsConnected() const override { return !exchange_->gone; }

 private:
  enum class Stage { kFresh, kStarted, kFinished };

  void Step(Stage from, Stage to, const char* call) {
    const Stage was = stage_.exchange(to);
    KEELSON_CHECK(was == from) << call << " after "
                               << (was == Stage::kFresh     ? "nothing"
                                   : was == Stage::kStarted ? "Start"
                                                            : "the end");
  }

  const std::shared_ptr<Exchange> exchange_;
  std::atomic<Stage> stage_{Stage::kFresh};
};

}  // namespace

std::shared_ptr<ResponseWriter> Exchange::NewWriter() {
  return std::make_shared<Writer>(shared_from_this());
}

void Exchange::Enqueue(std::function<void(Connection&)> operation) {
  {
    absl::MutexLock lock(&mu_);
    operations_.push_back(std::move(operation));
    if (scheduled_) return;  // Whoever runs the others takes this one too.
    scheduled_ = true;
  }
  if (connection_->thread().RunsHere()) {
    RunOperations();
  } else {
    connection_->thread().Post([self = shared_from_this()] { self->RunOperations(); });
  }
}

void Exchange::RunOperations() {
  const auto self = shared_from_this();  // An operation may drop the last other reference.
  std::vector<std::function<void(Connection&)>> batch;
  while (true) {
    batch.clear();
    {
      absl::MutexLock lock(&mu_);
      if (operations_.empty()) {
        scheduled_ = false;
        return;
      }
      batch.swap(operations_);
    }
    for (auto& operation : batch) operation(*connection_);
  }
}

void Exchange::MarkGone() {
  gone = true;
  if (const auto callback = std::exchange(on_disconnect, nullptr)) callback();
}

}  // namespace keelson::http::internal
