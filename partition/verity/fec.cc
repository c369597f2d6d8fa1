#include "partition/verity/fec.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "partition/verity/internal/fec_message.h"
#include "partition/verity/internal/ordered_parallel.h"
#include "partition/verity/internal/reed_solomon.h"

namespace keelson::partition {
namespace {

// Registers of the encoders that one thread runs at a time: stays in the second-level cache.
constexpr uint64_t kRegisterBytes = 256 * 1024;

// The registers lie in groups of 64 encoders (see GfKernels); the parity area encoder by encoder.
std::string InParityOrder(const std::string& registers, size_t roots) {
  std::string parity(registers.size(), '\0');
  const size_t encoders = registers.size() / roots;
  char* out = parity.data();
  for (size_t i = 0; i < encoders; ++i) {
    const char* in = registers.data() + i / kGfLanes * roots * kGfLanes + i % kGfLanes;
    for (size_t t = 0; t < roots; ++t) *out++ = in[t * kGfLanes];
  }
  return parity;
}

}  // namespace

absl::StatusOr<FecShape> FecShapeOf(const FecMessage& message, int roots) {
  const VerityParams& params = message.place.params;
  if (roots < kFecRootsMin || roots > kFecRootsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("FEC roots ", roots, ": expected ", kFecRootsMin, " to ", kFecRootsMax));
  }
  KEELSON_RETURN_IF_ERROR(ShapeOf(params).status());
  if (params.data_block_bytes != params.hash_block_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("FEC needs data and hash blocks of one size, found ", params.data_block_bytes,
                     " and ", params.hash_block_bytes, " bytes"));
  }
  FecShape shape = {.message_blocks = params.data_blocks + message.hash_blocks};
  const uint64_t blocks_a_round = kCodewordSymbols - static_cast<uint64_t>(roots);
  shape.rounds = (shape.message_blocks + blocks_a_round - 1) / blocks_a_round;
  shape.bytes = shape.rounds * roots * params.data_block_bytes;
  return shape;
}

absl::StatusOr<FecMessage> MessageOf(const VerityPlace& place, bool fec_on_hash_device,
                                     uint64_t fec_offset) {
  KEELSON_ASSIGN_OR_RETURN(const TreeShape tree, ShapeOf(place.params));
  const uint32_t block_bytes = place.params.hash_block_bytes;
  const uint64_t end = fec_on_hash_device ? fec_offset : place.hash->geometry().bytes();
  const uint64_t tree_end = place.tree_offset + tree.blocks * block_bytes;
  if (end < tree_end || (fec_on_hash_device && end % block_bytes != 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", place.hash->name(), "': the area that FEC covers ends at byte ", end,
                     "; expected a multiple of ", block_bytes, ", at least ", tree_end));
  }
  return FecMessage{.place = place, .hash_blocks = (end - place.tree_offset) / block_bytes};
}

absl::Status EncodeFec(const FecMessage& message, int roots, const ParitySink& sink,
                       const WorkOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const FecShape shape, FecShapeOf(message, roots));
  KEELSON_RETURN_IF_ERROR(CheckPlace(message.place));
  const std::vector<GfFactor> factors = EncoderFactors(roots);
  const GfKernels& kernels = GfKernelsHere().front();
  const uint64_t block_bytes = message.place.params.data_block_bytes;
  const uint64_t rounds_at_once = std::max<uint64_t>(1, kRegisterBytes / (roots * block_bytes));
  const uint64_t rows = kCodewordSymbols - roots;
  const MessageReader reader(message);

  const auto work = [&](uint64_t piece, int) -> absl::StatusOr<std::string> {
    const uint64_t first = piece * rounds_at_once;
    const uint64_t blocks = std::min(rounds_at_once, shape.rounds - first);
    std::string row(blocks * block_bytes, '\0');
    std::string registers(row.size() * roots, '\0');
    for (uint64_t i = 0; i < rows; ++i) {
      KEELSON_RETURN_IF_ERROR(reader.Read(i * shape.rounds + first, {row.data(), row.size()}));
      kernels.encode(reinterpret_cast<const uint8_t*>(row.data()), row.size(), factors,
                     reinterpret_cast<uint8_t*>(registers.data()));
    }
    return InParityOrder(registers, roots);
  };
  uint64_t done = 0;
  const auto commit = [&](uint64_t, const std::string& parity) {
    const uint64_t offset = done;
    done += parity.size();
    if (options.progress) options.progress(done, shape.bytes);
    return sink(offset, parity);
  };
  const uint64_t pieces = (shape.rounds + rounds_at_once - 1) / rounds_at_once;
  return OrderedParallel<std::string>::Run(pieces, ThreadCount(options), work, commit);
}

}  // namespace keelson::partition
