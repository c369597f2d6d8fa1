// RepairVerity: verify, restore what is damaged, and again as long as that helps.
#include <array>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "partition/verity/block_hasher.h"
#include "partition/verity/fec.h"
#include "partition/verity/internal/fec_message.h"
#include "partition/verity/internal/reed_solomon.h"

namespace keelson::partition {
namespace {

// The codewords of one round, as rows: symbol j of codeword i is rows[j][i].
class Round {
 public:
  Round(size_t block_bytes, int roots)
      : block_bytes_(block_bytes), roots_(roots), rows_(kCodewordSymbols * block_bytes, '\0') {}

  std::span<char> row(size_t j) { return std::span(rows_).subspan(j * block_bytes_, block_bytes_); }

  // `parity` as it is stored: codeword by codeword.
  void SetParity(std::string_view parity) {
    for (size_t i = 0; i < block_bytes_; ++i) {
      for (int t = 0; t < roots_; ++t) {
        row(kCodewordSymbols - roots_ + t)[i] = parity[i * roots_ + t];
      }
    }
  }

  // The blocks of the rows `erased`, if all others and the parity are right.
  std::vector<std::string> SolveErasures(std::span<const int> erased) {
    const GfKernels& kernels = GfKernelsHere().front();
    const size_t count = erased.size();
    std::vector<std::string> syndromes(count, std::string(block_bytes_, '\0'));
    for (size_t t = 0; t < count; ++t) {
      const GfFactor factor = MakeGfFactor(GfAlphaPower(static_cast<uint32_t>(t)));
      for (size_t j = 0; j < kCodewordSymbols; ++j) {
        kernels.multiply_and_add(Bytes(row(j)), block_bytes_, factor, Bytes(syndromes[t]));
      }
    }
    const std::vector<uint8_t> solution = ErasureSolution(erased);
    std::vector<std::string> blocks;
    for (size_t e = 0; e < count; ++e) {
      std::string block(row(erased[e]).data(), block_bytes_);
      for (size_t t = 0; t < count; ++t) {
        const uint8_t by = solution[e * count + t];
        for (size_t i = 0; i < block_bytes_; ++i) {
          block[i] ^= static_cast<char>(GfMultiply(static_cast<uint8_t>(syndromes[t][i]), by));
        }
      }
      blocks.push_back(std::move(block));
    }
    return blocks;
  }

  // Corrects each codeword by itself, wherever its errors are beside `erasures`: for few wrong
  // symbols in many rows, and for damaged parity. Codewords with too many errors stay.
  std::vector<std::string> SolveErrors(std::span<const int> wanted, std::span<const int> erasures) {
    std::array<uint8_t, kCodewordSymbols> codeword{};
    std::vector<std::string> blocks(wanted.size(), std::string(block_bytes_, '\0'));
    for (size_t i = 0; i < block_bytes_; ++i) {
      for (size_t j = 0; j < kCodewordSymbols; ++j) codeword[j] = static_cast<uint8_t>(row(j)[i]);
      (void)CorrectCodeword(codeword, roots_, erasures);
      for (size_t e = 0; e < wanted.size(); ++e) {
        blocks[e][i] = static_cast<char>(codeword[wanted[e]]);
      }
    }
    return blocks;
  }

 private:
  static uint8_t* Bytes(std::span<char> chars) { return reinterpret_cast<uint8_t*>(chars.data()); }

  const size_t block_bytes_;
  const int roots_;
  std::string rows_;
};

class Repairer {
 public:
  Repairer(const RepairDevices& devices, const FecShape& shape, const TreeShape& tree,
           BlockHasher hasher)
      : devices_(devices),
        params_(devices.message.place.params),
        shape_(shape),
        tree_(tree),
        hasher_(std::move(hasher)) {}

  absl::StatusOr<VerityRepair> Run(std::string_view root_hash, const WorkOptions& options) {
    VerityRepair result;
    for (bool first = true;; first = false) {
      KEELSON_ASSIGN_OR_RETURN(VerityReport report,
                               VerifyTree(devices_.message.place, root_hash, options));
      if (first) result.damaged_blocks = report.faults.size();
      const size_t before = result.repaired.size();
      KEELSON_ASSIGN_OR_RETURN(std::vector<VerityFault> left, RepairAll(report, result));
      if (left.empty() && report.unjudged_blocks == 0) break;
      if (result.repaired.size() == before) {
        result.beyond_repair = std::move(left);
        break;
      }
    }
    if (!result.repaired.empty()) {
      KEELSON_RETURN_IF_ERROR(devices_.data->Flush());
      if (devices_.hash != devices_.data) KEELSON_RETURN_IF_ERROR(devices_.hash->Flush());
    }
    return result;
  }

 private:
  // The place of a block in the message.
  [[nodiscard]] uint64_t MessageBlock(const VerityFault& fault) const {
    if (fault.level == VerityFault::kData) return fault.block;
    return params_.data_blocks + tree_.levels[fault.level].first_block + fault.block;
  }

  // Returns what is still damaged.
  absl::StatusOr<std::vector<VerityFault>> RepairAll(const VerityReport& report,
                                                     VerityRepair& result) {
    std::map<uint64_t, std::vector<const VerityFault*>> by_round;
    for (const VerityFault& fault : report.faults) {
      by_round[MessageBlock(fault) % shape_.rounds].push_back(&fault);
    }
    std::vector<VerityFault> left;
    for (const auto& [round, faults] : by_round) {
      KEELSON_RETURN_IF_ERROR(RepairRound(round, faults, result, left));
    }
    return left;
  }

  absl::Status RepairRound(uint64_t round, std::vector<const VerityFault*> faults,
                           VerityRepair& result, std::vector<VerityFault>& left) {
    Round rows(params_.data_block_bytes, devices_.roots);
    KEELSON_RETURN_IF_ERROR(ReadRound(round, rows));
    std::vector<int> erased;
    for (const VerityFault* fault : faults) {
      erased.push_back(static_cast<int>(MessageBlock(*fault) / shape_.rounds));
    }
    std::vector<std::string> blocks(faults.size());
    const auto keep_what_is_right = [&](std::vector<std::string> tried) {
      for (size_t i = 0; i < faults.size(); ++i) {
        if (!Right(*faults[i], blocks[i])) blocks[i] = std::move(tried[i]);
      }
    };
    if (erased.size() <= static_cast<size_t>(devices_.roots)) {
      keep_what_is_right(rows.SolveErasures(erased));
      if (!AllRight(faults, blocks)) keep_what_is_right(rows.SolveErrors(erased, erased));
    }
    if (!AllRight(faults, blocks)) keep_what_is_right(rows.SolveErrors(erased, {}));
    for (size_t i = 0; i < faults.size(); ++i) {
      if (!Right(*faults[i], blocks[i])) {
        left.push_back(*faults[i]);
        continue;
      }
      const bool data = faults[i]->level == VerityFault::kData;
      BlockDevice& device = data ? *devices_.data : *devices_.hash;
      KEELSON_RETURN_IF_ERROR(device.Write(faults[i]->offset, blocks[i]));
      result.repaired.push_back(*faults[i]);
    }
    return absl::OkStatus();
  }

  absl::Status ReadRound(uint64_t round, Round& rows) const {
    const MessageReader reader(devices_.message);
    for (size_t j = 0; j < kCodewordSymbols - devices_.roots; ++j) {
      KEELSON_RETURN_IF_ERROR(reader.Read(j * shape_.rounds + round, rows.row(j)));
    }
    std::string parity(size_t{params_.data_block_bytes} * devices_.roots, '\0');
    KEELSON_RETURN_IF_ERROR(devices_.fec->Read(devices_.fec_offset + round * parity.size(),
                                               {parity.data(), parity.size()}));
    rows.SetParity(parity);
    return absl::OkStatus();
  }

  bool Right(const VerityFault& fault, const std::string& block) {
    return !block.empty() && hasher_.Hash(block) == fault.expected;
  }

  bool AllRight(const std::vector<const VerityFault*>& faults,
                const std::vector<std::string>& blocks) {
    for (size_t i = 0; i < faults.size(); ++i) {
      if (!Right(*faults[i], blocks[i])) return false;
    }
    return true;
  }

  const RepairDevices& devices_;
  const VerityParams& params_;
  const FecShape shape_;
  const TreeShape tree_;
  BlockHasher hasher_;
};

}  // namespace

absl::StatusOr<VerityRepair> RepairVerity(const RepairDevices& devices, std::string_view root_hash,
                                          const WorkOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const FecShape shape, FecShapeOf(devices.message, devices.roots));
  const VerityParams& params = devices.message.place.params;
  KEELSON_ASSIGN_OR_RETURN(const TreeShape tree, ShapeOf(params));
  KEELSON_ASSIGN_OR_RETURN(BlockHasher hasher, BlockHasher::Create(params));
  const uint64_t end = devices.fec->geometry().bytes();
  if (devices.fec_offset > end || end - devices.fec_offset < shape.bytes) {
    return absl::OutOfRangeError(
        absl::StrCat("FEC device '", devices.fec->name(), "': expected at least ", shape.bytes,
                     " bytes from byte ", devices.fec_offset, ", found a device of ", end));
  }
  return Repairer(devices, shape, tree, std::move(hasher)).Run(root_hash, options);
}

}  // namespace keelson::partition
