#include "raft/model/explorer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace keelson::raft::model {
namespace {

constexpr uint64_t kReportEvery = 1 << 20;  // states

std::string TypeName(const Message& message) { return std::string(MessageTypeName(message.type)); }

std::string RoleName(Role role) {
  switch (role) {
    case Role::kFollower:
      return "follower";
    case Role::kCandidate:
      return "candidate";
    case Role::kLeader:
      return "leader";
    case Role::kPreCandidate:
      return "pre-candidate";
  }
  return "?";
}

std::string MessageText(const Message& message) {
  std::string out =
      absl::StrCat(message.from, "->", message.to, " ", TypeName(message), " term=", message.term);
  if (message.index != 0 || message.type == MessageType::kApp) {
    absl::StrAppend(&out, " index=", message.index);
  }
  if (message.log_term != 0) absl::StrAppend(&out, " log_term=", message.log_term);
  if (message.commit != 0) absl::StrAppend(&out, " commit=", message.commit);
  for (const Entry& entry : message.entries) {
    absl::StrAppend(&out, " entry=", entry.index, ":t", entry.term);
  }
  if (message.reject) absl::StrAppend(&out, " reject hint=", message.reject_hint);
  return out;
}

}  // namespace

Explorer::Explorer(const Bounds& bounds) : bounds_(bounds), catalog_(bounds) {}

uint32_t Explorer::Encode(const Action& action) {
  KEELSON_CHECK(action.number < (1U << 26)) << "too many messages";
  return static_cast<uint32_t>(action.step) | uint32_t{action.keep} << 3 |
         uint32_t{action.drop} << 4 | uint32_t{action.stall} << 5 | action.number << 6;
}

Explorer::Action Explorer::Decode(uint32_t code) {
  return {static_cast<Step>(code & 7), (code >> 3 & 1) != 0, (code >> 4 & 1) != 0,
          (code >> 5 & 1) != 0, code >> 6};
}

World Explorer::First() {
  World world;
  for (size_t i = 0; i < bounds_.nodes; ++i) world.members[i] = catalog_.Boot(i + 1);
  if (bounds_.start == Start::kFigure8) {
    world.history.leader[1] = 1;
    world.history.leader[2] = 3;
  }
  return world;
}

Result Explorer::Run(const std::function<void(const Progress&)>& report) {
  const World first = First();
  seen_.insert(PrintOf(catalog_, bounds_.nodes, first));
  origins_.push_back({});
  Pack(first, bounds_.nodes, level_);
  World world;
  uint64_t next_report = kReportEvery;
  bool full = false;
  while (!level_.empty() && !violation_.has_value() && !full) {
    const uint32_t* at = level_.data();
    const uint32_t* const end = at + level_.size();
    while (at < end && !violation_.has_value() && !full) {
      at = Unpack(at, bounds_.nodes, world);
      Expand(world);
      ++present_;
      ++expanded_;
      full = seen_.size() >= bounds_.max_states;
      if (seen_.size() >= next_report) {
        report(Now());
        next_report += kReportEvery;
      }
    }
    if (at < end || violation_.has_value()) break;
    level_.swap(next_level_);
    next_level_.clear();
    if (!level_.empty()) ++depth_;
  }
  Result result;
  static_cast<Progress&>(result) = Now();
  result.finished = !violation_.has_value() && result.frontier == 0;
  result.violation = std::move(violation_);
  return result;
}

Progress Explorer::Now() const {
  Progress progress;
  progress.states = seen_.size();
  progress.transitions = transitions_;
  progress.depth = depth_ + (next_level_.empty() ? 0 : 1);
  progress.frontier = seen_.size() - expanded_;
  progress.members = catalog_.member_count();
  progress.messages = catalog_.message_count();
  return progress;
}

void Explorer::Expand(const World& world) {
  for (size_t i = 0; i < bounds_.nodes && !violation_.has_value(); ++i) ExpandMember(world, i);
  for (const MessageNumber number : world.messages) {
    if (violation_.has_value()) return;
    ExpandMessage(world, number);
  }
}

void Explorer::ExpandMember(const World& world, size_t position) {
  const uint32_t may = catalog_.MayMask(world.members[position]);
  for (const Step step :
       {Step::kSync, Step::kCampaign, Step::kPropose, Step::kHeartbeat, Step::kRestart}) {
    if ((may >> static_cast<uint32_t>(step) & 1) == 0 || violation_.has_value()) continue;
    if (step == Step::kHeartbeat && world.heartbeats >= bounds_.heartbeats) continue;
    TakeBoth(world, {.step = step, .number = static_cast<uint32_t>(position)});
  }
}

void Explorer::ExpandMessage(const World& world, MessageNumber number) {
  TakeBoth(world, {.step = Step::kDeliver, .number = number});
  if (world.duplicates < bounds_.duplicates && !violation_.has_value()) {
    TakeBoth(world, {.step = Step::kDeliver, .keep = true, .number = number});
  }
  if (world.drops < bounds_.drops && !violation_.has_value()) {
    Take(world, {.step = Step::kDeliver, .drop = true, .number = number});
  }
}

void Explorer::TakeBoth(const World& world, Action action) {
  Take(world, action);
  if (world.stalls >= bounds_.stalls || violation_.has_value()) return;
  const size_t position = PositionOf(action);
  if (catalog_.view(world.members[position]).pending) return;  // It lags anyway.
  action.stall = true;
  const Effect effect =
      catalog_.Apply(world.members[position], action.step, action.number, action.stall);
  if (catalog_.view(effect.next).pending) Take(world, action);
}

size_t Explorer::PositionOf(const Action& action) const {
  return action.step == Step::kDeliver ? catalog_.to(action.number) - 1 : action.number;
}

void Explorer::Take(const World& world, const Action& action) {
  action_ = action;
  World next = world;
  std::string problem = Perform(next, action);
  ++transitions_;
  if (!problem.empty()) {
    violation_ = {std::move(problem), TraceTo(present_, action)};
    return;
  }
  if (!seen_.insert(PrintOf(catalog_, bounds_.nodes, next)).second) return;
  origins_.push_back({present_, Encode(action)});
  Pack(next, bounds_.nodes, next_level_);
}

std::string Explorer::Perform(World& world, const Action& action) {
  if (action.drop) {
    ++world.drops;
    world.TakeMessage(action.number);
    return "";
  }
  const size_t position = PositionOf(action);
  if (action.step == Step::kDeliver) {
    if (action.keep) {
      ++world.duplicates;
    } else {
      world.TakeMessage(action.number);
    }
  }
  if (action.step == Step::kHeartbeat) ++world.heartbeats;
  if (action.stall) ++world.stalls;
  const Effect effect =
      catalog_.Apply(world.members[position], action.step, action.number, action.stall);
  if (effect.broken != 0) return absl::StrCat("durability: ", catalog_.Broken(effect));
  world.members[position] = effect.next;
  for (const MessageNumber sent : catalog_.Sent(effect)) world.AddMessage(sent);
  if (bounds_.discard) Discard(world, position, effect);
  std::string problem = Observe(catalog_, position, world);
  if (problem.empty()) problem = CheckWorld(catalog_, bounds_.nodes, position, world);
  return problem;
}

void Explorer::Discard(World& world, size_t changed, const Effect& effect) {
  // Only messages to the member that has changed can have become meaningless, and new ones be so.
  const auto sent = catalog_.Sent(effect);
  std::erase_if(world.messages, [&](MessageNumber number) {
    const bool candidate = catalog_.to(number) == changed + 1 ||
                           std::find(sent.begin(), sent.end(), number) != sent.end();
    return candidate && Meaningless(world, number);
  });
}

bool Explorer::Meaningless(const World& world, MessageNumber number) {
  const MemberNumber receiver = world.members[catalog_.to(number) - 1];
  const View& view = catalog_.view(receiver);
  const uint8_t term = catalog_.term(number);
  if (term > view.disk_term) return false;  // A crash may bring that term back.
  bool over = term < view.disk_term;
  switch (catalog_.message(number).type) {
    case MessageType::kVoteResp:
      over = over || view.role == Role::kLeader || view.role == Role::kFollower;
      break;
    case MessageType::kAppResp:
    case MessageType::kHeartbeatResp:
      over = over || view.role == Role::kFollower;
      break;
    default:
      break;
  }
  if (!over) return false;
  // Argued for above; and the core is asked.
  const Effect effect = catalog_.Apply(receiver, Step::kDeliver, number, /*stall=*/true);
  return effect.next == receiver && effect.sent_count == 0;
}

std::vector<std::string> Explorer::TraceOfPresentStep() { return TraceTo(present_, action_); }

std::vector<std::string> Explorer::TraceTo(uint32_t state, const Action& last) {
  std::vector<Action> actions = {last};
  for (; state != 0; state = origins_[state].parent) {
    actions.push_back(Decode(origins_[state].action));
  }
  std::reverse(actions.begin(), actions.end());
  std::vector<std::string> lines;
  World world = First();
  for (size_t i = 0; i < actions.size(); ++i) {
    lines.push_back(Describe(actions[i], world) + (actions[i].stall ? "; the disk stalls" : ""));
    if (i + 1 < actions.size()) (void)Perform(world, actions[i]);  // It went well the first time.
  }
  return lines;
}

std::string Explorer::Describe(const Action& action, const World& before) const {
  if (action.step == Step::kDeliver) {
    const std::string what = action.drop   ? "lose       "
                             : action.keep ? "deliver+   "
                                           : "deliver    ";
    return what + MessageText(catalog_.message(action.number));
  }
  const View& view = catalog_.view(before.members[action.number]);
  std::string who = absl::StrCat(view.id, " (", RoleName(view.role), " of term ",
                                 static_cast<int>(view.term), ", log ", static_cast<int>(view.last),
                                 ", durable ", static_cast<int>(view.disk_last), ", commit ",
                                 static_cast<int>(view.commit), ")");
  switch (action.step) {
    case Step::kSync:
      return "sync       " + who;
    case Step::kCampaign:
      return "campaign   " + who;
    case Step::kPropose:
      return "propose    " + who;
    case Step::kHeartbeat:
      return "heartbeat  " + who;
    case Step::kRestart:
      return "restart    " + who;
    case Step::kDeliver:
      break;
  }
  return who;
}

}  // namespace keelson::raft::model
