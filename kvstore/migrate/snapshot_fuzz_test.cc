// Any bytes as a snapshot of etcd: what reads them ends, and what was imported can be served.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "kvstore/bbolt/format.h"
#include "kvstore/bbolt/reader.h"
#include "kvstore/engine_memory.h"
#include "kvstore/internal/etcd_image.h"
#include "kvstore/internal/generation.h"
#include "kvstore/migrate/etcd_import.h"
#include "kvstore/migrate/snapshot_file.h"

namespace keelson::kvstore {
namespace {

void Import(const bbolt::Reader& database) {
  const auto progress = [](uint64_t) {};
  const auto examined = ExamineEtcdDatabase(database, {}, progress);
  const std::unique_ptr<EngineHome> home = NewMemoryEngineHome();
  absl::StatusOr<std::unique_ptr<Engine>> engine = home->Open();
  KEELSON_CHECK(engine.ok()) << engine.status().ToString();
  const auto imported = ImportEtcdDatabase(database, {}, **engine, progress);
  KEELSON_CHECK(imported.ok() == examined.ok()) << "examined and imported are not the same";
  if (!imported.ok()) return;
  const raft::SnapshotMetadata at{.index = 1, .term = 1, .conf_state = {.voters = {1}}};
  KEELSON_CHECK(FinishImport(*imported, at, **engine).ok());
  auto generation = internal::Generation::Load(*std::move(engine), 16);
  if (!generation.ok()) return;
  const auto image = internal::TakeEtcdImage(*std::move(generation));
  if (image.ok()) (void)(*image)->HashKeys(0);
}

void ReadAll(std::string_view file) {
  const auto progress = [](uint64_t) {};
  (void)Summarize(file, progress);
  (void)VerifyDigest(file, progress);
  const absl::StatusOr<bbolt::Reader> database = bbolt::Reader::Open(file);
  if (!database.ok()) return;
  (void)ConsistentIndexOf(*database);
  Import(*database);
}

}  // namespace
}  // namespace keelson::kvstore

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::kvstore;
  std::string file(reinterpret_cast<const char*>(data), size);
  ReadAll(file);
  // The same with checksums that are right, so that what is behind the metas gets its turn.
  for (const size_t meta : {size_t{0}, size_t{bbolt::kPageBytes}}) {
    if (file.size() < meta + bbolt::kHeaderBytes + bbolt::kMetaBytes) continue;
    const size_t begin = meta + bbolt::kHeaderBytes;
    std::string sum;
    bbolt::AppendLittle(bbolt::Fnv1a64(std::string_view(file).substr(begin, bbolt::kMetaBytes - 8)),
                        8, &sum);
    file.replace(begin + bbolt::kMetaBytes - 8, 8, sum);
  }
  ReadAll(file);
  return 0;
}
