// slots list, next, mark-good, mark-bad, prioritize, booted, why.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "partition/cmd/slot_options.h"
#include "partition/cmd/verbs.h"
#include "partition/gpt_disk.h"
#include "partition/partition_types.h"

namespace keelson::partition {
namespace {

using Json = nlohmann::ordered_json;

struct SlotVerbOptions : SlotOptions {
  int number = 0;
  std::string reason;
  bool force = false;
  bool take = false;
  bool friends = false;
  std::optional<int> highest;
};

Json ToJson(const SlotOptions& options, const SlotView& view) {
  Json list = Json::array();
  for (const SlotReport& report : ReportSlots(view)) {
    const Slot& slot = report.slot;
    list.push_back({{"number", slot.number},
                    {"label", slot.label},
                    {"guid", ToString(slot.unique)},
                    {"state", std::string(SlotStateName(report.state))},
                    {"priority", slot.bits.priority},
                    {"tries", slot.bits.tries},
                    {"successful", slot.bits.successful},
                    {"running", report.running},
                    {"next", report.next},
                    {"why", report.why}});
  }
  return {{"disk", options.disk}, {"type", PartitionTypeName(view.type)}, {"slots", list}};
}

std::string Printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text;
}

absl::StatusOr<ExitCode> List(const Context& context, const SlotVerbOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const OpenSlots slots, OpenSlotsOf(context, options, false));
  if (context.json()) {
    std::printf(
        "%s\n",
        ToJson(options, slots.view()).dump(2, ' ', false, Json::error_handler_t::replace).c_str());
    return ExitCode::kDone;
  }
  absl::PrintF("%3s  %-20s  %-8s  %8s  %5s  %10s  %s\n", "", "LABEL", "STATE", "PRIORITY", "TRIES",
               "SUCCESSFUL", "");
  for (const SlotReport& report : ReportSlots(slots.view())) {
    const SlotBits& bits = report.slot.bits;
    absl::PrintF("%3d  %-20s  %-8s  %8d  %5d  %10s  %s%s\n", report.slot.number,
                 Printable(report.slot.label), std::string(SlotStateName(report.state)),
                 bits.priority, bits.tries, bits.successful ? "yes" : "no",
                 report.running ? "running " : "", report.next ? "next" : "");
  }
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> Why(const Context& context, const SlotVerbOptions& options) {
  if (context.json()) return List(context, options);
  KEELSON_ASSIGN_OR_RETURN(const OpenSlots slots, OpenSlotsOf(context, options, false));
  for (const SlotReport& report : ReportSlots(slots.view())) {
    absl::PrintF("slot %d (%s, %s): %s\n", report.slot.number, Printable(report.slot.label),
                 std::string(SlotStateName(report.state)), report.why);
    const FailedVersion* failed = slots.view().failed_versions.Find(report.slot.label);
    if (failed != nullptr) {
      absl::PrintF("  version '%s' failed: %s\n", Printable(failed->version),
                   Printable(failed->reason));
    }
  }
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> Next(const Context& context, const SlotVerbOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(OpenSlots slots, OpenSlotsOf(context, options, options.take));
  const std::optional<int> next = NextSlot(SlotsOf(slots.view().table, slots.view().type));
  if (!next.has_value()) {
    return absl::NotFoundError("no slot is bootable; `slotctl slots why` says why");
  }
  if (options.take) {
    KEELSON_ASSIGN_OR_RETURN(const SlotChange change, slots.disk->Plan(TakeTry{.slot = *next}));
    KEELSON_RETURN_IF_ERROR(CarrySlotChange(context, options, slots, change, next));
    if (context.json()) return ExitCode::kDone;
  }
  if (context.json()) {
    std::printf("%s\n", Json{{"disk", options.disk}, {"next", *next}}.dump(2).c_str());
  } else {
    absl::PrintF("%d\n", *next);
  }
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> Change(const Context& context, const SlotOptions& options,
                                const SlotInput& input) {
  KEELSON_ASSIGN_OR_RETURN(OpenSlots slots, OpenSlotsOf(context, options, true));
  KEELSON_ASSIGN_OR_RETURN(const SlotChange change, slots.disk->Plan(input));
  KEELSON_RETURN_IF_ERROR(CarrySlotChange(context, options, slots, change));
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> DoBooted(const Context& context, const SlotVerbOptions& options) {
  if (options.failed_versions.empty()) {
    return absl::InvalidArgumentError("--failed-versions: what is learned would be lost");
  }
  return Change(context, options, Booted{});
}

absl::StatusOr<ExitCode> DoMarkGood(const Context& context, const SlotVerbOptions& options) {
  return Change(context, options, MarkGood{.slot = options.number});
}

absl::StatusOr<ExitCode> DoMarkBad(const Context& context, const SlotVerbOptions& options) {
  return Change(context, options,
                MarkBad{.slot = options.number, .reason = options.reason, .force = options.force});
}

absl::StatusOr<ExitCode> DoPrioritize(const Context& context, const SlotVerbOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(OpenSlots slots, OpenSlotsOf(context, options, true));
  PrioritizeOptions how = {.friends = options.friends, .highest = options.highest};
  if (options.number != 0) how.number = options.number;
  GptTable table = slots.view().table;
  KEELSON_RETURN_IF_ERROR(Prioritize(table, slots.view().type, how));
  KEELSON_ASSIGN_OR_RETURN(const SlotChange change, slots.disk->PlanTable(table, ""));
  KEELSON_RETURN_IF_ERROR(CarrySlotChange(context, options, slots, change));
  return ExitCode::kDone;
}

}  // namespace

void AddSlotVerbs(CLI::App& app, Context& context) {
  CLI::App* family = app.add_subcommand("slots", "Which system boots next.");
  family->require_subcommand(1);
  family->fallthrough();
  using Run = absl::StatusOr<ExitCode> (*)(const Context&, const SlotVerbOptions&);
  const auto add = [&](const char* name, const char* what, Run run) {
    // Lives as long as the program.
    auto options = std::make_shared<SlotVerbOptions>();
    CLI::App* verb = family->add_subcommand(name, what);
    AddSlotOptions(*verb, *options);
    verb->callback([&context, options, run] {
      context.run = [&context, options, run] { return run(context, *options); };
    });
    return std::pair(verb, options.get());
  };
  add("list", "Show all slots.", List);
  add("why", "Say for each slot whether it boots next, and why.", Why);
  const auto [next, n] = add("next", "Say which slot boots next.", Next);
  next->add_flag("--take", n->take, "And take a try from it, as a boot loader does.");
  const auto [good, g] = add("mark-good", "A slot has proved itself.", DoMarkGood);
  good->add_option("SLOT", g->number, "Number of its partition.")->required();
  const auto [bad, b] = add("mark-bad", "A slot must not boot any more.", DoMarkBad);
  bad->add_option("SLOT", b->number, "Number of its partition.")->required();
  bad->add_option("--reason", b->reason, "Kept with the version, which is not installed again.");
  bad->add_flag("--force", b->force, "Though no other slot is marked good.");
  add("booted",
      "To be called at each start: versions whose tries were used up go on the ledger of "
      "--failed-versions.",
      DoBooted);
  const auto [prioritize, p] = add("prioritize", "Number priorities anew.", DoPrioritize);
  prioritize->add_option("SLOT", p->number, "Gets the greatest.");
  prioritize->add_flag("--friends", p->friends, "And so do those that had its priority.");
  prioritize->add_option("--highest", p->highest, "The greatest priority. Default: as needed.");
}

}  // namespace keelson::partition
