// Many groups in one process: thousands of them share a few threads, one write-ahead log and
// one connection to each other host.
//
//   KEELSON_ASSIGN_OR_RETURN(auto host, Host::Open({.id = 1, .cluster_id = 0xc1, .dir = "raft"},
//                                                  {.clock = &RealClock(), .loops = {&loop}, ...}));
//   for (GroupId id : host->Recovered()) (void)host->StartGroup(id, machines.at(id));
//   KEELSON_RETURN_IF_ERROR(transport->Start(*host));
//   host->CreateGroups({{.id = 7, .start = members_1_2_3, .machine = &machine}}, done);
//   host->Group(7)->Propose(Payload("x"), nullptr);    // each group is a Node
//
// A host is one member, with the same id, of each of its groups. Appends of all go into one log with
// one sync; what they say to one host leaves in one frame; groups without work sleep (quiesce_ticks
// of the core). When another host falls silent, groups that sleep under its lead wake and elect.
//
// Threading: thread-safe. Callbacks run on the executors, or in the call; they must not block.
#ifndef KEELSON_RAFT_HOST_H_
#define KEELSON_RAFT_HOST_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "raft/node.h"

namespace keelson::raft {

class Host : public MessageSink {
 public:
  struct Options {
    NodeId id = kNoNode;  // of this host in all of its groups
    uint64_t cluster_id = 0;
    std::string dir;  // holds the log and the snapshots of all groups
    // Of each group, which sleeps after 30 ticks. The host sets core.id, on_fatal, on_role_change.
    Node::Options node = {.core = {.quiesce_ticks = 30}};
    Wal::Options wal;
    // When the log has more segments than this, groups that keep old ones are flushed and compacted.
    size_t keep_segments = 4;
    bool repair = true;  // false: damage in the log is an error of Open
    // Called when a group cannot go on (a failed apply), or with group 0, once, when none can (a
    // failed sync): the process should then exit without flushing.
    std::function<void(GroupId, absl::Status)> on_fatal;
    std::function<void(GroupId, const SoftState&, Term)> on_role_change;  // on the group's loop
    // A message came for a group that is not here and was not removed here.
    std::function<void(GroupId, NodeId from)> on_unknown_group;
  };

  // The world. All borrowed; they outlive the host.
  struct Env {
    Clock* clock = nullptr;
    FileSystem* fs = nullptr;
    Transport* transport = nullptr;
    std::vector<Executor*> loops;  // groups are dealt out to them; at least one
    Executor* append = nullptr;
    Executor* apply = nullptr;
    Executor* background = nullptr;
    Observer* observer = nullptr;  // may be null; hears all groups, from all loops
    Random random{0};              // of a seed that is new at each start
  };

  struct NewGroup {
    GroupId id = 0;  // neither 0 nor the largest number; never used again
    // The same on each first member; empty on one that is added later (see core.h).
    SnapshotMetadata start;
    StateMachine* machine = nullptr;  // borrowed until the group is removed
    // This host was a member before and has lost all that it had stored of the group: its disk, or
    // the place in the log where the group began. It keeps what machine and snapshots still hold (`start`
    // is not looked at) and recovers. Unsaid, it may vote as if it had promised nothing.
    bool lost = false;
  };

  // What the log had lost when it was opened.
  struct Loss {
    std::string what;             // which file, where, and what is wrong
    std::vector<GroupId> groups;  // those that lost something, or may have; ascending
    // There may have been groups that are not in Recovered(): see NewGroup::lost.
    bool forgotten = false;
  };

  // Opens the log in `dir`, making it if needed. Damage is a loss of the groups that it concerns, unless
  // Options::repair is off. Errors as Wal::Open.
  static absl::StatusOr<std::unique_ptr<Host>> Open(const Options& options, const Env& env);

  ~Host() override = default;
  // Stops taking work. Stop the transport before, the executors before destroying the host.
  virtual void Stop() = 0;
  // Groups of the log that have not been started, ascending. They take no part until then.
  [[nodiscard]] virtual std::vector<GroupId> Recovered() const = 0;
  // A group that has lost something, of its log or snapshots, keeps what is sound and recovers under its
  // leader (docs/decisions/0010, 0011; event::StorageRepaired). On an error it is still not started.
  //   NOT_FOUND           not one of those.
  //   DATA_LOSS           it has lost something, and the other members are no majority.
  //   RESOURCE_EXHAUSTED  no space to record its loss.
  virtual absl::Status StartGroup(GroupId id, StateMachine* machine) = 0;
  [[nodiscard]] virtual const std::optional<Loss>& Lost() const = 0;

  // Makes and starts new groups, in order, with one sync. `done` gets the first error: those before it
  // are there, the others not. ALREADY_EXISTS, FAILED_PRECONDITION (removed here before),
  // INVALID_ARGUMENT (an impossible id), RESOURCE_EXHAUSTED (no space), for NewGroup::lost those of
  // StartGroup.
  virtual void CreateGroups(std::vector<NewGroup> groups,
                            std::function<void(absl::Status)> done) = 0;
  // Stops a group and forgets its log and snapshots. At `done` the machine is not used any more. This
  // host must not be a member of it again. NOT_FOUND: there is none that is started.
  virtual void RemoveGroup(GroupId id, std::function<void(absl::Status)> done) = 0;

  // The group, as long as the host lives; null if it is not started. Once removed, it refuses all.
  [[nodiscard]] virtual std::shared_ptr<Node> Group(GroupId id) const = 0;
  // Its snapshots, for the transport (PeerTransport::Options::snapshots_of).
  [[nodiscard]] virtual std::shared_ptr<SnapshotStore> Snapshots(GroupId id) const = 0;

  struct Stats {
    size_t groups = 0, asleep = 0, leaders = 0, recovering = 0;  // of those that are started
    uint64_t syncs = 0;  // of the log, for all groups together
    uint64_t entries_appended = 0;
    uint64_t messages_sent = 0, frames_sent = 0;         // frames: calls of Transport::Send
    uint64_t hosts_lost = 0;                             // how often another host fell silent
    uint64_t unknown_groups = 0;                         // messages for groups that are not here
    uint64_t stall_transfers = 0, stall_step_downs = 0;  // sums of Node::Stats
  };
  // Visits all groups.
  [[nodiscard]] virtual Stats GetStats() const = 0;
};

}  // namespace keelson::raft

#endif  // KEELSON_RAFT_HOST_H_
