#include "partition/testing/fake_disk.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

// A write of a whole sector.
struct SectorWrite {
  uint64_t offset = 0;
  std::string_view data;
};

// Puts sectors on a disk and takes them off again, so that no state costs a copy of the disk.
class Trial {
 public:
  explicit Trial(std::string& image) : image_(image) {}
  ~Trial() {
    for (auto it = undo_.rbegin(); it != undo_.rend(); ++it) {
      image_.replace(it->first, it->second.size(), it->second);
    }
  }
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  void Put(uint64_t offset, std::string_view data) {
    undo_.emplace_back(offset, image_.substr(offset, data.size()));
    image_.replace(offset, data.size(), data);
  }

 private:
  std::string& image_;
  std::vector<std::pair<uint64_t, std::string>> undo_;
};

std::vector<SectorWrite> SectorsBetweenFlushes(const std::vector<FakeDisk::Event>& history,
                                               size_t& at, uint32_t sector_bytes) {
  std::vector<SectorWrite> sectors;
  for (; at < history.size() && !history[at].is_flush; ++at) {
    const FakeDisk::Event& event = history[at];
    for (size_t i = 0; i < event.data.size(); i += sector_bytes) {
      const std::string_view data = std::string_view(event.data).substr(i, sector_bytes);
      sectors.push_back({.offset = event.offset + i, .data = data});
    }
  }
  ++at;  // the flush
  return sectors;
}

}  // namespace

FakeDisk::FakeDisk(const Geometry& geometry, std::string name)
    : name_(std::move(name)), geometry_(geometry), image_(geometry.bytes(), '\0') {}

absl::Status FakeDisk::Read(uint64_t offset, std::span<char> buffer) const {
  if (offset > image_.size() || buffer.size() > image_.size() - offset) {
    return absl::OutOfRangeError(absl::StrCat("read '", name_, "' at ", offset));
  }
  for (const uint64_t lba : broken_) {
    const uint64_t start = lba * geometry_.sector_bytes;
    if (offset < start + geometry_.sector_bytes && start < offset + buffer.size()) {
      return absl::UnknownError(absl::StrCat("read '", name_, "' at ", start, ": I/O error"));
    }
  }
  image_.copy(buffer.data(), buffer.size(), offset);
  return absl::OkStatus();
}

absl::Status FakeDisk::Spend() {
  if (left_ == 0) return absl::UnknownError(absl::StrCat("write '", name_, "': I/O error"));
  --left_;
  return absl::OkStatus();
}

absl::Status FakeDisk::Write(uint64_t offset, std::string_view data) {
  if (offset > image_.size() || data.size() > image_.size() - offset) {
    return absl::OutOfRangeError(absl::StrCat("write '", name_, "' at ", offset));
  }
  KEELSON_RETURN_IF_ERROR(Spend());
  image_.replace(offset, data.size(), data);
  history_.push_back({.offset = offset, .data = std::string(data)});
  return absl::OkStatus();
}

absl::Status FakeDisk::Flush() {
  KEELSON_RETURN_IF_ERROR(Spend());
  history_.push_back({.is_flush = true});
  return absl::OkStatus();
}

void FakeDisk::Resize(uint64_t sectors) {
  geometry_.sectors = sectors;
  image_.resize(geometry_.bytes(), '\0');
}

uint64_t ForEachPowerCut(const std::string& before, const FakeDisk& written,
                         const std::function<void(FakeDisk&, const std::string& when)>& visit) {
  FakeDisk disk(written.geometry(), written.name());
  KEELSON_CHECK(before.size() == disk.image().size()) << before.size();
  disk.image() = before;
  uint64_t count = 0;
  int flushes = 0;
  const auto check = [&](const char* what, size_t sector) {
    ++count;
    visit(disk, absl::StrCat("after flush ", flushes, ", ", what, " sector ", sector));
  };
  for (size_t at = 0; at < written.history().size(); ++flushes) {
    const auto sectors = SectorsBetweenFlushes(written.history(), at, disk.geometry().sector_bytes);
    for (size_t i = 0; i < sectors.size(); ++i) {
      const auto [offset, data] = sectors[i];
      {
        Trial only(disk.image());
        only.Put(offset, data);
        check("only", i);
      }
      Trial trial(disk.image());
      for (size_t j = 0; j < i; ++j) trial.Put(sectors[j].offset, sectors[j].data);
      check("before", i);
      {
        Trial torn(disk.image());
        torn.Put(offset, data.substr(0, data.size() / 2));
        check("in the middle of", i);
      }
      for (size_t j = i + 1; j < sectors.size(); ++j) {
        trial.Put(sectors[j].offset, sectors[j].data);
      }
      check("all but", i);
    }
    for (const SectorWrite& sector : sectors) {
      disk.image().replace(sector.offset, sector.data.size(), sector.data);
    }
    check("all, up to", sectors.size());
  }
  return count;
}

}  // namespace keelson::partition
