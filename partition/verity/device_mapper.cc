#include "partition/verity/device_mapper.h"

#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

constexpr size_t kBufferBytes = 16 * 1024;
constexpr size_t kBufferBytesMax = 16 * 1024 * 1024;
constexpr std::string_view kNameCharacters = "#+-.:=@_";

absl::Status CheckName(const std::string& name, const std::string& uuid) {
  const bool characters = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) ||
           kNameCharacters.find(static_cast<char>(c)) != kNameCharacters.npos;
  });
  if (name.empty() || name.size() >= DM_NAME_LEN || !characters || name == "." || name == "..") {
    return absl::InvalidArgumentError(
        absl::StrCat("name of a device '", absl::CHexEscape(name), "': expected 1 to ",
                     DM_NAME_LEN - 1, " letters, digits or ", std::string(kNameCharacters)));
  }
  if (uuid.size() >= DM_UUID_LEN) {
    return absl::InvalidArgumentError(
        absl::StrCat("uuid of ", uuid.size(), " bytes: at most ", DM_UUID_LEN - 1));
  }
  return absl::OkStatus();
}

uint32_t Aligned(size_t size) { return static_cast<uint32_t>((size + 7) / 8 * 8); }

// A request: the header, and targets behind it.
class Request {
 public:
  Request(const std::string& name, uint32_t flags) : buffer_(kBufferBytes, '\0') {
    header_.version[0] = DM_VERSION_MAJOR;  // The oldest minor: all that we use is in it.
    header_.data_start = Aligned(sizeof(dm_ioctl));
    header_.flags = flags;
    name.copy(header_.name, sizeof(header_.name) - 1);
    end_ = header_.data_start;
  }

  void SetUuid(const std::string& uuid) { uuid.copy(header_.uuid, sizeof(header_.uuid) - 1); }

  void AddTarget(const DmTarget& target) {
    dm_target_spec spec = {.sector_start = target.first_sector, .length = target.sectors};
    target.type.copy(spec.target_type, sizeof(spec.target_type) - 1);
    spec.next = Aligned(sizeof(spec) + target.parameters.size() + 1);
    if (end_ + spec.next > buffer_.size()) buffer_.resize(Aligned(end_ + spec.next), '\0');
    std::memcpy(buffer_.data() + end_, &spec, sizeof(spec));
    target.parameters.copy(buffer_.data() + end_ + sizeof(spec), target.parameters.size());
    end_ += spec.next;
    ++header_.target_count;
  }

  // Of all targets, in place of any.
  void AddMessage(std::string_view text) {
    const dm_target_msg message = {};
    std::memcpy(buffer_.data() + end_, &message, sizeof(message));
    text.copy(buffer_.data() + end_ + sizeof(message), text.size());
  }

  // Returns 0 or an errno. Asks again with more room until the answer fits.
  int Send(DmControl& control, unsigned long request) {
    while (true) {
      std::string answer = buffer_;
      dm_ioctl header = header_;
      header.data_size = static_cast<uint32_t>(answer.size());
      std::memcpy(answer.data(), &header, sizeof(header));
      const int error = control.Call(request, {answer.data(), answer.size()});
      std::memcpy(&header, answer.data(), sizeof(header));
      if (error != 0) return error;
      if ((header.flags & DM_BUFFER_FULL_FLAG) == 0 || answer.size() >= kBufferBytesMax) {
        answer_ = std::move(answer);
        return (header.flags & DM_BUFFER_FULL_FLAG) == 0 ? 0 : ENOBUFS;
      }
      buffer_.resize(2 * buffer_.size(), '\0');
    }
  }

  [[nodiscard]] dm_ioctl header() const {
    dm_ioctl header = {};
    std::memcpy(&header, answer_.data(), sizeof(header));
    return header;
  }

  // The targets of an answer. DATA_LOSS if they do not lie inside of it.
  [[nodiscard]] absl::StatusOr<std::vector<DmTarget>> Targets() const {
    std::vector<DmTarget> targets;
    const dm_ioctl answered = header();
    size_t at = answered.data_start;
    for (uint32_t i = 0; i < answered.target_count; ++i) {
      dm_target_spec spec = {};
      if (at > answer_.size() || answer_.size() - at < sizeof(spec)) {
        return absl::DataLossError(absl::StrCat("device mapper: target ", i, " is cut off"));
      }
      std::memcpy(&spec, answer_.data() + at, sizeof(spec));
      const std::string_view rest = std::string_view(answer_).substr(at + sizeof(spec));
      targets.push_back({.first_sector = spec.sector_start,
                         .sectors = spec.length,
                         .type = std::string(spec.target_type,
                                             ::strnlen(spec.target_type, sizeof(spec.target_type))),
                         .parameters = std::string(rest.substr(0, rest.find('\0')))});
      // Of an answer, unlike of a table, the offset counts from the first target.
      at = answered.data_start + size_t{spec.next};
    }
    return targets;
  }

 private:
  std::string buffer_;
  std::string answer_;
  dm_ioctl header_ = {};
  size_t end_ = 0;
};

absl::Status CallError(int error, std::string_view what, const std::string& name) {
  const std::string context = absl::StrCat(std::string(what), " device '", name, "'");
  if (error == ENXIO) return absl::NotFoundError(absl::StrCat(context, ": no such device"));
  if (error == EBUSY) {
    return what == "create"
               ? absl::AlreadyExistsError(absl::StrCat(context, ": its name or uuid is taken"))
               : absl::FailedPreconditionError(absl::StrCat(context, ": in use"));
  }
  return ErrnoError(error, context);
}

DmDevice DeviceOf(const dm_ioctl& header) {
  return {.name = header.name,
          .uuid = header.uuid,
          .major = gnu_dev_major(header.dev),
          .minor = gnu_dev_minor(header.dev),
          .open_count = header.open_count,
          .read_only = (header.flags & DM_READONLY_FLAG) != 0,
          .suspended = (header.flags & DM_SUSPEND_FLAG) != 0,
          .has_table = (header.flags & DM_ACTIVE_PRESENT_FLAG) != 0};
}

}  // namespace

absl::StatusOr<DmDevice> DeviceMapper::Create(const std::string& name, const std::string& uuid,
                                              const std::vector<DmTarget>& table) {
  KEELSON_RETURN_IF_ERROR(CheckName(name, uuid));
  Request create(name, 0);
  create.SetUuid(uuid);
  if (const int error = create.Send(control_, DM_DEV_CREATE); error != 0) {
    return CallError(error, "create", name);
  }
  Request load(name, DM_READONLY_FLAG);
  for (const DmTarget& target : table) load.AddTarget(target);
  // Without the flag DM_SUSPEND_FLAG this resumes.
  Request resume(name, 0);
  absl::Status status;
  if (const int error = load.Send(control_, DM_TABLE_LOAD); error != 0) {
    status = CallError(error, "load the table of", name);
  } else if (const int refused = resume.Send(control_, DM_DEV_SUSPEND); refused != 0) {
    status = CallError(refused, "resume", name);
  } else {
    const DmDevice device = DeviceOf(resume.header());
    status = control_.AddNode(name, device.major, device.minor);
    if (status.ok()) return device;
  }
  // A device without a table would only be in the way. Best effort: the first error counts.
  Request remove(name, 0);
  (void)remove.Send(control_, DM_DEV_REMOVE);
  return status;
}

absl::Status DeviceMapper::Remove(const std::string& name, bool deferred) {
  KEELSON_RETURN_IF_ERROR(CheckName(name, ""));
  Request remove(name, deferred ? DM_DEFERRED_REMOVE : 0);
  if (const int error = remove.Send(control_, DM_DEV_REMOVE); error != 0) {
    return CallError(error, "remove", name);
  }
  if (deferred && (remove.header().flags & DM_DEFERRED_REMOVE) != 0) return absl::OkStatus();
  return control_.RemoveNode(name);
}

absl::Status DeviceMapper::CancelRemoval(const std::string& name) {
  KEELSON_RETURN_IF_ERROR(CheckName(name, ""));
  Request request(name, 0);
  request.AddMessage("@cancel_deferred_remove");
  const int error = request.Send(control_, DM_TARGET_MSG);
  return error == 0 ? absl::OkStatus() : CallError(error, "cancel the removal of", name);
}

absl::StatusOr<DmDevice> DeviceMapper::Info(const std::string& name) {
  KEELSON_RETURN_IF_ERROR(CheckName(name, ""));
  Request request(name, 0);
  if (const int error = request.Send(control_, DM_DEV_STATUS); error != 0) {
    return CallError(error, "look at", name);
  }
  return DeviceOf(request.header());
}

absl::StatusOr<std::vector<DmTarget>> DeviceMapper::Targets(const std::string& name,
                                                            uint32_t flags) {
  KEELSON_RETURN_IF_ERROR(CheckName(name, ""));
  Request request(name, flags);
  if (const int error = request.Send(control_, DM_TABLE_STATUS); error != 0) {
    return CallError(error, "look at", name);
  }
  return request.Targets();
}

absl::StatusOr<std::vector<DmTarget>> DeviceMapper::Table(const std::string& name) {
  return Targets(name, DM_STATUS_TABLE_FLAG);
}

absl::StatusOr<std::vector<DmTarget>> DeviceMapper::Status(const std::string& name) {
  return Targets(name, 0);
}

}  // namespace keelson::partition
