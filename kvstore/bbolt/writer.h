// Writes a bbolt database from rows in order, front to back, holding one page a level of each
// open bucket's tree in memory.
//
// The first page names the last, so a database is written in two passes over the same rows:
//
//   const auto fill = [&](bbolt::Writer& writer) -> absl::Status {
//     KEELSON_RETURN_IF_ERROR(writer.BeginBucket("key"));
//     ... writer.Add(key, value) ...
//     return writer.EndBucket();
//   };
//   KEELSON_ASSIGN_OR_RETURN(const bbolt::Layout layout, bbolt::Measure(fill));
//   KEELSON_RETURN_IF_ERROR(bbolt::Write(layout, fill, sink));  // layout.pages * kPageBytes bytes
#ifndef KEELSON_KVSTORE_BBOLT_WRITER_H_
#define KEELSON_KVSTORE_BBOLT_WRITER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace keelson::kvstore::bbolt {

struct Layout {
  uint64_t pages = 0;
  uint64_t root = 0;  // the page that the buckets hang on

  friend bool operator==(const Layout&, const Layout&) = default;
};

// Takes the next bytes of the file. An error ends the writing and is passed on.
using Sink = std::function<absl::Status(std::string_view)>;

// Not thread-safe. Made by Measure and Write.
class Writer {
 public:
  // Rows of a bucket, and buckets in a bucket or the database, come by ascending name.
  // INVALID_ARGUMENT for an empty or too long key, a too long value, or a wrong order;
  // FAILED_PRECONDITION for Add and EndBucket outside of a bucket.
  absl::Status BeginBucket(std::string_view name);
  absl::Status EndBucket();
  absl::Status Add(std::string_view key, std::string_view value);

 private:
  friend absl::StatusOr<Layout> Run(Sink sink, const Layout& layout,
                                    absl::FunctionRef<absl::Status(Writer&)> fill);

  // A page that grows: elements, and the bytes that they point to.
  struct Page {
    struct Element {
      uint64_t flags_or_child = 0;
      uint32_t key_bytes = 0;
      uint32_t value_bytes = 0;
    };
    std::vector<Element> elements;
    std::string data;
    std::string first_key;

    [[nodiscard]] size_t size() const;
    void Add(uint64_t flags_or_child, std::string_view key, std::string_view value);
  };
  // A bucket that is open: one growing page for each level of its tree, leaves first.
  struct Tree {
    std::string name;
    std::string last_key;
    bool has_buckets = false;
    std::vector<Page> levels = std::vector<Page>(1);
  };

  explicit Writer(Sink sink) : sink_(std::move(sink)) {}

  absl::Status Insert(uint32_t flags, std::string_view key, std::string_view value);
  absl::Status AddTo(Tree& tree, size_t level, uint64_t flags_or_child, std::string_view key,
                     std::string_view value);
  // Writes a page out and enters it one level above.
  absl::Status Flush(Tree& tree, size_t level);
  // Writes a page out; sets its number.
  absl::Status Emit(const Page& page, bool leaf, uint64_t* id);
  // Ends a tree; sets the number of its root.
  absl::Status Finish(Tree& tree, uint64_t* root);
  absl::Status Begin(const Layout& layout);

  const Sink sink_;  // empty: the pages are only counted
  std::vector<Tree> open_ = std::vector<Tree>(1);
  uint64_t next_page_ = 0;
  std::string buffer_;
};

// How large the database is that `fill` makes.
absl::StatusOr<Layout> Measure(absl::FunctionRef<absl::Status(Writer&)> fill);

// Writes it. INTERNAL when `fill` did something else than when it was measured.
absl::Status Write(const Layout& layout, absl::FunctionRef<absl::Status(Writer&)> fill, Sink sink);

}  // namespace keelson::kvstore::bbolt

#endif  // KEELSON_KVSTORE_BBOLT_WRITER_H_
