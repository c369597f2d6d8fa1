// An engine home whose engines fail on demand, by a full disk or a broken one, and count what is read.
#ifndef KEELSON_KVSTORE_TESTING_FAULTY_ENGINE_H_
#define KEELSON_KVSTORE_TESTING_FAULTY_ENGINE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "kvstore/engine.h"

namespace keelson::kvstore::testing {

// Shared by the test and the engines. Thread-safe.
struct Faults {
  std::atomic<bool> disk_full = false;    // Write, Flush and Resume say so
  std::atomic<bool> disk_broken = false;  // Write and Flush fail for ever
  std::atomic<int> writes_refused = 0;
  std::atomic<int64_t> rows_walked = 0;  // by iterators
};

class CountingIterator final : public EngineIterator {
 public:
  CountingIterator(std::unique_ptr<EngineIterator> target, Faults& faults)
      : target_(std::move(target)), faults_(faults) {}

  void Seek(std::string_view target) override {
    ++faults_.rows_walked;
    target_->Seek(target);
  }
  void Next() override {
    ++faults_.rows_walked;
    target_->Next();
  }
  bool Valid() const override { return target_->Valid(); }
  std::string_view key() const override { return target_->key(); }
  std::string_view value() const override { return target_->value(); }
  absl::Status status() const override { return target_->status(); }

 private:
  const std::unique_ptr<EngineIterator> target_;
  Faults& faults_;
};

class FaultyEngine final : public Engine {
 public:
  FaultyEngine(std::unique_ptr<Engine> target, Faults& faults)
      : target_(std::move(target)), faults_(faults) {}

  std::unique_ptr<WriteBatch> NewBatch() const override { return target_->NewBatch(); }
  absl::Status Write(WriteBatch& batch) override {
    const absl::Status status = Check();
    if (status.ok()) return target_->Write(batch);
    ++faults_.writes_refused;
    return status;
  }
  absl::StatusOr<bool> Get(Family family, std::string_view key,
                           absl::FunctionRef<void(std::string_view)> use) const override {
    return target_->Get(family, key, use);
  }
  std::unique_ptr<EngineIterator> NewIterator(Family family,
                                              const IterateOptions& options) const override {
    return std::make_unique<CountingIterator>(target_->NewIterator(family, options), faults_);
  }
  std::unique_ptr<EngineSnapshot> GetSnapshot() const override { return target_->GetSnapshot(); }
  absl::Status Flush() override {
    const absl::Status status = Check();
    return status.ok() ? target_->Flush() : status;
  }
  absl::Status Resume() override {
    if (faults_.disk_full) return absl::ResourceExhaustedError("the test's disk is full");
    return target_->Resume();
  }
  absl::Status GiveBackSpace() override {
    const absl::Status status = Check();
    return status.ok() ? target_->GiveBackSpace() : status;
  }
  Sizes GetSizes() const override { return target_->GetSizes(); }

  Engine& target() { return *target_; }

 private:
  absl::Status Check() const {
    if (faults_.disk_broken) return absl::UnknownError("the test's disk is broken");
    if (faults_.disk_full) return absl::ResourceExhaustedError("the test's disk is full");
    return absl::OkStatus();
  }

  const std::unique_ptr<Engine> target_;
  Faults& faults_;
};

class FaultyEngineHome final : public EngineHome {
 public:
  // `faults` is borrowed and outlives the engines.
  FaultyEngineHome(std::unique_ptr<EngineHome> target, Faults& faults)
      : target_(std::move(target)), faults_(faults) {}

  absl::StatusOr<std::unique_ptr<Engine>> Open() override { return Wrap(target_->Open()); }
  absl::StatusOr<std::unique_ptr<Engine>> Create() override { return Wrap(target_->Create()); }
  absl::Status Replace(Engine& old, Engine& next) override {
    return target_->Replace(static_cast<FaultyEngine&>(old).target(),
                            static_cast<FaultyEngine&>(next).target());
  }

 private:
  absl::StatusOr<std::unique_ptr<Engine>> Wrap(absl::StatusOr<std::unique_ptr<Engine>> engine) {
    if (!engine.ok()) return engine.status();
    return std::make_unique<FaultyEngine>(*std::move(engine), faults_);
  }

  const std::unique_ptr<EngineHome> target_;
  Faults& faults_;
};

}  // namespace keelson::kvstore::testing

#endif  // KEELSON_KVSTORE_TESTING_FAULTY_ENGINE_H_
