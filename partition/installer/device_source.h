// An image and its hash area on devices or in files, as veritysetup leaves them: a full payload.
#ifndef KEELSON_PARTITION_INSTALLER_DEVICE_SOURCE_H_
#define KEELSON_PARTITION_INSTALLER_DEVICE_SOURCE_H_

#include "partition/block_device.h"
#include "partition/installer/image_source.h"
#include "partition/verity/verify.h"

namespace keelson::partition {

class DeviceSource final : public ImageSource {
 public:
  // The devices of `place` outlive this; `place.params` are those of `description`.
  DeviceSource(ImageDescription description, const VerityPlace& place);

  [[nodiscard]] const ImageDescription& description() const override { return description_; }
  absl::Status ReadTree(std::span<char> tree) override;
  absl::Status Fetch(std::span<const BlockRange> wanted, const BlockSink& sink) override;

 private:
  const ImageDescription description_;
  const VerityPlace place_;
};

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_INSTALLER_DEVICE_SOURCE_H_
