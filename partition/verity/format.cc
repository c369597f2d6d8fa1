#include "partition/verity/format.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "partition/verity/hash_tree.h"

namespace keelson::partition {
namespace {

absl::Status CheckRoom(const BlockDevice& device, const char* what, uint64_t end) {
  const uint64_t found = device.geometry().bytes();
  if (end <= found) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat(what, " '", device.name(), "': expected at least ", end,
                                            " bytes, found ", found));
}

absl::Status WriteParity(const VerityFormat& format, const VerityDevices& devices,
                         const WorkOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const FecMessage message, FecMessageOf(format, devices));
  const auto sink = [&](uint64_t offset, std::string_view bytes) {
    return devices.fec->Write(format.fec->offset + offset, bytes);
  };
  KEELSON_RETURN_IF_ERROR(EncodeFec(message, format.fec->roots, sink, options));
  return devices.fec->Flush();
}

}  // namespace

absl::StatusOr<VerityAreas> AreasOf(const VerityFormat& format, const VerityDevices& devices) {
  KEELSON_ASSIGN_OR_RETURN(const TreeShape shape, ShapeOf(format.params));
  VerityAreas areas = {
      .place = {.data = devices.data, .hash = devices.hash, .params = format.params}};
  KEELSON_ASSIGN_OR_RETURN(
      areas.place.tree_offset,
      TreeOffset(format.hash_offset, format.superblock, format.params.hash_block_bytes));
  areas.hash_end = areas.place.tree_offset + shape.blocks * format.params.hash_block_bytes;
  if (devices.hash == devices.data && format.hash_offset < format.params.data_bytes()) {
    return absl::InvalidArgumentError(
        absl::StrCat("hash offset ", format.hash_offset, ": the data ends at byte ",
                     format.params.data_bytes(), " of '", devices.data->name(), "'"));
  }
  return areas;
}

absl::StatusOr<FecMessage> FecMessageOf(const VerityFormat& format, const VerityDevices& devices) {
  KEELSON_ASSIGN_OR_RETURN(const VerityAreas areas, AreasOf(format, devices));
  if (devices.fec == devices.data && devices.fec != devices.hash &&
      format.fec->offset < format.params.data_bytes()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "FEC offset ", format.fec->offset, ": the data ends at byte ", format.params.data_bytes()));
  }
  return MessageOf(areas.place, devices.fec == devices.hash, format.fec->offset);
}

absl::StatusOr<std::string> FormatVerity(const VerityFormat& format, const VerityDevices& devices,
                                         const WorkOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const VerityAreas areas, AreasOf(format, devices));
  KEELSON_RETURN_IF_ERROR(CheckRoom(*devices.hash, "hash device", areas.hash_end));
  if (format.fec.has_value()) {
    KEELSON_ASSIGN_OR_RETURN(const FecMessage message, FecMessageOf(format, devices));
    KEELSON_ASSIGN_OR_RETURN(const FecShape shape, FecShapeOf(message, format.fec->roots));
    KEELSON_RETURN_IF_ERROR(
        CheckRoom(*devices.fec, "FEC device", format.fec->offset + shape.bytes));
  }
  const auto sink = [&](uint64_t offset, std::string_view block) {
    return devices.hash->Write(areas.place.tree_offset + offset, block);
  };
  KEELSON_ASSIGN_OR_RETURN(std::string root_hash,
                           BuildHashTree(*devices.data, format.params, sink, options));
  if (format.superblock) {
    // A superblock vouches for a tree: it comes when that is durable.
    KEELSON_RETURN_IF_ERROR(devices.hash->Flush());
    KEELSON_RETURN_IF_ERROR(devices.hash->Write(
        format.hash_offset, EncodeSuperblock({.uuid = format.uuid, .params = format.params})));
  }
  KEELSON_RETURN_IF_ERROR(devices.hash->Flush());
  if (format.fec.has_value()) KEELSON_RETURN_IF_ERROR(WriteParity(format, devices, options));
  return root_hash;
}

}  // namespace keelson::partition
