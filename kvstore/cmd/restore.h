// What `snapshot restore` and `migrate import` share: data of etcd becomes members of kvstored.
#ifndef KEELSON_KVSTORE_CMD_RESTORE_H_
#define KEELSON_KVSTORE_CMD_RESTORE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kvstore/cmd/context.h"
#include "kvstore/config/options.h"
#include "kvstore/migrate/etcd_source.h"

namespace CLI {
class App;
}

namespace keelson::kvctl {

struct RestoreArguments {
  std::vector<std::string> words;  // the source
  std::string name = "default";
  std::string data_dir;
  std::string wal_dir;
  std::string initial_cluster = "default=http://localhost:2380";
  std::string cluster_token = "etcd-cluster";
  std::string peer_urls = "http://localhost:2380";
  std::string source_wal_dir;
  std::string output_dir = ".";
  std::string bump_revision = "0";
  bool mark_compacted = false;
  bool skip_hash_check = false;
  bool dry_run = false;
};

// The flags of the member to make, and those of its data.
void AddMemberFlags(CLI::App& app, RestoreArguments& arguments);
void AddDataFlags(CLI::App& app, RestoreArguments& arguments);

// Makes one member, or, with `whole_cluster`, each that --initial-cluster names as
// <output-dir>/<name>.etcd. Tells on stderr what was done.
Outcome Restore(Context& context, const RestoreArguments& arguments, bool whole_cluster);

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_RESTORE_H_
