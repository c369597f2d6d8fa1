// A store written as a database of etcd and read back is the same store.
#include "kvstore/migrate/etcd_import.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/status.h"
#include "base/testing/status_matchers.h"
#include "kvstore/bbolt/writer.h"
#include "kvstore/engine_memory.h"
#include "kvstore/internal/etcd_image.h"
#include "kvstore/internal/generation.h"
#include "kvstore/migrate/etcd_database.h"
#include "kvstore/testing/machine_driver.h"

namespace keelson::kvstore {
namespace {

using testing::EngineKind;
using testing::World;

std::string DatabaseOf(const StoreImage& image) {
  const auto fill = [&](bbolt::Writer& writer) { return FillEtcdDatabase(image, writer); };
  const absl::StatusOr<bbolt::Layout> layout = bbolt::Measure(fill);
  KEELSON_REQUIRE_OK(layout);
  std::string file;
  KEELSON_REQUIRE_OK(bbolt::Write(*layout, fill, [&](std::string_view bytes) {
    file.append(bytes);
    return absl::OkStatus();
  }));
  return file;
}

// An engine with what `file` holds, loaded as a server would.
struct Imported {
  std::unique_ptr<EngineHome> home = NewMemoryEngineHome();
  ImportSummary summary;
  std::shared_ptr<internal::Generation> generation;

  explicit Imported(const std::string& file, const ImportOptions& options = {}) {
    KEELSON_ASSIGN_OR_FAIL(const bbolt::Reader reader, bbolt::Reader::Open(file));
    KEELSON_ASSIGN_OR_FAIL(std::unique_ptr<Engine> engine, home->Open());
    KEELSON_ASSIGN_OR_FAIL(summary, ImportEtcdDatabase(reader, options, *engine, [](uint64_t) {}));
    const raft::SnapshotMetadata at{.index = 7, .term = 1, .conf_state = {.voters = {1}}};
    KEELSON_REQUIRE_OK(FinishImport(summary, at, *engine));
    KEELSON_ASSIGN_OR_FAIL(generation, internal::Generation::Load(std::move(engine), 16));
  }

  [[nodiscard]] std::unique_ptr<StoreImage> Image() const {
    KEELSON_ASSIGN_OR_FAIL(std::unique_ptr<StoreImage> image, internal::TakeEtcdImage(generation));
    return image;
  }
};

// Random history: few keys, so that they are updated, deleted, leased and made anew.
void Play(World& world, Random& random, int steps) {
  testing::MachineDriver& kv = *world.kv;
  for (int64_t lease = 1; lease <= 3; ++lease) kv.Apply(testing::GrantCommand(lease, 100 * lease));
  for (int i = 0; i < steps; ++i) {
    const std::string key = absl::StrCat("k", random.Below(12));
    const int64_t lease = random.Bernoulli(0.3) ? random.Between(1, 3) : 0;
    if (random.Bernoulli(0.25)) {
      kv.Delete(key, random.Bernoulli(0.2) ? "k5" : "");
    } else if (lease == 0 || kv.store().LeaseTtl(lease) > 0) {
      kv.Put(key, absl::StrCat("v", i), lease);
    }
    if (random.Bernoulli(0.02)) kv.Apply(testing::RevokeCommand(random.Between(1, 3)));
    const int64_t revision = kv.store().Revision();
    if (random.Bernoulli(0.03) && revision > 3) {
      kv.Apply(testing::CompactCommand(random.Between(2, revision)));
    }
  }
}

TEST_CASE("what is imported has the hashes and rows of what was exported", "[kvstore][migrate]") {
  const uint64_t seed = Random::SeedFromSystem();
  CAPTURE(seed);
  for (uint64_t round = 0; round < 30; ++round) {
    CAPTURE(round);
    Random random(seed + round);
    World world(EngineKind::kMemory);
    Play(world, random, static_cast<int>(random.Between(0, 150)));
    const Store& store = world.kv->store();
    KEELSON_ASSIGN_OR_FAIL(const std::unique_ptr<StoreImage> before, store.TakeImage());
    const std::string file = DatabaseOf(*before);
    const Imported imported(file);
    const std::unique_ptr<StoreImage> after = imported.Image();

    CHECK(imported.generation->live_keys == store.GetSizes().keys);
    CHECK(after->revision() == before->revision());
    CHECK(after->compacted() == before->compacted());
    for (int64_t at = std::max<int64_t>(before->compacted() + 1, 1); at <= before->revision();
         ++at) {
      CAPTURE(at);
      CHECK(*after->HashKeys(at) == *before->HashKeys(at));
    }
    KEELSON_ASSIGN_OR_FAIL(const uint32_t all_before, HashAll(*before));
    KEELSON_ASSIGN_OR_FAIL(const uint32_t all_after, HashAll(*after));
    CHECK(all_after == all_before);

    // What only the engine's rows tell: which keys hang on a lease.
    for (const Store::LeaseInfo& lease : store.Leases()) {
      std::vector<std::string> keys;
      Engine::IterateOptions options;
      const std::string rows = internal::AttachmentRows(lease.id);
      options.upper_bound = internal::PrefixEnd(rows);
      const auto iterator = imported.generation->engine->NewIterator(Family::kMeta, options);
      for (iterator->Seek(rows); iterator->Valid(); iterator->Next()) {
        keys.emplace_back(iterator->key().substr(rows.size()));
      }
      CHECK(keys == store.LeaseKeys(lease.id));
    }
  }
}

TEST_CASE("the revision can be raised, and all before it compacted", "[kvstore][migrate]") {
  World world(EngineKind::kMemory);
  world.kv->Put("a", "1");
  world.kv->Put("a", "2");
  KEELSON_ASSIGN_OR_FAIL(const std::unique_ptr<StoreImage> before, world.kv->store().TakeImage());
  const Imported imported(DatabaseOf(*before), {.bump_revision = 1000, .mark_compacted = true});
  const std::unique_ptr<StoreImage> after = imported.Image();
  CHECK(after->revision() == before->revision() + 1000);
  CHECK(after->compacted() == after->revision());
  int rows = 0;
  KEELSON_REQUIRE_OK(after->VisitBucket("key", [&](std::string_view, std::string_view) {
    ++rows;
    return absl::OkStatus();
  }));
  CHECK(rows == 1);
}

TEST_CASE("rows that make no sense are refused by the bucket's name", "[kvstore][migrate]") {
  const auto file_of = [](std::string_view bucket, std::string_view key, std::string_view value) {
    const auto fill = [&](bbolt::Writer& writer) -> absl::Status {
      if (bucket > "key") {
        KEELSON_RETURN_IF_ERROR(writer.BeginBucket("key"));
        KEELSON_RETURN_IF_ERROR(writer.EndBucket());
      }
      KEELSON_RETURN_IF_ERROR(writer.BeginBucket(bucket));
      KEELSON_RETURN_IF_ERROR(writer.Add(key, value));
      return writer.EndBucket();
    };
    KEELSON_ASSIGN_OR_FAIL(const bbolt::Layout layout, bbolt::Measure(fill));
    std::string file;
    KEELSON_REQUIRE_OK(bbolt::Write(layout, fill, [&](std::string_view bytes) {
      file.append(bytes);
      return absl::OkStatus();
    }));
    return file;
  };
  const auto examine = [](const std::string& file) {
    KEELSON_ASSIGN_OR_FAIL(const bbolt::Reader reader, bbolt::Reader::Open(file));
    return ExamineEtcdDatabase(reader, {}, [](uint64_t) {}).status();
  };
  const std::string revision = std::string(7, '\0') + "\x02_" + std::string(8, '\0');
  KEELSON_CHECK_ERROR(examine(file_of("key", "short", "x")), absl::StatusCode::kDataLoss, "'key'");
  KEELSON_CHECK_ERROR(examine(file_of("key", revision, "\xff\xff")), absl::StatusCode::kDataLoss,
                      "'key'");
  // A pair of another revision than its row's.
  KEELSON_CHECK_ERROR(examine(file_of("key", revision, "\x0a\x01k\x10\x05\x18\x05\x20\x01")),
                      absl::StatusCode::kDataLoss, "'key'");
  KEELSON_CHECK_ERROR(examine(file_of("lease", "12345678", "")), absl::StatusCode::kDataLoss,
                      "'lease'");
  KEELSON_CHECK_ERROR(examine(file_of("meta", "consistent_index", "1")),
                      absl::StatusCode::kDataLoss, "'meta'");
  KEELSON_CHECK_ERROR(examine(file_of("alarm", "x", "")), absl::StatusCode::kDataLoss, "");
  KEELSON_CHECK_ERROR(examine(file_of("abc", "x", "y")), absl::StatusCode::kDataLoss,
                      "no bucket 'key'");
  // A row without a pair, as etcd's own tool leaves one, only raises the revision.
  const Imported raised(file_of("key", revision, ""));
  CHECK(raised.summary.revision == 2);
  CHECK(raised.summary.versions == 0);
}

}  // namespace
}  // namespace keelson::kvstore
