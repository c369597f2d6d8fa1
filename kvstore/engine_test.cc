// What every engine promises (engine.h), and what RocksDB's home promises about its folder.
#include <catch2/catch.hpp>

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/testing/status_matchers.h"
#include "kvstore/engine.h"
#include "kvstore/engine_memory.h"
#include "kvstore/engine_rocksdb.h"
#include "kvstore/internal/codec.h"
#include "kvstore/testing/machine_driver.h"

namespace keelson::kvstore {
namespace {

using testing::EngineKind;

RocksDbOptions TestOptions(const std::string& directory) {
  RocksDbOptions options;
  options.directory = directory;
  options.write_buffer_bytes = 1 << 20;
  options.lose_unflushed_on_close = true;
  return options;
}

std::unique_ptr<EngineHome> NewHome(EngineKind kind) {
  if (kind == EngineKind::kMemory) return NewMemoryEngineHome();
  KEELSON_ASSIGN_OR_FAIL(std::unique_ptr<EngineHome> home,
                         OpenRocksDbHome(TestOptions(testing::NewTestDirectory())));
  return home;
}

std::unique_ptr<Engine> Open(EngineHome& home) {
  KEELSON_ASSIGN_OR_FAIL(std::unique_ptr<Engine> engine, home.Open());
  return engine;
}

void Put(Engine& engine, Family family, std::string_view key, std::string_view value) {
  const auto batch = engine.NewBatch();
  batch->Put(family, key, {value});
  KEELSON_REQUIRE_OK(engine.Write(*batch));
}

std::string Dump(const Engine& engine, Family family, const EngineSnapshot* snapshot = nullptr,
                 const std::string& from = "", const std::string& upper_bound = "") {
  Engine::IterateOptions options;
  options.snapshot = snapshot;
  options.upper_bound = upper_bound;
  std::string out;
  const auto iterator = engine.NewIterator(family, options);
  for (iterator->Seek(from); iterator->Valid(); iterator->Next()) {
    out += std::string(iterator->key()) + "=" + std::string(iterator->value()) + " ";
  }
  KEELSON_REQUIRE_OK(iterator->status());
  return out;
}

EngineKind AnyEngine() { return GENERATE(EngineKind::kMemory, EngineKind::kRocksDb); }

TEST_CASE("A batch spans families and joins the pieces of a value", "[kvstore][engine]") {
  const auto home = NewHome(AnyEngine());
  const auto engine = Open(*home);
  Put(*engine, Family::kMeta, "gone", "1");
  const auto batch = engine->NewBatch();
  batch->Put(Family::kMeta, "m", {"on", "", "e"});
  batch->Put(Family::kLog, "l", {});
  batch->Delete(Family::kMeta, "gone");
  batch->Put(Family::kLog, "twice", {"1"});
  batch->Put(Family::kLog, "twice", {"2"});
  KEELSON_REQUIRE_OK(engine->Write(*batch));

  CHECK(Dump(*engine, Family::kMeta) == "m=one ");
  CHECK(Dump(*engine, Family::kLog) == "l= twice=2 ");
  batch->Clear();
  KEELSON_REQUIRE_OK(engine->Write(*batch));
  std::string value;
  const auto use = [&](std::string_view bytes) { value = bytes; };
  KEELSON_ASSIGN_OR_FAIL(const bool found, engine->Get(Family::kMeta, "m", use));
  CHECK((found && value == "one"));
  KEELSON_ASSIGN_OR_FAIL(const bool missing, engine->Get(Family::kData, "m", use));
  CHECK_FALSE(missing);
}

TEST_CASE("Iterators and snapshots keep the state at their making", "[kvstore][engine]") {
  const auto home = NewHome(AnyEngine());
  const auto engine = Open(*home);
  for (const char* key : {"a", "b", "c", "d"}) Put(*engine, Family::kLog, key, "1");
  const auto snapshot = engine->GetSnapshot();
  const auto iterator = engine->NewIterator(Family::kLog, {});
  Put(*engine, Family::kLog, "b", "2");
  Put(*engine, Family::kLog, "e", "2");

  CHECK(Dump(*engine, Family::kLog, snapshot.get()) == "a=1 b=1 c=1 d=1 ");
  iterator->Seek("b");
  CHECK(iterator->value() == "1");
  CHECK(Dump(*engine, Family::kLog) == "a=1 b=2 c=1 d=1 e=2 ");
  CHECK(Dump(*engine, Family::kLog, nullptr, "b", "d") == "b=2 c=1 ");
  CHECK(Dump(*engine, Family::kLog, nullptr, "bb", "bc") == "");
  CHECK(Dump(*engine, Family::kLog, nullptr, "x", "d") == "");
}

TEST_CASE("A crash keeps what was flushed, in all families", "[kvstore][engine]") {
  const auto home = NewHome(AnyEngine());
  auto engine = Open(*home);
  Put(*engine, Family::kMeta, "m", "1");
  Put(*engine, Family::kData, std::string("a\0\x01rrrrrrrrrrrr", 15), "1");
  KEELSON_REQUIRE_OK(engine->Flush());
  Put(*engine, Family::kMeta, "m", "2");
  Put(*engine, Family::kLog, "l", "2");
  engine.reset();

  engine = Open(*home);
  CHECK(Dump(*engine, Family::kMeta) == "m=1 ");
  CHECK(Dump(*engine, Family::kLog) == "");
  CHECK(Dump(*engine, Family::kData).size() == 18);
}

TEST_CASE("Space of deleted rows can be had back at once", "[kvstore][engine][space]") {
  const auto home = NewHome(EngineKind::kRocksDb);
  const auto engine = Open(*home);
  Random random(1);
  for (int n = 0; n < 200; ++n) {
    std::string noise(1000, ' ');  // which does not compress
    for (char& byte : noise) byte = static_cast<char>(random.Below(256));
    Put(*engine, Family::kLog, std::to_string(n), noise);
  }
  Put(*engine, Family::kLog, "stays", "1");
  KEELSON_REQUIRE_OK(engine->Flush());
  const auto batch = engine->NewBatch();
  for (int n = 0; n < 200; ++n) batch->Delete(Family::kLog, std::to_string(n));
  batch->Put(Family::kMeta, "m", {"1"});  // as every batch of the store has one
  KEELSON_REQUIRE_OK(engine->Write(*batch));
  REQUIRE(engine->GetSizes().disk_bytes > 200'000);

  KEELSON_REQUIRE_OK(engine->GiveBackSpace());

  CHECK(engine->GetSizes().disk_bytes < 20'000);
  CHECK(Dump(*engine, Family::kLog) == "stays=1 ");
}

TEST_CASE("A replaced engine can be read until it is dropped", "[kvstore][engine]") {
  const auto home = NewHome(AnyEngine());
  auto old = Open(*home);
  Put(*old, Family::kMeta, "m", "old");
  KEELSON_REQUIRE_OK(old->Flush());
  {
    KEELSON_ASSIGN_OR_FAIL(const auto unused, home->Create());
    Put(*unused, Family::kMeta, "m", "unused");
  }
  KEELSON_ASSIGN_OR_FAIL(auto next, home->Create());
  CHECK(Dump(*next, Family::kMeta) == "");
  Put(*next, Family::kMeta, "m", "new");
  KEELSON_REQUIRE_OK(next->Flush());
  KEELSON_REQUIRE_OK(home->Replace(*old, *next));
  CHECK(Dump(*old, Family::kMeta) == "m=old ");
  old.reset();
  next.reset();
  CHECK(Dump(*Open(*home), Family::kMeta) == "m=new ");
}

// ---- The folder ----

std::vector<std::string> Names(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void WriteFile(const std::string& path, const std::string& contents) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << contents;
}

TEST_CASE("The folder holds one database, whatever a crash left behind", "[kvstore][folder]") {
  const std::string directory = testing::NewTestDirectory();
  const RocksDbOptions options = TestOptions(directory);
  const std::vector<std::string> tidy = {"ENGINE", "LOCK", "db-2"};
  {
    // A first start that ended before the pointer was written.
    std::filesystem::create_directory(directory + "/db-1");
    WriteFile(directory + "/db-1/CURRENT", "half");
    WriteFile(directory + "/ENGINE.tmp", "half");
    KEELSON_ASSIGN_OR_FAIL(const auto home, OpenRocksDbHome(options));
    const auto engine = Open(*home);
    Put(*engine, Family::kMeta, "m", "1");
    KEELSON_REQUIRE_OK(engine->Flush());
  }
  CHECK(Names(directory) == tidy);

  // A restore that ended before the switch.
  std::filesystem::create_directory(directory + "/db-3");
  KEELSON_ASSIGN_OR_FAIL(const auto home, OpenRocksDbHome(options));
  CHECK(Names(directory) == tidy);
  auto engine = Open(*home);
  CHECK(Dump(*engine, Family::kMeta) == "m=1 ");
  KEELSON_ASSIGN_OR_FAIL(auto next, home->Create());
  KEELSON_REQUIRE_OK(next->Flush());
  KEELSON_REQUIRE_OK(home->Replace(*engine, *next));
  engine.reset();
  CHECK(Names(directory) == std::vector<std::string>{"ENGINE", "LOCK", "db-4"});
}

TEST_CASE("A folder that is in use is refused, and named", "[kvstore][folder]") {
  const RocksDbOptions options = TestOptions(testing::NewTestDirectory());
  auto home = OpenRocksDbHome(options);
  KEELSON_REQUIRE_OK(home);
  auto engine = Open(**home);
  KEELSON_CHECK_ERROR(OpenRocksDbHome(options), absl::StatusCode::kFailedPrecondition,
                      options.directory);
  home->reset();
  KEELSON_CHECK_ERROR(OpenRocksDbHome(options), absl::StatusCode::kFailedPrecondition,
                      options.directory);  // the engine still has it
  engine.reset();
  KEELSON_REQUIRE_OK(OpenRocksDbHome(options));
}

TEST_CASE("A folder of something else is refused and left alone", "[kvstore][folder]") {
  const std::string directory = testing::NewTestDirectory();
  WriteFile(directory + "/member.txt", "precious");
  KEELSON_CHECK_ERROR(OpenRocksDbHome(TestOptions(directory)),
                      absl::StatusCode::kFailedPrecondition, directory);
  CHECK(Names(directory) == std::vector<std::string>{"member.txt"});

  WriteFile(directory + "/file", "");
  CHECK_FALSE(OpenRocksDbHome(TestOptions(directory + "/file")).ok());
}

TEST_CASE("A damaged folder is refused, and named", "[kvstore][folder]") {
  const std::string directory = testing::NewTestDirectory();
  {
    KEELSON_ASSIGN_OR_FAIL(const auto home, OpenRocksDbHome(TestOptions(directory)));
    const auto engine = Open(*home);
    Put(*engine, Family::kMeta, "m", "1");
    KEELSON_REQUIRE_OK(engine->Flush());
  }
  const auto open = [&]() -> absl::Status {
    auto home = OpenRocksDbHome(TestOptions(directory));
    if (!home.ok()) return home.status();
    return (*home)->Open().status();
  };
  KEELSON_REQUIRE_OK(open());

  SECTION("the pointer is of another format") {
    WriteFile(directory + "/ENGINE", "keelson-kvstore 2\ndb-1\n");
    KEELSON_CHECK_ERROR(open(), absl::StatusCode::kFailedPrecondition, directory);
  }
  SECTION("the pointer names nothing") {
    WriteFile(directory + "/ENGINE", "keelson-kvstore 1\n../db-1\n");
    KEELSON_CHECK_ERROR(open(), absl::StatusCode::kDataLoss, directory);
  }
  SECTION("the database is gone") {
    std::filesystem::remove_all(directory + "/db-1");
    KEELSON_CHECK_ERROR(open(), absl::StatusCode::kDataLoss, directory);
  }
  SECTION("the manifest is cut") {
    for (const std::string& name : Names(directory + "/db-1")) {
      if (name.rfind("MANIFEST", 0) == 0) {
        std::filesystem::resize_file(directory + "/db-1/" + name, 20);
      }
    }
    KEELSON_CHECK_ERROR(open(), absl::StatusCode::kDataLoss, directory);
  }
  SECTION("a table is gone") {
    for (const std::string& name : Names(directory + "/db-1")) {
      if (name.find(".sst") != std::string::npos) {
        std::filesystem::remove(directory + "/db-1/" + name);
      }
    }
    KEELSON_CHECK_ERROR(open(), absl::StatusCode::kDataLoss, directory);
  }
}

// ---- A full disk under RocksDB ----

// Refuses to append to any file while full.
class FullDisk final : public rocksdb::FileSystemWrapper {
 public:
  FullDisk() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "FullDisk"; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSWritableFile> file;
    rocksdb::IOStatus status = target()->NewWritableFile(name, options, &file, debug);
    if (status.ok()) *result = std::make_unique<FullFile>(std::move(file), full);
    return status;
  }

  std::atomic<bool> full = false;

 private:
  class FullFile final : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    FullFile(std::unique_ptr<rocksdb::FSWritableFile> file, const std::atomic<bool>& full)
        : FSWritableFileOwnerWrapper(std::move(file)), full_(full) {}
    rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override {
      if (full_) return rocksdb::IOStatus::NoSpace("the test's disk is full");
      return FSWritableFileOwnerWrapper::Append(data, options, debug);
    }
    rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                             const rocksdb::DataVerificationInfo& info,
                             rocksdb::IODebugContext* debug) override {
      if (full_) return rocksdb::IOStatus::NoSpace("the test's disk is full");
      return FSWritableFileOwnerWrapper::Append(data, options, info, debug);
    }

   private:
    const std::atomic<bool>& full_;
  };
};

TEST_CASE("After a full disk, RocksDB goes on and has lost nothing", "[kvstore][space]") {
  auto disk = std::make_shared<FullDisk>();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(disk);
  RocksDbOptions options = TestOptions(testing::NewTestDirectory());
  options.env = env.get();
  KEELSON_ASSIGN_OR_FAIL(const auto home, OpenRocksDbHome(options));
  auto engine = Open(*home);
  Put(*engine, Family::kMeta, "before", "1");

  disk->full = true;
  KEELSON_CHECK_ERROR(engine->Flush(), absl::StatusCode::kResourceExhausted, "full");
  const auto batch = engine->NewBatch();
  batch->Put(Family::kMeta, "during", {"1"});
  KEELSON_CHECK_ERROR(engine->Write(*batch), absl::StatusCode::kResourceExhausted, "full");
  CHECK(Dump(*engine, Family::kMeta) == "before=1 ");
  KEELSON_CHECK_ERROR(engine->Resume(), absl::StatusCode::kResourceExhausted, "");

  disk->full = false;
  // RocksDB may be in the middle of an attempt of its own.
  absl::Status status = engine->Resume();
  for (int n = 0; n < 1000 && absl::IsResourceExhausted(status); ++n) {
    env->SleepForMicroseconds(10'000);
    status = engine->Resume();
  }
  KEELSON_REQUIRE_OK(status);
  KEELSON_REQUIRE_OK(engine->Write(*batch));
  KEELSON_REQUIRE_OK(engine->Flush());
  engine.reset();
  CHECK(Dump(*Open(*home), Family::kMeta) == "before=1 during=1 ");
}

}  // namespace
}  // namespace keelson::kvstore
