// Any bytes as a database: the reader ends, and shows only what lies in them.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "kvstore/bbolt/format.h"
#include "kvstore/bbolt/reader.h"

namespace keelson::kvstore::bbolt {
namespace {

absl::Status VisitAll(const Reader& reader, const Reader::Entry& bucket, std::string_view file,
                      int depth) {
  return reader.VisitNested(bucket, [&](const Reader::Entry& entry) -> absl::Status {
    if (!entry.value.empty()) {
      KEELSON_CHECK(entry.value.data() >= file.data() &&
                    entry.value.data() + entry.value.size() <= file.data() + file.size())
          << "a value outside of the file";
    }
    if (entry.bucket && depth < 3) return VisitAll(reader, entry, file, depth + 1);
    return absl::OkStatus();
  });
}

void Read(std::string_view file) {
  const absl::StatusOr<Reader> reader = Reader::Open(file);
  if (!reader.ok()) return;
  (void)reader->VisitBuckets([&](const Reader::Entry& entry) {
    return entry.bucket ? VisitAll(*reader, entry, file, 0) : absl::OkStatus();
  });
}

}  // namespace
}  // namespace keelson::kvstore::bbolt

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keelson::kvstore::bbolt;
  std::string file(reinterpret_cast<const char*>(data), size);
  Read(file);
  // The same with checksums that are right, so that what is behind the metas gets its turn.
  for (const size_t meta : {size_t{0}, kPageBytesMin}) {
    if (file.size() < meta + kHeaderBytes + kMetaBytes) continue;
    std::string sum;
    AppendLittle(Fnv1a64(std::string_view(file).substr(meta + kHeaderBytes, kMetaBytes - 8)), 8,
                 &sum);
    file.replace(meta + kHeaderBytes + kMetaBytes - 8, 8, sum);
  }
  Read(file);
  return 0;
}
