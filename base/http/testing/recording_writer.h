// A ResponseWriter that keeps the answer, for tests of handlers without a server.
//
//   auto writer = std::make_shared<RecordingWriter>();
//   handler({.method = "GET", .target = "/version"}, writer);
//   CHECK(writer->Wait().body == "...");
#ifndef KEELSON_BASE_HTTP_TESTING_RECORDING_WRITER_H_
#define KEELSON_BASE_HTTP_TESTING_RECORDING_WRITER_H_

#include <functional>
#include <string>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "base/check.h"
#include "base/http/server.h"

namespace keelson::http {

// Thread-safe.
class RecordingWriter final : public ResponseWriter {
 public:
  void Send(Response response) override {
    absl::MutexLock lock(&mu_);
    KEELSON_CHECK(!started_ && !finished_);
    response_ = std::move(response);
    started_ = finished_ = true;
  }
  void Start(int status, Headers headers) override {
    absl::MutexLock lock(&mu_);
    KEELSON_CHECK(!started_);
    response_ = {.status = status, .headers = std::move(headers)};
    started_ = true;
  }
  bool Write(std::string piece) override {
    absl::MutexLock lock(&mu_);
    KEELSON_CHECK(started_ && !finished_);
    if (gone_) return false;
    response_.body += piece;
    return true;
  }
  void Finish() override {
    absl::MutexLock lock(&mu_);
    KEELSON_CHECK(started_ && !finished_);
    finished_ = true;
  }
  size_t BufferedBytes() const override { return 0; }
  void OnDrained(std::function<void()> callback) override { callback(); }
  void OnDisconnect(std::function<void()> callback) override {
    {
      absl::MutexLock lock(&mu_);
      if (!gone_) {
        on_disconnect_ = std::move(callback);
        return;
      }
    }
    callback();
  }
  bool IsConnected() const override {
    absl::MutexLock lock(&mu_);
    return !gone_;
  }

  // Waits for the end of the answer and returns it.
  Response Wait() {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&finished_));
    return response_;
  }
  // Waits until the body so far contains `text`.
  void WaitForBody(const std::string& text) {
    absl::MutexLock lock(&mu_);
    const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return response_.body.find(text) != std::string::npos;
    };
    mu_.Await(absl::Condition(&there));
  }
  [[nodiscard]] bool finished() const {
    absl::MutexLock lock(&mu_);
    return finished_;
  }
  // The client goes away.
  void Disconnect() {
    std::function<void()> callback;
    {
      absl::MutexLock lock(&mu_);
      gone_ = true;
      callback = std::exchange(on_disconnect_, nullptr);
    }
    if (callback) callback();
  }

 private:
  mutable absl::Mutex mu_;
  Response response_ ABSL_GUARDED_BY(mu_);
  bool started_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  bool gone_ ABSL_GUARDED_BY(mu_) = false;
  std::function<void()> on_disconnect_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keelson::http

#endif  // KEELSON_BASE_HTTP_TESTING_RECORDING_WRITER_H_
