// A line on a terminal that says how far long work has come: "hashing [########............]  43 %
// 812 MiB/s  2 s left".
#ifndef KEELSON_PARTITION_CMD_PROGRESS_H_
#define KEELSON_PARTITION_CMD_PROGRESS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace keelson::partition {

// Writes to stderr if that is a terminal, and only after the first quarter of a second. One thread
// at a time.
class Progress {
 public:
  explicit Progress(std::string what);
  // Removes the line.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(uint64_t done, uint64_t total);

 private:
  const std::string what_;
  const bool terminal_;
  absl::Time start_;
  absl::Time shown_;
  bool visible_ = false;
};

// Such a line for work in phases, each with a rate and an end of its own.
class ProgressOfPhases {
 public:
  // The first call with another `phase` starts its line.
  void Update(std::string_view phase, uint64_t done, uint64_t total);
  // Removes the line, so that something else can be said.
  void End();

 private:
  std::string phase_;
  std::optional<Progress> line_;
};

// "[########............]  43 %  812 MiB/s  2 s left"
std::string ProgressText(uint64_t done, uint64_t total, absl::Duration elapsed);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_CMD_PROGRESS_H_
