#include "partition/boot/gpt_boot_control.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

constexpr int kTriesMax = 15;

std::string IdOf(const SlotFacts& slot) { return absl::StrCat("slot-", slot.number); }

BootState StateOf(const SlotFacts& slot) {
  if (slot.successful) return BootState::kGood;
  return slot.tries > 0 ? BootState::kTrial : BootState::kBad;
}

}  // namespace

absl::StatusOr<SlotFacts> GptBootControl::Find(const std::string& id) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<SlotFacts> slots, slots_.Read());
  for (const SlotFacts& slot : slots) {
    if (IdOf(slot) == id) return slot;
  }
  return absl::NotFoundError(absl::StrCat("no slot '", id, "'"));
}

absl::Status GptBootControl::CheckAnotherGood(int number) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<SlotFacts> slots, slots_.Read());
  const bool another = std::any_of(slots.begin(), slots.end(), [&](const SlotFacts& slot) {
    return slot.number != number && slot.priority > 0 && slot.successful;
  });
  if (another) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("slot ", number, " stays: no other slot is known to boot"));
}

absl::StatusOr<std::vector<BootCandidate>> GptBootControl::Candidates() {
  KEELSON_ASSIGN_OR_RETURN(std::vector<SlotFacts> slots, slots_.Read());
  // gptprio's order: what can boot, by priority, the first in the table of equal ones.
  const auto rank = [](const SlotFacts& slot) {
    return StateOf(slot) == BootState::kBad ? 0 : slot.priority;
  };
  std::stable_sort(slots.begin(), slots.end(),
                   [&](const SlotFacts& a, const SlotFacts& b) { return rank(a) > rank(b); });
  std::vector<BootCandidate> candidates;
  for (const SlotFacts& slot : slots) {
    if (slot.priority == 0) continue;
    candidates.push_back({.id = IdOf(slot),
                          .title = slot.label,
                          .version = slot.label,
                          .state = StateOf(slot),
                          .tries_left = slot.tries,
                          .next = slot.next,
                          .why = slot.why});
  }
  return candidates;
}

absl::StatusOr<std::string> GptBootControl::Running() {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<SlotFacts> slots, slots_.Read());
  for (const SlotFacts& slot : slots) {
    if (slot.running) return IdOf(slot);
  }
  return absl::NotFoundError("this system runs from no slot of the disk");
}

absl::Status GptBootControl::CheckRoom(uint64_t /*bytes*/) { return absl::OkStatus(); }

absl::Status GptBootControl::Commit(const BootImage& image, std::optional<int> tries) {
  if (!image.contents.empty() || !image.files.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", image.id, "': the installer writes a slot, boot control only its bits"));
  }
  if (tries.has_value() && (*tries < 1 || *tries > kTriesMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected 1 to ", kTriesMax, " tries, found ", *tries));
  }
  const absl::StatusOr<SlotFacts> slot = Find(image.id);
  if (!slot.ok()) return absl::InvalidArgumentError(slot.status().message());
  return tries.has_value() ? slots_.FinishInstall(slot->number, *tries)
                           : slots_.MarkGood(slot->number);
}

absl::Status GptBootControl::Mark(const std::string& id, BootVerdict verdict,
                                  const std::string& reason) {
  KEELSON_ASSIGN_OR_RETURN(const SlotFacts slot, Find(id));
  switch (verdict) {
    case BootVerdict::kGood:
      return slots_.MarkGood(slot.number);
    case BootVerdict::kBad:
      KEELSON_RETURN_IF_ERROR(CheckAnotherGood(slot.number));
      return slots_.MarkBad(slot.number, reason);
    case BootVerdict::kIndeterminate:
      return absl::FailedPreconditionError(
          absl::StrCat("'", id, "': the bits of a slot do not say how it was before"));
  }
  return absl::InternalError("unknown verdict");
}

absl::Status GptBootControl::CountTry(const std::string& id) {
  KEELSON_ASSIGN_OR_RETURN(const SlotFacts slot, Find(id));
  switch (StateOf(slot)) {
    case BootState::kGood:
      return absl::OkStatus();
    case BootState::kTrial:
      return slots_.TakeTry(slot.number);
    case BootState::kBad:
      break;
  }
  return absl::FailedPreconditionError(absl::StrCat("'", id, "' has no tries left"));
}

absl::Status GptBootControl::Remove(const std::string& id) {
  KEELSON_ASSIGN_OR_RETURN(const SlotFacts slot, Find(id));
  if (slot.running) return absl::FailedPreconditionError(absl::StrCat("'", id, "' is running"));
  KEELSON_RETURN_IF_ERROR(CheckAnotherGood(slot.number));
  return slots_.Empty(slot.number);
}

}  // namespace keelson::partition
