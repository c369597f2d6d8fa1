#include "raft/model/catalog.h"

#include <algorithm>

#include "base/check.h"

namespace keelson::raft::model {
namespace {

constexpr Step kOwnSteps[] = {Step::kSync, Step::kCampaign, Step::kPropose, Step::kHeartbeat,
                              Step::kRestart};
// Inputs below are own steps, from here on messages.
constexpr uint32_t kFirstMessage = 16;

EntryTag Tag(const Entry& entry) {
  return static_cast<EntryTag>(entry.term * 2 + (entry.data.empty() ? 0 : 1));
}

View ViewOf(const Member& member) {
  const internal::Raft& core = *member.core;
  const HardState state = core.hard_state();
  View view;
  view.id = member.id;
  view.role = core.soft_state().role;
  view.term = static_cast<uint8_t>(state.term);
  view.commit = static_cast<uint8_t>(state.commit);
  view.last = static_cast<uint8_t>(core.log().LastIndex());
  view.disk_last = static_cast<uint8_t>(member.disk.LastIndex());
  view.disk_term = static_cast<uint8_t>(member.disk.InitialHardState().term);
  view.pending = !member.pending.empty();
  view.fits = core.log().LastIndex() <= kMaxLog && member.disk.LastIndex() <= kMaxLog;
  if (!view.fits) return view;
  const auto log = core.log().Slice(1, view.last + uint64_t{1}, ~uint64_t{0});
  for (const Entry& entry : *log) view.log[entry.index] = Tag(entry);
  for (const Entry& entry : member.DiskEntries()) view.disk[entry.index] = Tag(entry);
  for (const PeerStatus& peer : core.GetStatus().peers) {
    view.match[peer.id] = static_cast<uint8_t>(peer.match);
  }
  return view;
}

}  // namespace

Catalog::Catalog(const Bounds& bounds)
    : bounds_(bounds), renamings_(Renamings(bounds.nodes, bounds.symmetry)), lab_(bounds) {}

MemberNumber Catalog::Boot(NodeId id) { return Add(lab_.Boot(id)); }

MemberNumber Catalog::Add(Member member) {
  Fingerprinter identity(renamings_.front(), /*seed=*/1);
  identity(member);
  const auto [it, is_new] =
      member_numbers_.try_emplace(identity.Result(), static_cast<MemberNumber>(members_.size()));
  if (!is_new) return it->second;
  for (const Renaming& renaming : renamings_) {
    Fingerprinter printer(renaming, /*seed=*/1);
    printer(member);
    member_prints_.push_back(printer.Result());
  }
  lab_.Bind(member);
  views_.push_back(ViewOf(member));
  KEELSON_CHECK(views_.back().fits) << "a log is longer than " << kMaxLog << " entries";
  uint32_t may = 0;
  for (const Step step : kOwnSteps) {
    if (lab_.May(member, step)) may |= uint32_t{1} << static_cast<uint32_t>(step);
  }
  may_.push_back(may);
  members_.push_back(std::move(member));
  return it->second;
}

MessageNumber Catalog::Add(Message message) {
  Fingerprinter identity(renamings_.front(), /*seed=*/2);
  identity(message);
  const auto [it, is_new] =
      message_numbers_.try_emplace(identity.Result(), static_cast<MessageNumber>(messages_.size()));
  if (!is_new) return it->second;
  for (const Renaming& renaming : renamings_) {
    Fingerprinter printer(renaming, /*seed=*/2);
    printer(message);
    message_prints_.push_back(printer.Result());
  }
  to_.push_back(message.to);
  terms_.push_back(static_cast<uint8_t>(message.term));
  messages_.push_back(std::move(message));
  return it->second;
}

Effect Catalog::Apply(MemberNumber member, Step step, MessageNumber message, bool stall) {
  const uint32_t kind =
      step == Step::kDeliver ? kFirstMessage + message : static_cast<uint32_t>(step);
  const uint32_t input = kind * 2 + (stall ? 1 : 0);
  if (const auto it = effects_.find({member, input}); it != effects_.end()) return it->second;
  Outcome outcome = lab_.Apply(members_[member], step,
                               step == Step::kDeliver ? &messages_[message] : nullptr, stall);
  Effect effect;
  effect.next = Add(std::move(outcome.next));
  effect.first_sent = static_cast<uint32_t>(sent_.size());
  effect.sent_count = static_cast<uint16_t>(outcome.sent.size());
  for (Message& sent : outcome.sent) {
    const MessageNumber number = Add(std::move(sent));
    sent_.push_back(number);
  }
  if (!outcome.broken.empty()) {
    effect.broken = static_cast<uint16_t>(broken_.size());
    broken_.push_back(std::move(outcome.broken));
  }
  effects_.emplace(std::make_pair(member, input), effect);
  return effect;
}

}  // namespace keelson::raft::model
