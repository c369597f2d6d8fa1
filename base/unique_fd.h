// Owns a file descriptor and closes it.
#ifndef KEELSON_BASE_UNIQUE_FD_H_
#define KEELSON_BASE_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace keelson {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    Reset(other.Release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { Reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool ok() const { return fd_ >= 0; }

  // Gives the descriptor up to the caller, who then closes it.
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }

  // Closes what is owned and owns `fd` (or nothing) instead. Where the result of
  // close matters (written files), sync first: close after a sync has nothing left to report.
  void Reset(int fd = -1) {
    if (fd_ >= 0 && fd_ != fd) (void)::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

}  // namespace keelson

#endif  // KEELSON_BASE_UNIQUE_FD_H_
