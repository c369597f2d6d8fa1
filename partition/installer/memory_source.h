// An image in memory, whose hash tree is made here: for data of applications, which come whole and
// are trusted as they come.
//
//   KEELSON_ASSIGN_OR_RETURN(auto source, MemorySource::Make("2024.1", std::move(data)));
//   KEELSON_RETURN_IF_ERROR(Install(target, *source, {.trusted_root_hash = source->root_hash()}));
//
// Where data come from somebody else, the root hash does too, signed; a tree of one's own then says
// only that nothing was lost between here and the disk.
#ifndef KEELSON_PARTITION_INSTALLER_MEMORY_SOURCE_H_
#define KEELSON_PARTITION_INSTALLER_MEMORY_SOURCE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "partition/installer/image_source.h"

namespace keelson::partition {

class MemorySource final : public ImageSource {
 public:
  // `data` is padded with zeros to whole blocks of 4096 bytes, at least one.
  // UNAVAILABLE: as BlockHasher::Create.
  static absl::StatusOr<std::unique_ptr<MemorySource>> Make(std::string version, std::string data);

  [[nodiscard]] const ImageDescription& description() const override { return description_; }
  [[nodiscard]] const std::string& root_hash() const { return description_.root_hash; }
  absl::Status ReadTree(std::span<char> tree) override;
  absl::Status Fetch(std::span<const BlockRange> wanted, const BlockSink& sink) override;

 private:
  MemorySource() = default;

  ImageDescription description_;
  std::string data_;
  std::string tree_;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_INSTALLER_MEMORY_SOURCE_H_
