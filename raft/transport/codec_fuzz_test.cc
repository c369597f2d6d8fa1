// Arbitrary bytes as a batch: refused, or read into what encodes to the same messages again.
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "raft/transport/codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using keelson::raft::DecodeBatch;
  using keelson::raft::DecodedBatch;
  google::protobuf::io::ArrayInputStream in(data, static_cast<int>(size));
  const absl::StatusOr<DecodedBatch> batch = DecodeBatch(in, {});
  if (!batch.ok()) return 0;

  std::string bytes;
  for (const auto& piece : keelson::raft::EncodeBatch(batch->messages, batch->probe).pieces) {
    bytes += piece.view();
  }
  google::protobuf::io::ArrayInputStream again(bytes.data(), static_cast<int>(bytes.size()));
  const absl::StatusOr<DecodedBatch> second = DecodeBatch(again, {});
  KEELSON_CHECK(second.ok()) << second.status().ToString();
  KEELSON_CHECK(second->messages == batch->messages && second->probe == batch->probe);
  return 0;
}
