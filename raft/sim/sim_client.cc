#include "raft/sim/sim_client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "raft/internal/mutation.h"

namespace keelson::raft::sim {

SimClient::SimClient(uint64_t id, SimWorld& world, std::vector<SimMember*> members,
                     History& history, ClientLog& log, const Swarm& swarm)
    : id_(id),
      world_(world),
      nodes_(std::move(members)),
      history_(history),
      log_(log),
      swarm_(swarm),
      random_(world.Stream(absl::StrCat("client ", id))) {}

std::string SimClient::RandomKey() {
  return absl::StrCat("key", random_.Below(static_cast<uint64_t>(swarm_.keys)));
}

void SimClient::NextOperation() {
  const auto mean = static_cast<double>(absl::ToInt64Nanoseconds(swarm_.think_time));
  const auto think = absl::Nanoseconds(static_cast<int64_t>(random_.Exponential(mean)));
  const absl::Duration rest = std::max(rest_until_ - world_.now(), absl::ZeroDuration());
  world_.After(rest + think, [this] { Operate(); });
}

void SimClient::Operate() {
  if (stopped_) return;
  if (random_.Bernoulli(swarm_.read_share)) {
    BeginRead();
  } else {
    BeginWrite();
  }
}

void SimClient::Finish() {
  ++operation_;
  NextOperation();
}

void SimClient::BeginWrite() {
  ++sequence_;
  KvCommand command{.client = id_,
                    .sequence = sequence_,
                    .key = RandomKey(),
                    .value = absl::StrCat("value ", id_, "/", sequence_, " ")};
  uint64_t padding = random_.Below(swarm_.max_value_bytes + 1);
  if (swarm_.huge_share > 0 && random_.Bernoulli(swarm_.huge_share)) {
    ++counters_.huge_writes;
    padding = random_.Below(swarm_.huge_bytes + 1);
  }
  command.value.resize(command.value.size() + padding, 'x');
  const Began began{.revision = history_.Begin(),
                    .call = log_.BeginWrite(command.key, command.value)};
  TryWrite(began, command, true);
}

void SimClient::TryWrite(const Began& began, const KvCommand& command, bool first_try) {
  const uint64_t attempt = ++operation_;
  SimMember& node = RandomNode();
  world_.Trace("write", {id_, command.sequence, node.id(), first_try});
  node.Write(
      command,
      [this, attempt, began, command](Index revision) {
        if (attempt != operation_) return;
        world_.Trace("written", {id_, command.sequence, revision});
        history_.EndWrite(began.revision, command, revision);
        log_.EndWrite(began.call);
        Finish();
      },
      [this, attempt, began, command, first_try] {
        if (attempt != operation_) return;
        world_.Trace("refused", {id_, command.sequence});
        // An earlier try may still be on its way.
        if (first_try) {
          history_.Refused(command);
          log_.Refuse(began.call);
        }
        Finish();
      });
  if (Mutated(Mutation::kAckWhenProposed)) {
    log_.EndWrite(began.call);
    history_.EndWrite(began.revision, command,
                      node.node() == nullptr ? 0 : node.node()->Peek().last_index + 1);
    return Finish();
  }
  world_.After(swarm_.client_timeout, [this, attempt, began, command] {
    if (attempt != operation_) return;
    // Unknown: it may take effect or not. Try again under the same number, or give it up.
    if (!stopped_ && random_.Bernoulli(0.7)) {
      ++counters_.retries;
      return TryWrite(began, command, false);
    }
    Finish();
  });
}

void SimClient::BeginRead() {
  const uint64_t attempt = ++operation_;
  SimMember& node = RandomNode();
  const std::string key = RandomKey();
  const Began began{.revision = history_.Begin(), .call = log_.BeginRead(key)};
  world_.Trace("read", {id_, node.id()});
  node.Read(key, swarm_.client_timeout,
            [this, attempt, began, key](const KvValue* value, Index revision) {
              if (attempt != operation_) return;
              world_.Trace("answer", {id_, revision});
              log_.EndRead(began.call, value == nullptr ? nullptr : &value->value);
              history_.EndRead(began.revision, key, value, revision);
              Finish();
            });
  world_.After(swarm_.client_timeout, [this, attempt] {
    if (attempt == operation_) Finish();
  });
}

void SimClient::WriteOnce(SimMember& node, std::function<void(Index)> done) {
  ++sequence_;
  const KvCommand command{.client = id_,
                          .sequence = sequence_,
                          .key = "last",
                          .value = absl::StrCat("write ", id_, "/", sequence_)};
  const Began began{.revision = history_.Begin(),
                    .call = log_.BeginWrite(command.key, command.value)};
  const uint64_t attempt = ++operation_;
  node.Write(
      command,
      [this, attempt, began, command, done = std::move(done)](Index revision) {
        if (attempt != operation_) return;
        history_.EndWrite(began.revision, command, revision);
        log_.EndWrite(began.call);
        done(revision);
      },
      [this, began, command] {
        history_.Refused(command);
        log_.Refuse(began.call);
      });
}

}  // namespace keelson::raft::sim
