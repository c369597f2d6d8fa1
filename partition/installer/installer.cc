#include "partition/installer/installer.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "partition/hex.h"
#include "partition/installer/block_index.h"
#include "partition/installer/partition_window.h"
#include "partition/slots/slot_disk.h"
#include "partition/verity/block_hasher.h"
#include "partition/verity/verify.h"
#include "partition/verity/verity_device.h"

namespace keelson::partition {
namespace {

class Installation {
 public:
  Installation(const InstallTarget& target, ImageSource& source, const InstallRequest& request,
               const InstallObserver& observer)
      : target_(target),
        source_(source),
        request_(request),
        observer_(observer),
        image_(source.description()),
        params_(image_.params) {}

  // Everything that can be refused; writes nothing.
  absl::Status Prepare() {
    KEELSON_ASSIGN_OR_RETURN(shape_, ShapeOf(params_));
    KEELSON_RETURN_IF_ERROR(CheckRootHash());
    KEELSON_RETURN_IF_ERROR(OpenSlots());
    result_.slot = request_.slot.value_or(PassiveSlot(slots_->view()).value_or(0));
    if (result_.slot == 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("'", target_.disk.name(), "' has no slot that may be overwritten"));
    }
    KEELSON_ASSIGN_OR_RETURN(
        begin_, slots_->Plan(BeginInstall{
                    .slot = result_.slot, .version = image_.version, .force = request_.force}));
    // What would be refused after all the work is refused now.
    SlotView then = slots_->view();
    then.table = begin_.step.table;
    KEELSON_ASSIGN_OR_RETURN(const FinishInstall finish, Finish());
    KEELSON_ASSIGN_OR_RETURN(const SlotStep last, StepSlots(then, finish));
    KEELSON_RETURN_IF_ERROR(slots_->PlanTable(last.table, last.what).status());
    KEELSON_RETURN_IF_ERROR(OpenWindows());
    KEELSON_ASSIGN_OR_RETURN(BlockHasher hasher, BlockHasher::Create(params_));
    hasher_ = std::make_unique<BlockHasher>(std::move(hasher));
    tree_.resize(shape_.blocks * params_.hash_block_bytes);
    KEELSON_RETURN_IF_ERROR(source_.ReadTree({tree_.data(), tree_.size()}));
    return CheckTree(tree_, params_, request_.trusted_root_hash);
  }

  absl::StatusOr<InstallResult> Run() {
    KEELSON_RETURN_IF_ERROR(slots_->CarryOut(begin_, observer_.table_write));
    KEELSON_RETURN_IF_ERROR(Survey());
    KEELSON_RETURN_IF_ERROR(CopyFromOtherSlots(/*write=*/true));
    KEELSON_RETURN_IF_ERROR(FetchRest());
    KEELSON_RETURN_IF_ERROR(WriteTree());
    KEELSON_RETURN_IF_ERROR(ReadBack());
    KEELSON_ASSIGN_OR_RETURN(const FinishInstall finish, Finish());
    // As the table is now: labels and sizes of others may have changed meanwhile.
    KEELSON_RETURN_IF_ERROR(OpenSlots());
    KEELSON_RETURN_IF_ERROR(slots_->Take(finish, observer_.table_write));
    return result_;
  }

  absl::StatusOr<std::vector<BlockRange>> Missing() {
    KEELSON_RETURN_IF_ERROR(Survey());
    KEELSON_RETURN_IF_ERROR(CopyFromOtherSlots(/*write=*/false));
    return RangesOf(wanted_);
  }

 private:
  absl::Status CheckRootHash() const {
    if (image_.root_hash == request_.trusted_root_hash) return absl::OkStatus();
    return absl::PermissionDeniedError(
        absl::StrCat("image '", image_.version, "': expected the root hash ",
                     Hex(request_.trusted_root_hash), ", found ", Hex(image_.root_hash)));
  }

  absl::Status OpenSlots() {
    KEELSON_ASSIGN_OR_RETURN(
        SlotDisk slots, SlotDisk::Open(target_.disk, {.type = target_.slot_type,
                                                      .running = target_.running,
                                                      .failed_versions = target_.failed_versions}));
    slots_.emplace(std::move(slots));
    return absl::OkStatus();
  }

  [[nodiscard]] absl::StatusOr<FinishInstall> Finish() const {
    FinishInstall finish = {.slot = result_.slot,
                            .label = image_.version,
                            .tries = request_.tries,
                            .hash_partition = request_.hash_partition};
    if (request_.rename_guids) {
      KEELSON_ASSIGN_OR_RETURN(const VerityPartitionGuids guids,
                               PartitionGuidsOf(request_.trusted_root_hash));
      finish.unique = guids.data;
      if (request_.hash_partition != 0) finish.hash_unique = guids.hash;
    }
    return finish;
  }

  absl::Status OpenWindows() {
    KEELSON_ASSIGN_OR_RETURN(
        PartitionWindow data,
        PartitionWindow::Open(target_.disk, slots_->view().table, result_.slot));
    data_ = std::make_unique<PartitionWindow>(std::move(data));
    hash_ = data_.get();
    if (request_.hash_partition == result_.slot) {
      return absl::InvalidArgumentError("the hash partition is the slot itself: leave it out");
    }
    if (request_.hash_partition != 0) {
      KEELSON_ASSIGN_OR_RETURN(
          PartitionWindow hash,
          PartitionWindow::Open(target_.disk, slots_->view().table, request_.hash_partition));
      own_hash_ = std::make_unique<PartitionWindow>(std::move(hash));
      hash_ = own_hash_.get();
    }
    format_ = {.params = params_,
               .superblock = image_.superblock,
               .uuid = image_.uuid,
               .hash_offset = hash_ == data_.get() ? params_.data_bytes() : 0};
    KEELSON_ASSIGN_OR_RETURN(areas_, AreasOf(format_, {.data = data_.get(), .hash = hash_}));
    absl::Status fits = CheckPlace(areas_.place);
    if (fits.ok()) return fits;
    return absl::InvalidArgumentError(
        absl::StrCat("image '", image_.version, "' does not fit: ", std::string(fits.message())));
  }

  std::string_view Digest(uint64_t block) const {
    return LeafDigest(tree_, params_, shape_, block, request_.trusted_root_hash);
  }

  void Tell(InstallPhase phase, uint64_t done, uint64_t total) const {
    if (observer_.progress) observer_.progress(phase, done, total);
  }

  [[nodiscard]] WorkOptions Telling(InstallPhase phase) const {
    return {.progress = [this, phase](uint64_t done, uint64_t total) { Tell(phase, done, total); }};
  }

  // Which blocks of the slot are not right.
  absl::Status Survey() {
    KEELSON_ASSIGN_OR_RETURN(
        const std::string digests,
        DigestsOf(*data_, params_, params_.data_blocks, Telling(InstallPhase::kSurvey)));
    wanted_.assign(params_.data_blocks, false);
    for (uint64_t block = 0; block < params_.data_blocks; ++block) {
      const std::string_view found =
          std::string_view(digests).substr(block * shape_.digest_bytes, shape_.digest_bytes);
      wanted_[block] = found != Digest(block);
      if (!wanted_[block]) ++result_.kept_blocks;
    }
    return absl::OkStatus();
  }

  // Writes blocks that are right; DATA_LOSS for the first that is not.
  absl::Status WriteChecked(uint64_t first, std::string_view bytes, uint64_t& written) {
    const uint64_t size = params_.data_block_bytes;
    const uint64_t count = bytes.size() / size;
    if (bytes.size() % size != 0 || first > params_.data_blocks ||
        count > params_.data_blocks - first) {
      return absl::InvalidArgumentError(absl::StrCat("image '", image_.version, "': ", bytes.size(),
                                                     " bytes from block ", first));
    }
    for (uint64_t i = 0; i < count;) {
      if (!wanted_[first + i]) {
        ++i;
        continue;
      }
      uint64_t end = i;
      for (; end < count && wanted_[first + end]; ++end) {
        const std::string found = hasher_->Hash(bytes.substr(end * size, size));
        if (found != Digest(first + end)) {
          return absl::DataLossError(absl::StrCat(
              "image '", image_.version, "': block ", first + end, ": expected ", params_.algorithm,
              " ", Hex(Digest(first + end)), ", found ", Hex(found)));
        }
      }
      KEELSON_RETURN_IF_ERROR(
          data_->Write((first + i) * size, bytes.substr(i * size, (end - i) * size)));
      written += end - i;
      for (; i < end; ++i) wanted_[first + i] = false;
    }
    return absl::OkStatus();
  }

  absl::Status CopyFromOtherSlots(bool write) {
    for (const Slot& slot : SlotsOf(slots_->view().table, slots_->view().type)) {
      if (slot.number == result_.slot) continue;
      KEELSON_ASSIGN_OR_RETURN(
          const PartitionWindow other,
          PartitionWindow::Open(target_.disk, slots_->view().table, slot.number));
      KEELSON_RETURN_IF_ERROR(CopyFrom(other, write));
    }
    return absl::OkStatus();
  }

  absl::Status CopyFrom(const BlockDevice& other, bool write) {
    const uint64_t blocks = other.geometry().bytes() / params_.data_block_bytes;
    if (blocks == 0 || std::find(wanted_.begin(), wanted_.end(), true) == wanted_.end()) {
      return absl::OkStatus();
    }
    // With the new image's salt, so that old and new digests compare whatever the old one's is.
    absl::StatusOr<std::string> digests =
        DigestsOf(other, params_, blocks, Telling(InstallPhase::kCopy));
    // What cannot be read here is fetched.
    if (!digests.ok()) return absl::OkStatus();
    const BlockIndex index(*std::move(digests), shape_.digest_bytes);
    std::string block(params_.data_block_bytes, '\0');
    for (uint64_t i = 0; i < params_.data_blocks; ++i) {
      if (!wanted_[i]) continue;
      const uint64_t at = index.Find(Digest(i));
      if (at == BlockIndex::kNone) continue;
      if (!write) {
        wanted_[i] = false;
        continue;
      }
      if (!other.Read(at * block.size(), {block.data(), block.size()}).ok()) continue;
      // Read once more since it was hashed: it may have changed, or the disk may.
      if (hasher_->Hash(block) != Digest(i)) continue;
      KEELSON_RETURN_IF_ERROR(data_->Write(i * block.size(), block));
      wanted_[i] = false;
      ++result_.copied_blocks;
    }
    return absl::OkStatus();
  }

  absl::Status FetchRest() {
    const std::vector<BlockRange> ranges = RangesOf(wanted_);
    if (ranges.empty()) return absl::OkStatus();
    uint64_t total = 0;
    for (const BlockRange& range : ranges) total += range.count * params_.data_block_bytes;
    const auto sink = [&](uint64_t first, std::string_view bytes) {
      KEELSON_RETURN_IF_ERROR(WriteChecked(first, bytes, result_.fetched_blocks));
      Tell(InstallPhase::kFetch, result_.fetched_blocks * params_.data_block_bytes, total);
      return absl::OkStatus();
    };
    KEELSON_RETURN_IF_ERROR(source_.Fetch(ranges, sink));
    const auto missing = std::find(wanted_.begin(), wanted_.end(), true);
    if (missing == wanted_.end()) return absl::OkStatus();
    return absl::NotFoundError(absl::StrCat("image '", image_.version, "': block ",
                                            missing - wanted_.begin(), " did not come"));
  }

  absl::Status WriteTree() {
    KEELSON_RETURN_IF_ERROR(hash_->Write(areas_.place.tree_offset, tree_));
    if (image_.superblock) {
      KEELSON_RETURN_IF_ERROR(hash_->Write(
          format_.hash_offset, EncodeSuperblock({.uuid = image_.uuid, .params = params_})));
    }
    return target_.disk.Flush();
  }

  absl::Status ReadBack() {
    target_.disk.ForgetCache();
    KEELSON_ASSIGN_OR_RETURN(
        const VerityReport report,
        VerifyTree(areas_.place, request_.trusted_root_hash, Telling(InstallPhase::kReadBack)));
    if (report.ok()) return absl::OkStatus();
    return absl::DataLossError(
        absl::StrCat("read back after writing: ", report.faults.front().message, "; ",
                     report.faults.size(), " damaged blocks"));
  }

  const InstallTarget& target_;
  ImageSource& source_;
  const InstallRequest& request_;
  const InstallObserver& observer_;
  const ImageDescription& image_;
  const VerityParams& params_;
  TreeShape shape_;
  std::optional<SlotDisk> slots_;
  SlotChange begin_;
  std::unique_ptr<PartitionWindow> data_;
  std::unique_ptr<PartitionWindow> own_hash_;
  BlockDevice* hash_ = nullptr;  // one of the two
  VerityFormat format_;
  VerityAreas areas_;
  std::unique_ptr<BlockHasher> hasher_;
  std::string tree_;
  std::vector<bool> wanted_;  // data blocks that are not right yet
  InstallResult result_;
};

}  // namespace

absl::StatusOr<InstallResult> Install(const InstallTarget& target, ImageSource& source,
                                      const InstallRequest& request,
                                      const InstallObserver& observer) {
  Installation installation(target, source, request, observer);
  KEELSON_RETURN_IF_ERROR(installation.Prepare());
  return installation.Run();
}

absl::StatusOr<std::vector<BlockRange>> BlocksToFetch(const InstallTarget& target,
                                                      ImageSource& source,
                                                      const InstallRequest& request) {
  const InstallObserver observer;
  Installation installation(target, source, request, observer);
  KEELSON_RETURN_IF_ERROR(installation.Prepare());
  return installation.Missing();
}

}  // namespace keelson::partition
