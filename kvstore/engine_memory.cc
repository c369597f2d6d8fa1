#include "kvstore/engine_memory.h"

#include <array>
#include <map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace keelson::kvstore {
namespace {

using Table = std::map<std::string, std::string, std::less<>>;

struct Tables {
  std::array<Table, kFamilyCount> families;
  int64_t bytes = 0;
};

// What a crash leaves of one engine.
struct DurableImage {
  absl::Mutex mu;
  std::shared_ptr<const Tables> tables ABSL_GUARDED_BY(mu) = std::make_shared<Tables>();
};

class MemoryBatch final : public WriteBatch {
 public:
  void Put(Family family, std::string_view key,
           std::initializer_list<std::string_view> value) override {
    Change& change = changes_.emplace_back(Change{family, false, std::string(key), {}});
    for (const std::string_view piece : value) change.value.append(piece);
  }
  void Delete(Family family, std::string_view key) override {
    changes_.push_back({family, true, std::string(key), {}});
  }
  void Clear() override { changes_.clear(); }

  void ApplyTo(Tables& tables) const {
    for (const Change& change : changes_) {
      Table& table = tables.families[static_cast<size_t>(change.family)];
      if (const auto it = table.find(change.key); it != table.end()) {
        tables.bytes -= static_cast<int64_t>(it->first.size() + it->second.size());
        table.erase(it);
      }
      if (change.deleted) continue;
      table.emplace(change.key, change.value);
      tables.bytes += static_cast<int64_t>(change.key.size() + change.value.size());
    }
  }

 private:
  struct Change {
    Family family;
    bool deleted;
    std::string key;
    std::string value;
  };
  std::vector<Change> changes_;
};

struct MemorySnapshot final : public EngineSnapshot {
  explicit MemorySnapshot(std::shared_ptr<const Tables> t) : tables(std::move(t)) {}
  const std::shared_ptr<const Tables> tables;
};

class MemoryIterator final : public EngineIterator {
 public:
  MemoryIterator(std::shared_ptr<const Tables> tables, Family family, std::string upper_bound)
      : tables_(std::move(tables)),
        table_(tables_->families[static_cast<size_t>(family)]),
        end_(upper_bound.empty() ? table_.end() : table_.lower_bound(upper_bound)),
        upper_bound_(std::move(upper_bound)),
        at_(end_) {}

  void Seek(std::string_view target) override {
    at_ = !upper_bound_.empty() && target >= upper_bound_ ? end_ : table_.lower_bound(target);
  }
  void Next() override { ++at_; }
  bool Valid() const override { return at_ != end_; }
  std::string_view key() const override { return at_->first; }
  std::string_view value() const override { return at_->second; }
  absl::Status status() const override { return absl::OkStatus(); }

 private:
  const std::shared_ptr<const Tables> tables_;
  const Table& table_;
  const Table::const_iterator end_;
  const std::string upper_bound_;
  Table::const_iterator at_;
};

class MemoryEngine final : public Engine {
 public:
  explicit MemoryEngine(std::shared_ptr<DurableImage> image) : image_(std::move(image)) {
    absl::MutexLock lock(&image_->mu);
    tables_ = std::make_shared<Tables>(*image_->tables);
  }

  std::unique_ptr<WriteBatch> NewBatch() const override { return std::make_unique<MemoryBatch>(); }

  absl::Status Write(WriteBatch& batch) override {
    absl::MutexLock lock(&mu_);
    // Readers keep what they hold; with none, which is usual, the tables change in place.
    if (tables_.use_count() > 1) tables_ = std::make_shared<Tables>(*tables_);
    static_cast<MemoryBatch&>(batch).ApplyTo(*tables_);
    return absl::OkStatus();
  }

  absl::StatusOr<bool> Get(Family family, std::string_view key,
                           absl::FunctionRef<void(std::string_view)> use) const override {
    const std::shared_ptr<const Tables> tables = Current();
    const Table& table = tables->families[static_cast<size_t>(family)];
    const auto it = table.find(key);
    if (it == table.end()) return false;
    use(it->second);
    return true;
  }

  std::unique_ptr<EngineIterator> NewIterator(Family family,
                                              const IterateOptions& options) const override {
    auto tables = options.snapshot == nullptr
                      ? Current()
                      : static_cast<const MemorySnapshot*>(options.snapshot)->tables;
    return std::make_unique<MemoryIterator>(std::move(tables), family, options.upper_bound);
  }

  std::unique_ptr<EngineSnapshot> GetSnapshot() const override {
    return std::make_unique<MemorySnapshot>(Current());
  }

  absl::Status Flush() override {
    std::shared_ptr<const Tables> tables = Current();
    absl::MutexLock lock(&image_->mu);
    image_->tables = std::move(tables);
    return absl::OkStatus();
  }

  absl::Status Resume() override { return absl::OkStatus(); }
  absl::Status GiveBackSpace() override { return absl::OkStatus(); }

  Sizes GetSizes() const override {
    const std::shared_ptr<const Tables> tables = Current();
    return {.disk_bytes = tables->bytes,
            .in_use_bytes = tables->bytes,
            .data_rows =
                static_cast<int64_t>(tables->families[static_cast<size_t>(Family::kData)].size())};
  }

  const std::shared_ptr<DurableImage>& image() const { return image_; }

 private:
  std::shared_ptr<const Tables> Current() const {
    absl::MutexLock lock(&mu_);
    return tables_;
  }

  const std::shared_ptr<DurableImage> image_;
  mutable absl::Mutex mu_;
  std::shared_ptr<Tables> tables_ ABSL_GUARDED_BY(mu_);
};

class MemoryEngineHome final : public EngineHome {
 public:
  absl::StatusOr<std::unique_ptr<Engine>> Open() override {
    return std::make_unique<MemoryEngine>(current_);
  }
  absl::StatusOr<std::unique_ptr<Engine>> Create() override {
    return std::make_unique<MemoryEngine>(std::make_shared<DurableImage>());
  }
  absl::Status Replace(Engine& /*old*/, Engine& next) override {
    current_ = static_cast<MemoryEngine&>(next).image();
    return absl::OkStatus();
  }

 private:
  std::shared_ptr<DurableImage> current_ = std::make_shared<DurableImage>();
};

}  // namespace

std::unique_ptr<EngineHome> NewMemoryEngineHome() { return std::make_unique<MemoryEngineHome>(); }

}  // namespace keelson::kvstore
