#include "partition/boot/testing/fake_boot_control.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::partition::testing {
namespace {

absl::Status NoCandidate(const std::string& id) {
  return absl::NotFoundError(absl::StrCat("no boot entry '", id, "'"));
}

void TakeTry(BootCandidate& candidate) {
  if (candidate.state != BootState::kTrial) return;
  ++candidate.tries_done;
  if (--candidate.tries_left == 0) candidate.state = BootState::kBad;
}

}  // namespace

absl::Status FakeBootControl::TakeError() {
  return std::exchange(error_, std::nullopt).value_or(absl::OkStatus());
}

FakeBootControl::Stored* FakeBootControl::Find(const std::string& id) {
  const auto found = std::find_if(stored_.begin(), stored_.end(),
                                  [&](const Stored& item) { return item.candidate.id == id; });
  return found == stored_.end() ? nullptr : &*found;
}

bool FakeBootControl::AnotherGood(const std::string& id) {
  return std::any_of(stored_.begin(), stored_.end(), [&](const Stored& item) {
    return item.candidate.state == BootState::kGood && item.candidate.id != id;
  });
}

FakeBootControl::Stored* FakeBootControl::Next() {
  for (Stored& item : stored_) {
    if (item.candidate.state != BootState::kBad) return &item;
  }
  return stored_.empty() ? nullptr : &stored_[0];
}

std::optional<std::string> FakeBootControl::Boot() {
  Stored* next = Next();
  running_.reset();
  if (next == nullptr) return std::nullopt;
  TakeTry(next->candidate);
  next->as_started = next->candidate;
  running_ = next->candidate.id;
  return running_;
}

absl::StatusOr<std::vector<BootCandidate>> FakeBootControl::Candidates() {
  std::vector<BootCandidate> candidates;
  const Stored* next = Next();
  for (const Stored& item : stored_) {
    candidates.push_back(item.candidate);
    candidates.back().next = &item == next;
    candidates.back().why = &item == next ? "the first that can boot" : "another comes before it";
  }
  return candidates;
}

absl::StatusOr<std::string> FakeBootControl::Running() {
  if (running_.has_value()) return *running_;
  return absl::NotFoundError("nothing was started");
}

absl::Status FakeBootControl::CheckRoom(uint64_t bytes) {
  if (bytes <= room_bytes_) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("expected ", bytes, " bytes free, found ", room_bytes_));
}

absl::Status FakeBootControl::Commit(const BootImage& image, std::optional<int> tries) {
  KEELSON_RETURN_IF_ERROR(TakeError());
  if (tries.has_value() && *tries < 1) return absl::InvalidArgumentError("tries below 1");
  if (const Stored* there = Find(image.id); there != nullptr) {
    if (there->contents == image.contents) return absl::OkStatus();
    return absl::AlreadyExistsError(absl::StrCat("'", image.id, "' has other contents"));
  }
  KEELSON_RETURN_IF_ERROR(CheckRoom(image.contents.size()));
  BootCandidate candidate = {.id = image.id,
                             .state = tries.has_value() ? BootState::kTrial : BootState::kGood,
                             .tries_left = tries.value_or(0)};
  stored_.insert(stored_.begin(), Stored{candidate, std::string(image.contents), candidate});
  return absl::OkStatus();
}

absl::Status FakeBootControl::Mark(const std::string& id, BootVerdict verdict,
                                   const std::string& /*reason*/) {
  KEELSON_RETURN_IF_ERROR(TakeError());
  Stored* item = Find(id);
  if (item == nullptr) return NoCandidate(id);
  switch (verdict) {
    case BootVerdict::kGood:
      item->candidate.state = BootState::kGood;
      item->candidate.tries_left = item->candidate.tries_done = 0;
      break;
    case BootVerdict::kBad:
      if (!AnotherGood(id)) return absl::FailedPreconditionError("nothing else is known to boot");
      item->candidate.state = BootState::kBad;
      item->candidate.tries_left = 0;
      break;
    case BootVerdict::kIndeterminate:
      if (running_ != id) return absl::FailedPreconditionError("it was not started");
      item->candidate = item->as_started;
      break;
  }
  return absl::OkStatus();
}

absl::Status FakeBootControl::CountTry(const std::string& id) {
  KEELSON_RETURN_IF_ERROR(TakeError());
  Stored* item = Find(id);
  if (item == nullptr) return NoCandidate(id);
  if (item->candidate.state == BootState::kBad) {
    return absl::FailedPreconditionError(absl::StrCat("'", id, "' has no tries left"));
  }
  TakeTry(item->candidate);
  return absl::OkStatus();
}

absl::Status FakeBootControl::Remove(const std::string& id) {
  KEELSON_RETURN_IF_ERROR(TakeError());
  Stored* item = Find(id);
  if (item == nullptr) return NoCandidate(id);
  if (running_ == id) return absl::FailedPreconditionError(absl::StrCat("'", id, "' is running"));
  if (!AnotherGood(id)) return absl::FailedPreconditionError("nothing else is known to boot");
  stored_.erase(stored_.begin() + (item - stored_.data()));
  return absl::OkStatus();
}

}  // namespace keelson::partition::testing
