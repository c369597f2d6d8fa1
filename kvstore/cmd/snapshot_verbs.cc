// snapshot save, status, restore and restore-cluster; migrate import and export.
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file_system.h"
#include "kvstore/cmd/progress.h"
#include "kvstore/cmd/restore.h"
#include "kvstore/cmd/verb.h"
#include "kvstore/cmd/verbs.h"
#include "kvstore/migrate/mapped_file.h"
#include "kvstore/migrate/member_folder.h"
#include "kvstore/migrate/snapshot_file.h"
#include "kvstore/migrate/snapshot_writer.h"

namespace keelson::kvctl {
namespace {

// A live member's snapshot, as etcdctl fetches it.
absl::Status Fetch(Context& context, kvstore::Client& client, const std::string& path) {
  // Without the flag there is no end: nobody knows how large the database is.
  const absl::Duration timeout = context.given.contains("--command-timeout")
                                     ? context.CommandTimeout()
                                     : absl::InfiniteDuration();
  auto writer = kvstore::SnapshotWriter::Create(RealFileSystem(), path);
  if (!writer.ok()) {
    return absl::Status(writer.status().code(), absl::StrCat("could not open ", path, ".part (",
                                                             writer.status().message(), ")"));
  }
  Progress progress("bytes fetched:", context.err);
  const absl::Status fetched = client.Snapshot(timeout, [&](std::string_view piece, uint64_t left) {
    progress.Tell((*writer)->bytes(), (*writer)->bytes() + left);
    return (*writer)->Append(piece);
  });
  return fetched.ok() ? (*writer)->Complete() : fetched;
}

Outcome Save(Context& context, const std::string& path) {
  const std::vector<std::string> endpoints = context.Endpoints();
  if (endpoints.size() != 1) {
    return Fail(Exit::kInterrupted,
                absl::StrCat("snapshot must be requested to one selected node, not multiple [",
                             absl::StrJoin(endpoints, " "), "]"));
  }
  std::unique_ptr<kvstore::Client> client;
  Outcome outcome = context.Connect(&client);
  if (outcome.exit != Exit::kOk) return outcome;
  const absl::Status fetched = Fetch(context, *client, path);
  if (!fetched.ok()) return Fail(Exit::kInterrupted, TextOf(fetched));
  context.out << "Snapshot saved at " << path << "\n";
  return Done();
}

Outcome RunSave(Context& context, const RestoreArguments& arguments) {
  if (arguments.words.size() != 1) {
    return Fail(Exit::kBadArguments, "snapshot save expects one argument");
  }
  return Save(context, arguments.words[0]);
}

Outcome RunStatus(Context& context, const RestoreArguments& arguments) {
  if (arguments.words.size() != 1) {
    return Fail(Exit::kBadArguments, "snapshot status requires exactly one argument");
  }
  std::unique_ptr<Printer> printer;
  Outcome outcome = context.MakePrinter(false, &printer);
  if (outcome.exit != Exit::kOk) return outcome;
  const std::string& path = arguments.words[0];
  const auto file = kvstore::MappedFile::Open(path);
  if (absl::IsNotFound(file.status())) {
    return Fail(Exit::kError, absl::StrCat("stat ", path, ": no such file or directory"));
  }
  if (!file.ok()) return Fail(file.status());
  Progress progress("rows read:", context.err);
  const auto summary = kvstore::Summarize(file->bytes(), [&](uint64_t rows) {
    file->Forget();
    progress.Tell(rows);
  });
  if (!summary.ok()) return Fail(summary.status());
  return printer->Snapshot({.hash = summary->hash,
                            .revision = summary->revision,
                            .rows = summary->rows,
                            .bytes = summary->bytes});
}

Outcome RunRestore(Context& context, const RestoreArguments& arguments) {
  if (arguments.words.size() != 1) {
    return Fail(Exit::kBadArguments, "snapshot restore requires exactly one argument");
  }
  return Restore(context, arguments, false);
}

Outcome RunRestoreCluster(Context& context, const RestoreArguments& arguments) {
  if (arguments.words.size() != 1) {
    return Fail(Exit::kBadArguments, "snapshot restore-cluster requires exactly one argument");
  }
  return Restore(context, arguments, true);
}

Outcome RunImport(Context& context, const RestoreArguments& arguments) {
  if (arguments.words.size() != 1) {
    return Fail(Exit::kBadArguments,
                "migrate import needs a snapshot or a data directory of etcd as its argument");
  }
  return Restore(context, arguments, false);
}

// What an export of the folder would hold.
Outcome TellOf(Context& context, const kvstore::StoreImage& image, const std::string& what) {
  uint64_t rows = 0;
  const absl::Status counted = image.VisitBuckets([&](std::string_view name) {
    return image.VisitBucket(name, [&](std::string_view, std::string_view) {
      ++rows;
      return absl::OkStatus();
    });
  });
  if (!counted.ok()) return Fail(counted);
  context.err << what << ": revision " << image.revision() << ", " << rows << " rows\n";
  return Done();
}

Outcome RunExport(Context& context, const RestoreArguments& arguments) {
  if (arguments.words.size() != 1) {
    return Fail(Exit::kBadArguments, "migrate export needs the file to write as its argument");
  }
  const std::string& path = arguments.words[0];
  if (arguments.data_dir.empty()) {
    if (arguments.dry_run) {
      return Fail(Exit::kBadArguments, "--dry-run goes with --data-dir");
    }
    return Save(context, path);
  }
  const auto member = kvstore::StoppedMember::Open(arguments.data_dir, arguments.wal_dir);
  if (!member.ok()) return Fail(member.status());
  const auto image = (*member)->store().TakeImage();
  if (!image.ok()) return Fail(image.status());
  if ((*member)->uncertain_entries() > 0) {
    context.err << (*member)->uncertain_entries()
                << " entries at the log's end are left out: they may not have been committed\n";
  }
  if (arguments.dry_run) return TellOf(context, **image, "would export");
  Progress progress("bytes written:", context.err);
  const absl::Status written = kvstore::WriteSnapshotFile(
      RealFileSystem(), **image, path,
      [&](uint64_t done, uint64_t total) { progress.Tell(done, total); });
  if (!written.ok()) return Fail(written);
  return TellOf(context, **image, absl::StrCat("exported to ", path));
}

}  // namespace

void AddSnapshot(CLI::App& root, Context& context) {
  const auto arguments = std::make_shared<RestoreArguments>();
  CLI::App& snapshot =
      AddGroup(root, "snapshot", "Manages snapshots of a member's data",
               "Examples:\n  kvctl --endpoints=10.0.0.1:2379 snapshot save backup.db\n"
               "  kvctl snapshot status backup.db -w table");
  AddVerb(snapshot, context,
          {"save", "Stores a snapshot of one endpoint's data in a file", "filename",
           "The file appears when it is whole and its SHA-256 is right.\n\n"
           "Examples:\n  kvctl --endpoints=10.0.0.1:2379 snapshot save backup.db"},
          arguments, RunSave);
  AddVerb(snapshot, context,
          {"status", "Gets the hash, revision, number of rows and size of a snapshot", "filename",
           "Examples:\n  kvctl snapshot status backup.db -w json"},
          arguments, RunStatus);
  CLI::App& restore = *AddVerb(
      snapshot, context,
      {"restore", "Makes a member's data directory from a snapshot", "filename",
       "Run it for each member, with its own name and URLs and otherwise the same flags; then "
       "start "
       "them. The snapshot may be etcd's.\n\n"
       "Examples:\n  kvctl snapshot restore backup.db --name=m1 --data-dir=/var/lib/kv \\\n"
       "    --initial-cluster=m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380 \\\n"
       "    --initial-advertise-peer-urls=http://10.0.0.1:2380"},
      arguments, RunRestore);
  AddMemberFlags(restore, *arguments);
  AddDataFlags(restore, *arguments);
  CLI::App& cluster = *AddVerb(
      snapshot, context,
      {"restore-cluster", "Makes the data directories of all members from a snapshot", "filename",
       "Each member of --initial-cluster gets <output-dir>/<name>.etcd.\n\n"
       "Examples:\n  kvctl snapshot restore-cluster backup.db --output-dir=/var/lib \\\n"
       "    --initial-cluster=m1=http://10.0.0.1:2380,m2=http://10.0.0.2:2380"},
      arguments, RunRestoreCluster);
  AddDataFlags(cluster, *arguments);
  cluster.add_option("--output-dir", arguments->output_dir, "Where the folders are made")
      ->capture_default_str();
}

void AddMigrate(CLI::App& root, Context& context) {
  const auto arguments = std::make_shared<RestoreArguments>();
  CLI::App& migrate =
      AddGroup(root, "migrate", "Moves data between etcd and kvstored",
               "Examples:\n  kvctl migrate import /var/lib/etcd --data-dir=/var/lib/kv\n"
               "  kvctl migrate export back.db --data-dir=/var/lib/kv");
  CLI::App& import = *AddVerb(
      migrate, context,
      {"import", "Makes a data directory of kvstored from data of etcd", "source",
       "The source is a snapshot, or the data directory of a stopped member of etcd, whose log is "
       "applied too. Keys keep their revisions and leases; users and roles come along, keys of "
       "version 2 do not.\n\n"
       "Examples:\n  kvctl migrate import /var/lib/etcd --data-dir=/var/lib/kv --dry-run"},
      arguments, RunImport);
  AddMemberFlags(import, *arguments);
  AddDataFlags(import, *arguments);
  import.add_option("--source-wal-dir", arguments->source_wal_dir, "Where etcd has its log");
  import.add_flag("--dry-run", arguments->dry_run, "Read everything, write nothing");
  CLI::App& to_etcd = *AddVerb(
      migrate, context,
      {"export", "Writes a snapshot that etcd's tools restore", "filename",
       "From the data directory of a stopped member or, without --data-dir, from the endpoint.\n\n"
       "Examples:\n  kvctl migrate export back.db --data-dir=/var/lib/kv\n"
       "  etcdctl snapshot restore back.db --data-dir=/var/lib/etcd"},
      arguments, RunExport);
  to_etcd.add_option("--data-dir", arguments->data_dir, "The member's data directory");
  to_etcd.add_option("--wal-dir", arguments->wal_dir, "The member's log, if it is elsewhere");
  to_etcd.add_flag("--dry-run", arguments->dry_run, "Tell what would be written");
}

}  // namespace keelson::kvctl
