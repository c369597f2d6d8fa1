#include "partition/cmd/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace keelson::partition {
namespace {

constexpr absl::Duration kInterval = absl::Milliseconds(250);
constexpr size_t kCells = 20;

}  // namespace

std::string ProgressText(uint64_t done, uint64_t total, absl::Duration elapsed) {
  const double part = total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total);
  const double rate =
      static_cast<double>(done) / std::max(absl::ToDoubleSeconds(elapsed), 1e-6) / (1 << 20);
  const double left = part <= 0 ? 0 : absl::ToDoubleSeconds(elapsed) * (1 - part) / part;
  const auto filled = static_cast<size_t>(std::min(part, 1.0) * kCells);
  const std::string bar = std::string(filled, '#') + std::string(kCells - filled, '.');
  return absl::StrFormat("[%s] %3.0f %%  %.0f MiB/s  %.0f s left", bar, part * 100, rate, left);
}

Progress::Progress(std::string what)
    : what_(std::move(what)),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_(absl::Now()),
      shown_(start_) {}

Progress::~Progress() {
  if (visible_) std::fputs("\r\033[K", stderr);
}

void Progress::Update(uint64_t done, uint64_t total) {
  if (!terminal_) return;
  const absl::Time now = absl::Now();
  if (now - shown_ < kInterval) return;
  shown_ = now;
  visible_ = true;
  absl::FPrintF(stderr, "\r%s %s\033[K", what_, ProgressText(done, total, now - start_));
}

void ProgressOfPhases::Update(std::string_view phase, uint64_t done, uint64_t total) {
  if (!line_.has_value() || phase != phase_) {
    phase_ = phase;
    line_.reset();  // Removes the line of the phase before.
    line_.emplace(phase_);
  }
  line_->Update(done, total);
}

void ProgressOfPhases::End() { line_.reset(); }

}  // namespace keelson::partition
