#include "partition/slots/slot_manager.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

SlotState StateOf(const SlotView& view, const Slot& slot) {
  if (slot.bits.priority == 0) return SlotState::kEmpty;
  if (slot.bits.successful) return SlotState::kGood;
  if (view.running == slot.number) return SlotState::kTrying;
  return slot.bits.tries > 0 ? SlotState::kWritten : SlotState::kFailed;
}

bool AnyBootable(const GptTable& table, const Guid& type) {
  return NextSlot(SlotsOf(table, type)).has_value();
}

// Whether a slot that has proved itself boots if all others fail.
bool GoodLeft(const GptTable& table, const Guid& type) {
  const std::vector<Slot> slots = SlotsOf(table, type);
  return std::any_of(slots.begin(), slots.end(),
                     [](const Slot& slot) { return slot.bits.bootable() && slot.bits.successful; });
}

SlotStep Unchanged(const SlotView& view) {
  return {.failed_versions = view.failed_versions, .table = view.table};
}

absl::StatusOr<SlotStep> Step(const SlotView& view, const BeginInstall& input) {
  KEELSON_ASSIGN_OR_RETURN(const Slot slot, FindSlot(view.table, view.type, input.slot));
  if (view.running == slot.number) {
    return absl::FailedPreconditionError(
        absl::StrCat("slot ", slot.number, " is running: it cannot be overwritten"));
  }
  if (!input.force) KEELSON_RETURN_IF_ERROR(view.failed_versions.Check(input.version));
  SlotStep step = Unchanged(view);
  SetSlotBits(step.table, slot.number, {});
  step.what = absl::StrCat("slot ", slot.number, " can no longer boot");
  // While no other slot has proved itself, this one may be the only way back.
  if (!GoodLeft(step.table, view.type) && slot.bits.bootable() && !input.force) {
    return absl::FailedPreconditionError(
        absl::StrCat("slot ", slot.number, " cannot be overwritten: no other slot is marked good"));
  }
  if (!AnyBootable(step.table, view.type) && AnyBootable(view.table, view.type)) {
    return absl::FailedPreconditionError(
        absl::StrCat("slot ", slot.number, " cannot be overwritten: no other slot is bootable"));
  }
  return step;
}

absl::Status RenameHashPartition(const FinishInstall& input, GptTable& table) {
  const auto index = static_cast<size_t>(input.hash_partition) - 1;
  if (index >= table.entries.size() || !table.entries[index].used()) {
    return absl::NotFoundError(
        absl::StrCat("partition ", input.hash_partition, ", for the hash tree, does not exist"));
  }
  GptEntry& entry = table.entries[index];
  if (input.hash_unique.has_value()) entry.unique = *input.hash_unique;
  return input.label.empty() ? absl::OkStatus() : SetName(entry, input.label);
}

absl::StatusOr<SlotStep> Step(const SlotView& view, const FinishInstall& input) {
  KEELSON_ASSIGN_OR_RETURN(const Slot slot, FindSlot(view.table, view.type, input.slot));
  if (input.tries < 1 || input.tries > kSlotTriesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("tries ", input.tries, ": expected 1 to ", kSlotTriesMax));
  }
  if (view.running == slot.number || slot.bits.priority != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("slot ", slot.number, " is not being installed"));
  }
  SlotStep step = Unchanged(view);
  GptEntry& entry = step.table.entries[slot.number - 1];
  if (!input.label.empty()) KEELSON_RETURN_IF_ERROR(SetName(entry, input.label));
  if (input.unique.has_value()) entry.unique = *input.unique;
  if (input.hash_partition != 0) KEELSON_RETURN_IF_ERROR(RenameHashPartition(input, step.table));
  SetSlotBits(step.table, slot.number, {.tries = input.tries});
  KEELSON_RETURN_IF_ERROR(Prioritize(step.table, view.type, {.number = slot.number}));
  step.what = absl::StrCat("slot ", slot.number, " boots next, with ", input.tries, " tries");
  return step;
}

absl::StatusOr<SlotStep> Step(const SlotView& view, const TakeTry& input) {
  KEELSON_ASSIGN_OR_RETURN(const Slot slot, FindSlot(view.table, view.type, input.slot));
  if (!slot.bits.bootable()) {
    return absl::FailedPreconditionError(
        absl::StrCat("slot ", slot.number, " is not bootable: priority ", slot.bits.priority, ", ",
                     slot.bits.tries, " tries left, not marked good"));
  }
  SlotStep step = Unchanged(view);
  SlotBits bits = slot.bits;
  if (bits.tries > 0) --bits.tries;
  SetSlotBits(step.table, slot.number, bits);
  step.what = absl::StrCat("slot ", slot.number, " is started, with ", bits.tries, " tries left");
  return step;
}

absl::StatusOr<SlotStep> Step(const SlotView& view, const Booted&) {
  SlotStep step = Unchanged(view);
  if (!view.running.has_value()) return step;
  KEELSON_ASSIGN_OR_RETURN(const Slot running, FindSlot(view.table, view.type, *view.running));
  for (const SlotReport& report : ReportSlots(view)) {
    // It should have booted rather than this one, and was tried until no try was left.
    if (report.state != SlotState::kFailed || report.slot.label.empty()) continue;
    if (report.slot.bits.priority < running.bits.priority) continue;
    if (step.failed_versions.Find(report.slot.label) != nullptr) continue;
    step.failed_versions.Add({.version = report.slot.label,
                              .partition = report.slot.number,
                              .reason = absl::StrCat("its tries were used up without a good boot; "
                                                     "partition ",
                                                     running.number, " booted instead"),
                              .unix_time = view.unix_time});
    absl::StrAppend(&step.what, step.what.empty() ? "" : "; ", "version '", report.slot.label,
                    "' was rolled back");
  }
  return step;
}

absl::StatusOr<SlotStep> Step(const SlotView& view, const MarkGood& input) {
  KEELSON_ASSIGN_OR_RETURN(const Slot slot, FindSlot(view.table, view.type, input.slot));
  const bool running = view.running == slot.number;
  // The tries of a running slot may be gone: that was its last one.
  if (!running && !slot.bits.bootable()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "slot ", slot.number, " is neither running nor bootable: nothing shows that it is good"));
  }
  SlotStep step = Unchanged(view);
  SetSlotBits(step.table, slot.number, {.priority = slot.bits.priority, .successful = true});
  KEELSON_RETURN_IF_ERROR(Prioritize(step.table, view.type, {.number = slot.number}));
  (void)step.failed_versions.Remove(slot.label);  // It may have been forced after a failure.
  step.what = absl::StrCat("slot ", slot.number, " is good");
  return step;
}

absl::StatusOr<SlotStep> Step(const SlotView& view, const MarkBad& input) {
  KEELSON_ASSIGN_OR_RETURN(const Slot slot, FindSlot(view.table, view.type, input.slot));
  SlotStep step = Unchanged(view);
  SetSlotBits(step.table, slot.number, {.priority = slot.bits.priority});
  if (!input.force && slot.bits.bootable() && !GoodLeft(step.table, view.type)) {
    return absl::FailedPreconditionError(
        absl::StrCat("slot ", slot.number, " cannot be given up: no other slot is marked good"));
  }
  if (!slot.label.empty()) {
    step.failed_versions.Add({.version = slot.label,
                              .partition = slot.number,
                              .reason = input.reason.empty() ? "marked bad" : input.reason,
                              .unix_time = view.unix_time});
  }
  step.what = absl::StrCat("slot ", slot.number, " is bad");
  return step;
}

std::string WhyNot(const Slot& slot, SlotState state, const Slot& next) {
  if (!slot.bits.bootable()) {
    if (state == SlotState::kEmpty) return "does not boot: its priority is 0";
    return absl::StrCat("does not boot: ", slot.bits.tries, " tries left and not marked good",
                        state == SlotState::kTrying ? "; it runs on its last try" : "");
  }
  if (slot.bits.priority == next.bits.priority) {
    return absl::StrCat("boots if slot ", next.number,
                        " fails: the same priority, but later in the table");
  }
  return absl::StrCat("boots if slot ", next.number, " fails: priority ", slot.bits.priority,
                      " is less than ", next.bits.priority);
}

std::string WhyNext(const Slot& slot) {
  const std::string trial =
      slot.bits.successful
          ? "it is marked good"
          : absl::StrCat(slot.bits.tries, slot.bits.tries == 1 ? " try" : " tries", " left");
  return absl::StrCat("boots next: priority ", slot.bits.priority,
                      " is the greatest of the bootable slots, and ", trial);
}

}  // namespace

std::string_view SlotStateName(SlotState state) {
  switch (state) {
    case SlotState::kEmpty:
      return "empty";
    case SlotState::kWritten:
      return "written";
    case SlotState::kTrying:
      return "trying";
    case SlotState::kGood:
      return "good";
    case SlotState::kFailed:
      return "failed";
  }
  return "unknown";
}

absl::StatusOr<SlotStep> StepSlots(const SlotView& view, const SlotInput& input) {
  return std::visit([&](const auto& kind) { return Step(view, kind); }, input);
}

std::vector<SlotReport> ReportSlots(const SlotView& view) {
  const std::vector<Slot> slots = SlotsOf(view.table, view.type);
  const std::optional<int> next = NextSlot(slots);
  const auto winner = std::find_if(slots.begin(), slots.end(),
                                   [&](const Slot& slot) { return slot.number == next; });
  std::vector<SlotReport> reports;
  for (const Slot& slot : slots) {
    SlotReport report = {.slot = slot,
                         .state = StateOf(view, slot),
                         .running = view.running == slot.number,
                         .next = next == slot.number};
    // Without a winner no slot is bootable, and it is not looked at.
    report.why = report.next ? WhyNext(slot)
                             : WhyNot(slot, report.state, winner == slots.end() ? slot : *winner);
    reports.push_back(std::move(report));
  }
  return reports;
}

std::optional<int> PassiveSlot(const SlotView& view) {
  std::optional<int> best;
  std::tuple<bool, int> best_rank;
  for (const SlotReport& report : ReportSlots(view)) {
    if (report.running || (report.next && !view.running.has_value())) continue;
    const std::tuple rank(report.slot.bits.bootable(), report.slot.bits.priority);
    if (best.has_value() && rank >= best_rank) continue;
    best = report.slot.number;
    best_rank = rank;
  }
  return best;
}

}  // namespace keelson::partition
