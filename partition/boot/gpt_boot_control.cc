#include "partition/boot/gpt_boot_control.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

std::string IdOf(const Slot& slot) { return absl::StrCat("slot-", slot.number); }

BootState StateOf(const SlotBits& bits) {
  if (bits.successful) return BootState::kGood;
  return bits.tries > 0 ? BootState::kTrial : BootState::kBad;
}

}  // namespace

absl::StatusOr<Slot> GptBootControl::Find(const std::string& id) {
  for (Slot& slot : SlotsOf(slots_.view().table, slots_.view().type)) {
    if (IdOf(slot) == id) return std::move(slot);
  }
  return absl::NotFoundError(absl::StrCat("no slot '", id, "'"));
}

absl::StatusOr<std::vector<BootCandidate>> GptBootControl::Candidates() {
  std::vector<SlotReport> reports = ReportSlots(slots_.view());
  // gptprio's order: what can boot, by priority, the first in the table of equal ones.
  const auto rank = [](const SlotReport& report) {
    return report.slot.bits.bootable() ? report.slot.bits.priority : 0;
  };
  std::stable_sort(reports.begin(), reports.end(),
                   [&](const SlotReport& a, const SlotReport& b) { return rank(a) > rank(b); });
  std::vector<BootCandidate> candidates;
  for (const SlotReport& report : reports) {
    const Slot& slot = report.slot;
    if (slot.bits.priority == 0) continue;
    candidates.push_back({.id = IdOf(slot),
                          .title = slot.label,
                          .version = slot.label,
                          .state = StateOf(slot.bits),
                          .tries_left = slot.bits.tries,
                          .next = report.next,
                          .why = report.why});
  }
  return candidates;
}

absl::StatusOr<std::string> GptBootControl::Running() {
  if (slots_.view().running.has_value()) return absl::StrCat("slot-", *slots_.view().running);
  return absl::NotFoundError("this system runs from no slot of the disk");
}

absl::Status GptBootControl::CheckRoom(uint64_t /*bytes*/) { return absl::OkStatus(); }

absl::Status GptBootControl::Commit(const BootImage& image, std::optional<int> tries) {
  if (!image.contents.empty() || !image.files.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", image.id, "': the installer writes a slot, boot control only its bits"));
  }
  const absl::StatusOr<Slot> slot = Find(image.id);
  if (!slot.ok()) return absl::InvalidArgumentError(slot.status().message());
  const SlotView& view = slots_.view();
  const bool same = slot->bits.bootable() && !slot->bits.successful &&
                    slot->bits.tries == tries.value_or(0) &&
                    NextSlot(SlotsOf(view.table, view.type)) == slot->number;
  if (same) return absl::OkStatus();
  if (tries.has_value() || slot->bits.priority == 0) {
    KEELSON_RETURN_IF_ERROR(
        slots_.Take(FinishInstall{.slot = slot->number, .tries = tries.value_or(1)}));
  }
  return tries.has_value() ? absl::OkStatus() : slots_.Take(MarkGood{.slot = slot->number});
}

absl::Status GptBootControl::Mark(const std::string& id, BootVerdict verdict,
                                  const std::string& reason) {
  KEELSON_ASSIGN_OR_RETURN(const Slot slot, Find(id));
  switch (verdict) {
    case BootVerdict::kGood:
      return slots_.Take(MarkGood{.slot = slot.number});
    case BootVerdict::kBad:
      return slots_.Take(MarkBad{.slot = slot.number, .reason = reason});
    case BootVerdict::kIndeterminate:
      return absl::FailedPreconditionError(
          absl::StrCat("'", id, "': the bits of a slot do not say how it was before"));
  }
  return absl::InternalError("unknown verdict");
}

absl::Status GptBootControl::CountTry(const std::string& id) {
  KEELSON_ASSIGN_OR_RETURN(const Slot slot, Find(id));
  if (slot.bits.priority > 0 && slot.bits.successful) return absl::OkStatus();
  return slots_.Take(TakeTry{.slot = slot.number});
}

absl::Status GptBootControl::Remove(const std::string& id) {
  KEELSON_ASSIGN_OR_RETURN(const Slot slot, Find(id));
  return slots_.Take(BeginInstall{.slot = slot.number});
}

}  // namespace keelson::partition
