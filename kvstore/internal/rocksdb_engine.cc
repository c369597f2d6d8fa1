#include "kvstore/internal/rocksdb_engine.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/iterator.h>
#include <rocksdb/listener.h>
#include <rocksdb/options.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/table_properties_collectors.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "kvstore/internal/codec.h"

namespace keelson::kvstore::internal {
namespace {

rocksdb::Slice ToSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

absl::Status ToStatus(const rocksdb::Status& status, std::string_view operation,
                      const std::string& path) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = absl::StrCat(absl::string_view(operation.data(), operation.size()), " '",
                                        path, "': ", status.ToString());
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(text);
  if (status.IsCorruption() || status.IsNotFound()) return absl::DataLossError(text);
  return absl::UnknownError(text);
}

// The user key's part of a row in the data family: what blooms are made of.
class RowPrefixTransform final : public rocksdb::SliceTransform {
 public:
  const char* Name() const override { return "keelson.kvstore.RowPrefix.1"; }
  rocksdb::Slice Transform(const rocksdb::Slice& row) const override {
    return {row.data(), row.size() - kRevisionBytes};
  }
  bool InDomain(const rocksdb::Slice& row) const override { return row.size() > kRevisionBytes; }
};

// Counts what has been written since the last flush: it is on no disk yet, but it will be.
class FlushListener final : public rocksdb::EventListener {
 public:
  explicit FlushListener(std::shared_ptr<std::atomic<int64_t>> unflushed_bytes)
      : unflushed_bytes_(std::move(unflushed_bytes)) {}
  void OnFlushCompleted(rocksdb::DB* /*db*/, const rocksdb::FlushJobInfo& info) override {
    // The families flush together; one of them says so for all.
    if (info.cf_id == 0) unflushed_bytes_->store(0, std::memory_order_relaxed);
  }

 private:
  const std::shared_ptr<std::atomic<int64_t>> unflushed_bytes_;
};

class RocksDbBatch final : public WriteBatch {
 public:
  using Handles = std::array<rocksdb::ColumnFamilyHandle*, kFamilyCount>;

  explicit RocksDbBatch(const Handles& handles) : handles_(handles) {}

  void Put(Family family, std::string_view key,
           std::initializer_list<std::string_view> value) override {
    std::array<rocksdb::Slice, 4> pieces;
    KEELSON_CHECK(value.size() <= pieces.size()) << value.size();
    int count = 0;
    for (const std::string_view piece : value) pieces[count++] = ToSlice(piece);
    const rocksdb::Slice row = ToSlice(key);
    const rocksdb::Status status = batch_.Put(Handle(family), {&row, 1}, {pieces.data(), count});
    KEELSON_CHECK(status.ok()) << status.ToString();  // Only a row of 4 GiB can fail.
  }
  void Delete(Family family, std::string_view key) override {
    const rocksdb::Status status = batch_.Delete(Handle(family), ToSlice(key));
    KEELSON_CHECK(status.ok()) << status.ToString();
  }
  void Clear() override { batch_.Clear(); }

  rocksdb::WriteBatch& batch() { return batch_; }

 private:
  [[nodiscard]] rocksdb::ColumnFamilyHandle* Handle(Family family) const {
    return handles_[static_cast<size_t>(family)];
  }

  const Handles& handles_;
  rocksdb::WriteBatch batch_;
};

class RocksDbSnapshot final : public EngineSnapshot {
 public:
  explicit RocksDbSnapshot(rocksdb::DB& db) : db_(db), snapshot_(db.GetSnapshot()) {}
  RocksDbSnapshot(const RocksDbSnapshot&) = delete;
  RocksDbSnapshot& operator=(const RocksDbSnapshot&) = delete;
  ~RocksDbSnapshot() override { db_.ReleaseSnapshot(snapshot_); }
  [[nodiscard]] const rocksdb::Snapshot* get() const { return snapshot_; }

 private:
  rocksdb::DB& db_;
  const rocksdb::Snapshot* const snapshot_;
};

class RocksDbIterator final : public EngineIterator {
 public:
  RocksDbIterator(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* handle,
                  const Engine::IterateOptions& options, const std::string& path)
      : path_(path), upper_bound_(options.upper_bound), upper_slice_(ToSlice(upper_bound_)) {
    rocksdb::ReadOptions read;
    if (!upper_bound_.empty()) read.iterate_upper_bound = &upper_slice_;
    read.prefix_same_as_start = options.same_prefix;
    read.total_order_seek = !options.same_prefix;
    if (options.snapshot != nullptr) {
      read.snapshot = static_cast<const RocksDbSnapshot*>(options.snapshot)->get();
    }
    iterator_.reset(db.NewIterator(read, handle));
  }

  void Seek(std::string_view target) override { iterator_->Seek(ToSlice(target)); }
  void Next() override { iterator_->Next(); }
  bool Valid() const override { return iterator_->Valid(); }
  std::string_view key() const override { return ToView(iterator_->key()); }
  std::string_view value() const override { return ToView(iterator_->value()); }
  absl::Status status() const override { return ToStatus(iterator_->status(), "read", path_); }

 private:
  const std::string& path_;
  const std::string upper_bound_;
  const rocksdb::Slice upper_slice_;
  std::unique_ptr<rocksdb::Iterator> iterator_;
};

class RocksDbEngineImpl final : public RocksDbEngine {
 public:
  RocksDbEngineImpl(std::string path, std::shared_ptr<FileLock> lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}

  ~RocksDbEngineImpl() override {
    for (rocksdb::ColumnFamilyHandle* handle : handles_) {
      if (handle != nullptr) (void)db_->DestroyColumnFamilyHandle(handle);  // Frees memory only.
    }
    db_.reset();
    if (!remove_on_close_) return;
    std::error_code ignored;  // Best effort: the next start removes what is left.
    std::filesystem::remove_all(path_, ignored);
  }

  absl::Status Open(const rocksdb::DBOptions& options,
                    const std::vector<rocksdb::ColumnFamilyDescriptor>& families) {
    rocksdb::DB* db = nullptr;
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    const rocksdb::Status status = rocksdb::DB::Open(options, path_, families, &handles, &db);
    if (!status.ok()) {
      // A database that should be there but cannot be opened for what it holds is damaged.
      if (status.IsInvalidArgument() || status.IsPathNotFound()) {
        return absl::DataLossError(absl::StrCat("open '", path_, "': ", status.ToString()));
      }
      return ToStatus(status, "open", path_);
    }
    db_.reset(db);
    std::copy(handles.begin(), handles.end(), handles_.begin());
    return absl::OkStatus();
  }

  std::unique_ptr<WriteBatch> NewBatch() const override {
    return std::make_unique<RocksDbBatch>(handles_);
  }

  absl::Status Write(WriteBatch& batch) override {
    rocksdb::WriteBatch& writes = static_cast<RocksDbBatch&>(batch).batch();
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    options.memtable_insert_hint_per_batch = true;
    const rocksdb::Status status = db_->Write(options, &writes);
    if (status.ok()) {
      unflushed_bytes_->fetch_add(static_cast<int64_t>(writes.GetDataSize()),
                                  std::memory_order_relaxed);
    }
    return ToStatus(status, "write", path_);
  }

  absl::StatusOr<bool> Get(Family family, std::string_view key,
                           absl::FunctionRef<void(std::string_view)> use) const override {
    rocksdb::PinnableSlice value;
    const rocksdb::Status status =
        db_->Get(rocksdb::ReadOptions(), Handle(family), ToSlice(key), &value);
    if (status.IsNotFound()) return false;
    if (!status.ok()) return ToStatus(status, "read", path_);
    use(ToView(value));
    return true;
  }

  std::unique_ptr<EngineIterator> NewIterator(Family family,
                                              const IterateOptions& options) const override {
    return std::make_unique<RocksDbIterator>(*db_, Handle(family), options, path_);
  }

  std::unique_ptr<EngineSnapshot> GetSnapshot() const override {
    return std::make_unique<RocksDbSnapshot>(*db_);
  }

  absl::Status Flush() override {
    rocksdb::FlushOptions options;
    options.wait = true;
    options.allow_write_stall = true;
    for (;;) {
      const rocksdb::Status status = db_->Flush(options, {handles_.begin(), handles_.end()});
      if (!status.ok()) return ToStatus(status, "flush", path_);
      // RocksDB 7.8.3 does not wait, and says OK, in the first flush after it has recovered
      // from a full disk (engine_test.cc). So look: nothing may be left in memory.
      if (!HasUnflushedTables()) return absl::OkStatus();
      constexpr int kPauseMicroseconds = 2000;
      db_->GetEnv()->SleepForMicroseconds(kPauseMicroseconds);
    }
  }

  absl::Status Resume() override {
    const rocksdb::Status status = db_->Resume();
    // Busy: RocksDB is trying by itself just now.
    if (status.IsBusy()) return absl::ResourceExhaustedError(status.ToString());
    return ToStatus(status, "resume", path_);
  }

  absl::Status GiveBackSpace() override {
    if (absl::Status status = Flush(); !status.ok()) return status;
    for (rocksdb::ColumnFamilyHandle* handle : handles_) {
      const rocksdb::Status status =
          db_->CompactRange(rocksdb::CompactRangeOptions(), handle, nullptr, nullptr);
      if (!status.ok()) return ToStatus(status, "compact", path_);
    }
    return absl::OkStatus();
  }

  Sizes GetSizes() const override {
    uint64_t files = 0;
    uint64_t live = 0;
    uint64_t rows = 0;
    for (rocksdb::ColumnFamilyHandle* handle : handles_) {
      uint64_t value = 0;
      if (db_->GetIntProperty(handle, rocksdb::DB::Properties::kLiveSstFilesSize, &value)) {
        files += value;
      }
      if (db_->GetIntProperty(handle, rocksdb::DB::Properties::kEstimateLiveDataSize, &value)) {
        live += value;
      }
    }
    // Without the property the estimate is 0, which is allowed.
    (void)db_->GetIntProperty(Handle(Family::kData), rocksdb::DB::Properties::kEstimateNumKeys,
                              &rows);
    const int64_t unflushed = unflushed_bytes_->load(std::memory_order_relaxed);
    return {.disk_bytes = static_cast<int64_t>(files) + unflushed,
            .in_use_bytes = static_cast<int64_t>(live) + unflushed,
            .data_rows = static_cast<int64_t>(rows)};
  }

  void RemoveOnClose(bool remove) override { remove_on_close_ = remove; }
  const std::string& path() const override { return path_; }

  const std::shared_ptr<std::atomic<int64_t>>& unflushed_bytes() const { return unflushed_bytes_; }

 private:
  [[nodiscard]] rocksdb::ColumnFamilyHandle* Handle(Family family) const {
    return handles_[static_cast<size_t>(family)];
  }

  [[nodiscard]] bool HasUnflushedTables() const {
    return std::any_of(handles_.begin(), handles_.end(), [this](auto* handle) {
      uint64_t count = 0;
      return !db_->GetIntProperty(handle, rocksdb::DB::Properties::kNumImmutableMemTable, &count) ||
             count > 0;
    });
  }

  const std::string path_;
  const std::shared_ptr<FileLock> lock_;
  const std::shared_ptr<std::atomic<int64_t>> unflushed_bytes_ =
      std::make_shared<std::atomic<int64_t>>(0);
  std::unique_ptr<rocksdb::DB> db_;
  std::array<rocksdb::ColumnFamilyHandle*, kFamilyCount> handles_{};
  std::atomic<bool> remove_on_close_ = false;
};

rocksdb::DBOptions DatabaseOptions(const RocksDbOptions& options, bool create) {
  rocksdb::DBOptions db;
  db.create_if_missing = create;
  db.error_if_exists = create;
  db.create_missing_column_families = create;
  // Without a log of its own, only this keeps the families at one point of time.
  db.atomic_flush = true;
  db.avoid_flush_during_shutdown = options.lose_unflushed_on_close;
  db.max_background_jobs = 2;
  db.bytes_per_sync = 1 << 20;
  db.enable_write_thread_adaptive_yield = false;  // there is one writer, and a rare second
  db.info_log_level = rocksdb::WARN_LEVEL;
  db.max_log_file_size = 1 << 20;
  db.keep_log_file_num = 2;
  db.stats_dump_period_sec = 0;
  db.stats_persist_period_sec = 0;
  if (options.env != nullptr) db.env = options.env;
  return db;
}

std::vector<rocksdb::ColumnFamilyDescriptor> Families(const RocksDbOptions& options) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.cache_bytes);
  table.block_size = 16 << 10;
  table.format_version = 5;
  table.cache_index_and_filter_blocks = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;

  rocksdb::ColumnFamilyOptions common;
  common.level_compaction_dynamic_level_bytes = true;
  common.compression = rocksdb::kLZ4Compression;
  common.bottommost_compression = rocksdb::kZSTD;
  common.write_buffer_size = options.write_buffer_bytes;
  common.max_write_buffer_number = 3;
  // Compactions of the store leave rows of tombstones: rewrite such files soon.
  common.table_properties_collector_factories = {
      rocksdb::NewCompactOnDeletionCollectorFactory(4096, 2048, 0.5)};

  rocksdb::ColumnFamilyOptions plain = common;
  plain.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));

  rocksdb::ColumnFamilyOptions data = common;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.whole_key_filtering = false;
  data.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  data.prefix_extractor = std::make_shared<RowPrefixTransform>();
  data.memtable_prefix_bloom_size_ratio = 0.1;

  // By the order of Family.
  return {{rocksdb::kDefaultColumnFamilyName, plain}, {"data", data}, {"log", plain}};
}

}  // namespace

absl::StatusOr<std::unique_ptr<RocksDbEngine>> RocksDbEngine::Open(const RocksDbOptions& options,
                                                                   const std::string& path,
                                                                   bool create,
                                                                   std::shared_ptr<FileLock> lock) {
  auto engine = std::make_unique<RocksDbEngineImpl>(path, std::move(lock));
  rocksdb::DBOptions db = DatabaseOptions(options, create);
  db.listeners.push_back(std::make_shared<FlushListener>(engine->unflushed_bytes()));
  if (absl::Status status = engine->Open(db, Families(options)); !status.ok()) return status;
  return engine;
}

}  // namespace keelson::kvstore::internal
