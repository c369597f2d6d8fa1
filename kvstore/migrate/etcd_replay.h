// Entries of etcd's log as commands of our state machine.
#ifndef KEELSON_KVSTORE_MIGRATE_ETCD_REPLAY_H_
#define KEELSON_KVSTORE_MIGRATE_ETCD_REPLAY_H_

#include <optional>

#include "absl/status/statusor.h"
#include "kvstore/api/command.pb.h"
#include "kvstore/migrate/etcd_log.pb.h"

namespace keelson::kvstore {

// Nothing for an entry that changes neither keys nor leases: of the membership, of the version 2
// tree, an alarm, a token. UNIMPLEMENTED for a change of users or roles, since it holds passwords
// that only a server may hash; DATA_LOSS for one that cannot be read.
absl::StatusOr<std::optional<Command>> ToCommand(const EtcdEntry& entry);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_MIGRATE_ETCD_REPLAY_H_
