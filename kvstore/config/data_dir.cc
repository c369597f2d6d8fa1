#include "kvstore/config/data_dir.h"

#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace keelson::kvstore {
namespace {

absl::Status Foreign(const std::string& data_dir, const std::string& what) {
  return absl::FailedPreconditionError(absl::StrCat("data directory '", data_dir, "' ", what));
}

// etcd keeps its database in a file member/snap/db; ours is a folder member/db.
absl::StatusOr<bool> IsEtcd(FileSystem& fs, const std::string& member) {
  KEELSON_ASSIGN_OR_RETURN(const bool database, fs.Exists(JoinPath(member, "snap/db")));
  return database;
}

}  // namespace

DataDir DataDirAt(const std::string& data_dir, const std::string& wal_dir) {
  const std::string member = JoinPath(data_dir, "member");
  return {.member = member,
          .wal = wal_dir.empty() ? JoinPath(member, "wal") : wal_dir,
          .snapshots = JoinPath(member, "snap"),
          .database = JoinPath(member, "db"),
          .identity = JoinPath(member, "identity"),
          .client_certificate = JoinPath(data_dir, "fixtures/client"),
          .peer_certificate = JoinPath(data_dir, "fixtures/peer")};
}

absl::Status CheckDataDir(FileSystem& fs, const std::string& data_dir) {
  KEELSON_ASSIGN_OR_RETURN(const bool exists, fs.Exists(data_dir));
  if (!exists) return absl::OkStatus();

  KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(data_dir));
  for (const std::string& name : names) {
    // A file system's own folder may be there when the directory is a mount
    // point.
    if (name == "member" || name == "fixtures" || name == "lost+found") continue;
    return Foreign(data_dir,
                   absl::StrCat("holds '", name, "', which is not of kvstored; use an empty one"));
  }
  const std::string member = JoinPath(data_dir, "member");
  KEELSON_ASSIGN_OR_RETURN(const bool has_member, fs.Exists(member));
  if (!has_member) return absl::OkStatus();

  KEELSON_ASSIGN_OR_RETURN(const bool etcd, IsEtcd(fs, member));
  if (etcd) {
    return Foreign(data_dir,
                   "belongs to etcd, whose files kvstored does not "
                   "read; use an empty one");
  }
  KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> parts, fs.List(member));
  static const std::set<std::string> ours = {"wal", "snap", "db", "identity"};
  for (const std::string& part : parts) {
    if (ours.contains(part) || part.ends_with(".tmp")) continue;
    return Foreign(data_dir, absl::StrCat("holds 'member/", part, "', which is not of kvstored"));
  }
  return absl::OkStatus();
}

}  // namespace keelson::kvstore
