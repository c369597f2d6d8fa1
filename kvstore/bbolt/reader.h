// Reads a bbolt database. Every offset, size and page number of the file is checked before it is
// used: a damaged or hostile file gives DATA_LOSS with the page's number, never more.
//
//   KEELSON_ASSIGN_OR_RETURN(const bbolt::Reader reader, bbolt::Reader::Open(bytes));
//   KEELSON_RETURN_IF_ERROR(reader.VisitBucket("key", [](auto key, auto value) { ... }));
//
// Threading: a Reader is a value; the bytes are borrowed and do not change.
#ifndef KEELSON_KVSTORE_BBOLT_READER_H_
#define KEELSON_KVSTORE_BBOLT_READER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/bbolt/format.h"

namespace keelson::kvstore::bbolt {

class Reader {
 public:
  // A row or, where `bucket`, a nested bucket whose rows VisitNested gives.
  struct Entry {
    std::string_view key;
    std::string_view value;  // points into the file
    bool bucket = false;
  };
  // An error ends the visit and is passed on.
  using Visit = absl::FunctionRef<absl::Status(const Entry& entry)>;

  // `file` is the whole database, for example a mapped file; trailing bytes behind the pages are
  // ignored. DATA_LOSS when no meta page is valid.
  static absl::StatusOr<Reader> Open(std::string_view file);

  // Entries of the database itself: its buckets, by ascending name.
  [[nodiscard]] absl::Status VisitBuckets(Visit visit) const;
  // Entries of a bucket by ascending key. NOT_FOUND when there is none of that name.
  [[nodiscard]] absl::Status VisitBucket(std::string_view name, Visit visit) const;
  // Entries of a bucket that a visit has shown.
  [[nodiscard]] absl::Status VisitNested(const Entry& bucket, Visit visit) const;

  [[nodiscard]] const Meta& meta() const { return meta_; }
  // Of the database, without what is behind it.
  [[nodiscard]] uint64_t bytes() const { return meta_.pages * meta_.page_bytes; }

 private:
  struct Walk;

  Reader(std::string_view file, const Meta& meta) : file_(file), meta_(meta) {}

  [[nodiscard]] absl::Status VisitTree(uint64_t root, Visit visit) const;
  [[nodiscard]] absl::Status VisitPage(uint64_t id, int depth, Walk& walk, Visit visit) const;
  // The bytes of a page with its overflow.
  [[nodiscard]] absl::StatusOr<std::string_view> PageAt(uint64_t id) const;

  std::string_view file_;
  Meta meta_;
};

}  // namespace keelson::kvstore::bbolt

#endif  // KEELSON_KVSTORE_BBOLT_READER_H_
