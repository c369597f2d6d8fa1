// Makes dm-verity hash trees.
//
// While data arrives in order:
//
//   KEELSON_ASSIGN_OR_RETURN(HashTreeStream tree, HashTreeStream::Create(params, sink));
//   while (...) KEELSON_RETURN_IF_ERROR(tree.Append(bytes));
//   KEELSON_ASSIGN_OR_RETURN(const std::string root_hash, tree.Finish());
//
// Or of what a device holds, by all processors:
//
//   KEELSON_ASSIGN_OR_RETURN(const std::string root_hash, BuildHashTree(data, params, sink, {}));
//
// Both hand out the same blocks, which are those of veritysetup, and need memory for a few blocks
// a level.
#ifndef KEELSON_PARTITION_VERITY_HASH_TREE_H_
#define KEELSON_PARTITION_VERITY_HASH_TREE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "partition/block_device.h"
#include "partition/verity/verity_params.h"
#include "partition/verity/work_options.h"

namespace keelson::partition {

// Takes a hash block that belongs `offset` bytes behind the start of the tree. Each block comes
// once; those of a level in order, a parent behind its children. An error ends the making.
using HashBlockSink = std::function<absl::Status(uint64_t offset, std::string_view block)>;

// Single-threaded, movable.
class HashTreeStream {
 public:
  // INVALID_ARGUMENT, UNAVAILABLE: as BlockHasher::Create.
  static absl::StatusOr<HashTreeStream> Create(const VerityParams& params, HashBlockSink sink);

  HashTreeStream(HashTreeStream&&) noexcept;
  HashTreeStream& operator=(HashTreeStream&&) noexcept;
  ~HashTreeStream();

  // The next bytes of the data, as many as there are.
  // OUT_OF_RANGE: more than params.data_bytes(). Else errors of the sink.
  absl::Status Append(std::string_view bytes);

  // The root hash, as bytes. Once, at the end.
  // FAILED_PRECONDITION: fewer bytes came than params.data_bytes().
  absl::StatusOr<std::string> Finish();

 private:
  struct State;
  explicit HashTreeStream(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

// Reads the first params.data_bytes() of `data`. Returns the root hash, as bytes.
//
// Errors: as HashTreeStream; OUT_OF_RANGE if `data` is shorter; those of reading.
absl::StatusOr<std::string> BuildHashTree(const BlockDevice& data, const VerityParams& params,
                                          const HashBlockSink& sink, const WorkOptions& options);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_VERITY_HASH_TREE_H_
