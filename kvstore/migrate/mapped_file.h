// A file as bytes in memory, read only, without a copy.
#ifndef KEELSON_KVSTORE_MIGRATE_MAPPED_FILE_H_
#define KEELSON_KVSTORE_MIGRATE_MAPPED_FILE_H_

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace keelson::kvstore {

// The file must not shrink while it is mapped. Movable.
class MappedFile {
 public:
  // Errors name the path; NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT when it is no plain file.
  static absl::StatusOr<MappedFile> Open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile();

  [[nodiscard]] std::string_view bytes() const { return bytes_; }
  // Gives back the memory of what has been read so far; it is read again when it is touched.
  void Forget() const;

 private:
  explicit MappedFile(std::string_view bytes) : bytes_(bytes) {}

  std::string_view bytes_;
};

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_MIGRATE_MAPPED_FILE_H_
