// How far something long has come, for whoever waits at a terminal.
#ifndef KEELSON_KVSTORE_CMD_PROGRESS_H_
#define KEELSON_KVSTORE_CMD_PROGRESS_H_

#include <cstdint>
#include <ostream>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace keelson::kvctl {

// Writes "<what> <done>[ of <total>]" in lines of their own, the first after some seconds.
class Progress {
 public:
  Progress(std::string what, std::ostream& err) : what_(std::move(what)), err_(err) {}

  void Tell(uint64_t done, uint64_t total = 0) {
    const absl::Time now = absl::Now();
    if (now < next_) return;
    next_ = now + kInterval;
    err_ << what_ << " " << done;
    if (total > 0) err_ << " of " << total;
    err_ << "\n" << std::flush;
  }

 private:
  static constexpr absl::Duration kInterval = absl::Seconds(3);

  const std::string what_;
  std::ostream& err_;
  absl::Time next_ = absl::Now() + kInterval;
};

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_PROGRESS_H_
