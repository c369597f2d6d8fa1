#include "kvstore/engine_rocksdb.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file_system.h"
#include "base/status.h"
#include "kvstore/internal/rocksdb_engine.h"

namespace keelson::kvstore {
namespace {

using internal::RocksDbEngine;

constexpr std::string_view kLockName = "LOCK";
constexpr std::string_view kPointerName = "ENGINE";
constexpr std::string_view kPointerTemporaryName = "ENGINE.tmp";
constexpr std::string_view kDatabasePrefix = "db-";
constexpr std::string_view kPointerHeader = "keelson-kvstore 1\n";

std::string DatabaseName(uint64_t number) {
  return std::string(kDatabasePrefix) + std::to_string(number);
}

// The number in "db-<n>", or 0.
uint64_t DatabaseNumber(std::string_view name) {
  uint64_t number = 0;
  if (name.substr(0, kDatabasePrefix.size()) != kDatabasePrefix) return 0;
  name.remove_prefix(kDatabasePrefix.size());
  if (!absl::SimpleAtoi(absl::string_view(name.data(), name.size()), &number)) return 0;
  return number;
}

// FAILED_PRECONDITION if `names` are those of some other program's folder.
absl::Status CheckOurs(const std::string& directory, const std::vector<std::string>& names) {
  if (std::find(names.begin(), names.end(), kPointerName) != names.end()) return absl::OkStatus();
  for (const std::string& name : names) {
    // What a first start that was cut short leaves.
    if (name == kLockName || name == kPointerTemporaryName || DatabaseNumber(name) > 0) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("'", directory, "' is not a kvstore database: it holds '", name, "'"));
  }
  return absl::OkStatus();
}

class RocksDbHome final : public EngineHome {
 public:
  RocksDbHome(const RocksDbOptions& options, std::shared_ptr<FileLock> lock)
      : options_(options), fs_(RealFileSystem()), lock_(std::move(lock)) {}

  // Reads which database counts and removes the others.
  absl::Status Load() {
    KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs_.List(options_.directory));
    bool has_pointer = false;
    for (const std::string& name : names) {
      has_pointer = has_pointer || name == kPointerName;
      last_number_ = std::max(last_number_, DatabaseNumber(name));
    }
    if (has_pointer) KEELSON_RETURN_IF_ERROR(ReadPointer());
    for (const std::string& name : names) {
      const uint64_t number = DatabaseNumber(name);
      if (number == 0 || number == current_number_) continue;
      std::error_code ignored;  // Best effort: a leftover costs space only.
      std::filesystem::remove_all(PathOf(number), ignored);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<Engine>> Open() override {
    if (current_number_ == 0) {
      KEELSON_ASSIGN_OR_RETURN(std::unique_ptr<RocksDbEngine> engine, Make());
      KEELSON_RETURN_IF_ERROR(engine->Flush());
      KEELSON_RETURN_IF_ERROR(PointTo(*engine));
      return engine;
    }
    return RocksDbEngine::Open(options_, PathOf(current_number_), /*create=*/false, lock_);
  }

  absl::StatusOr<std::unique_ptr<Engine>> Create() override { return Make(); }

  absl::Status Replace(Engine& old, Engine& next) override {
    KEELSON_RETURN_IF_ERROR(PointTo(static_cast<RocksDbEngine&>(next)));
    static_cast<RocksDbEngine&>(old).RemoveOnClose(true);
    return absl::OkStatus();
  }

 private:
  [[nodiscard]] std::string PathOf(uint64_t number) const {
    return JoinPath(options_.directory, DatabaseName(number));
  }

  absl::StatusOr<std::unique_ptr<RocksDbEngine>> Make() {
    KEELSON_ASSIGN_OR_RETURN(
        std::unique_ptr<RocksDbEngine> engine,
        RocksDbEngine::Open(options_, PathOf(++last_number_), /*create=*/true, lock_));
    engine->RemoveOnClose(true);  // until the pointer names it
    return engine;
  }

  absl::Status PointTo(RocksDbEngine& engine) {
    const std::string name = std::filesystem::path(engine.path()).filename();
    KEELSON_RETURN_IF_ERROR(fs_.SyncDirectory(options_.directory));  // the database's folder
    KEELSON_RETURN_IF_ERROR(WriteFileAtomically(fs_, JoinPath(options_.directory, kPointerName),
                                                std::string(kPointerHeader) + name + "\n"));
    engine.RemoveOnClose(false);
    current_number_ = DatabaseNumber(name);
    return absl::OkStatus();
  }

  absl::Status ReadPointer() {
    constexpr uint64_t kBytesMax = 256;
    const std::string path = JoinPath(options_.directory, kPointerName);
    KEELSON_ASSIGN_OR_RETURN(const std::string text, ReadFile(fs_, path, kBytesMax));
    std::string_view rest = text;
    if (rest.substr(0, kPointerHeader.size()) != kPointerHeader) {
      return absl::FailedPreconditionError(
          absl::StrCat("'", path, "' is of no format that this version knows"));
    }
    rest.remove_prefix(kPointerHeader.size());
    if (!rest.empty() && rest.back() == '\n') rest.remove_suffix(1);
    current_number_ = DatabaseNumber(rest);
    if (current_number_ == 0) {
      return absl::DataLossError(absl::StrCat("'", path, "' names no database"));
    }
    return absl::OkStatus();
  }

  const RocksDbOptions options_;
  FileSystem& fs_;
  const std::shared_ptr<FileLock> lock_;
  uint64_t current_number_ = 0;  // 0: none yet
  uint64_t last_number_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<EngineHome>> OpenRocksDbHome(const RocksDbOptions& options) {
  FileSystem& fs = RealFileSystem();
  KEELSON_RETURN_IF_ERROR(fs.CreateDirectories(options.directory));
  // Before anything is written there, the lock included.
  KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(options.directory));
  KEELSON_RETURN_IF_ERROR(CheckOurs(options.directory, names));
  KEELSON_ASSIGN_OR_RETURN(std::unique_ptr<FileLock> lock,
                           fs.Lock(JoinPath(options.directory, kLockName)));
  auto home = std::make_unique<RocksDbHome>(options, std::move(lock));
  KEELSON_RETURN_IF_ERROR(home->Load());
  return home;
}

}  // namespace keelson::kvstore
