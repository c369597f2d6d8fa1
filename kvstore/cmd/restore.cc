#include "kvstore/cmd/restore.h"

#include <CLI/CLI.hpp>

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/file_system.h"
#include "kvstore/cmd/format.h"
#include "kvstore/cmd/kv_requests.h"
#include "kvstore/cmd/progress.h"

namespace keelson::kvctl {
namespace {

using kvstore::EtcdSource;
using kvstore::ImportOptions;
using kvstore::ImportSummary;

Outcome ReadImportOptions(const RestoreArguments& arguments, ImportOptions* options) {
  Outcome outcome = ParseInt(arguments.bump_revision, 10, &options->bump_revision);
  if (outcome.exit != Exit::kOk || options->bump_revision < 0) {
    return Fail(Exit::kBadArguments,
                absl::StrCat("invalid argument ", Quote(arguments.bump_revision),
                             " for \"--bump-revision\" flag: a number from 0 is wanted"));
  }
  options->mark_compacted = arguments.mark_compacted;
  if (options->mark_compacted != (options->bump_revision > 0)) {
    return Fail(Exit::kBadArguments, "--bump-revision and --mark-compacted go together");
  }
  return Done();
}

// The options that kvstored would have of the same flags.
Outcome MemberOptions(const RestoreArguments& arguments, kvstore::Options* options) {
  const std::vector<std::string> flags = {
      absl::StrCat("--name=", arguments.name),
      absl::StrCat("--data-dir=", arguments.data_dir.empty() ? absl::StrCat(arguments.name, ".etcd")
                                                             : arguments.data_dir),
      absl::StrCat("--wal-dir=", arguments.wal_dir),
      absl::StrCat("--initial-cluster=", arguments.initial_cluster),
      absl::StrCat("--initial-cluster-token=", arguments.cluster_token),
      absl::StrCat("--initial-advertise-peer-urls=", arguments.peer_urls),
  };
  absl::StatusOr<kvstore::CommandLine> line = kvstore::ParseCommandLine(flags, {});
  if (!line.ok()) return Fail(line.status());
  *options = std::move(line->options);
  return Done();
}

// The members that --initial-cluster names, each with its URLs.
Outcome ReadMembers(const RestoreArguments& arguments,
                    std::map<std::string, std::vector<std::string>>* members) {
  const std::vector<std::string> pairs = absl::StrSplit(arguments.initial_cluster, ',');
  for (const std::string& pair : pairs) {
    const size_t equals = pair.find('=');
    const std::string name = pair.substr(0, equals);
    if (equals == std::string::npos || name.empty() || name.find('/') != std::string::npos) {
      return Fail(Exit::kError, absl::StrCat("bad --initial-cluster: ", Quote(pair)));
    }
    (*members)[name].push_back(pair.substr(equals + 1));
  }
  return Done();
}

void Tell(Context& context, const EtcdSource& source, const ImportSummary& summary,
          const std::string& where) {
  context.err << where << ": revision " << summary.revision;
  if (summary.compacted >= 0) context.err << ", compacted at " << summary.compacted;
  context.err << ", " << summary.versions << " versions of keys, " << summary.leases << " leases, "
              << summary.users << " users, " << summary.roles << " roles";
  if (source.replayed_entries() > 0) {
    context.err << ", " << source.replayed_entries() << " entries of the log applied";
  }
  if (source.uncertain_entries() > 0) {
    context.err << ", " << source.uncertain_entries()
                << " entries at the log's end left out: they may not have been committed";
  }
  context.err << "\n";
}

Outcome RestoreOne(Context& context, const EtcdSource& source, const RestoreArguments& arguments,
                   const ImportOptions& import) {
  kvstore::Options options;
  Outcome outcome = MemberOptions(arguments, &options);
  if (outcome.exit != Exit::kOk) return outcome;
  Progress progress("versions of keys restored:", context.err);
  const auto tell = [&](uint64_t versions) { progress.Tell(versions); };
  const auto summary =
      arguments.dry_run ? source.Examine(import, tell) : source.Restore(options, import, tell);
  if (!summary.ok()) return Fail(summary.status());
  Tell(context, source, *summary,
       absl::StrCat(arguments.dry_run ? "would restore to " : "restored to ", options.data_dir));
  return Done();
}

}  // namespace

void AddMemberFlags(CLI::App& app, RestoreArguments& arguments) {
  app.add_option("--name", arguments.name, "The member's name")->capture_default_str();
  app.add_option("--data-dir", arguments.data_dir, "The folder to make; <name>.etcd by default");
  app.add_option("--wal-dir", arguments.wal_dir, "A folder for the log; in the data directory");
  app.add_option("--initial-advertise-peer-urls", arguments.peer_urls, "The member's peer URLs")
      ->capture_default_str();
}

void AddDataFlags(CLI::App& app, RestoreArguments& arguments) {
  app.add_option("--initial-cluster", arguments.initial_cluster, "All members: name=peer URL,...")
      ->capture_default_str();
  app.add_option("--initial-cluster-token", arguments.cluster_token,
                 "Makes the ids of this cluster differ from others'")
      ->capture_default_str();
  app.add_flag("--skip-hash-check", arguments.skip_hash_check,
               "Take a file without SHA-256, as a copied database is");
  app.add_option("--bump-revision", arguments.bump_revision,
                 "Raise the revision by this much, beyond all that clients have seen")
      ->capture_default_str();
  app.add_flag("--mark-compacted", arguments.mark_compacted,
               "Declare all older revisions compacted, so that clients list again");
}

Outcome Restore(Context& context, const RestoreArguments& arguments, bool whole_cluster) {
  ImportOptions import;
  Outcome outcome = ReadImportOptions(arguments, &import);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto source = EtcdSource::Open({.path = arguments.words[0],
                                        .wal_dir = arguments.source_wal_dir,
                                        .skip_digest_check = arguments.skip_hash_check});
  if (!source.ok()) return Fail(source.status());
  if (!whole_cluster) return RestoreOne(context, **source, arguments, import);

  std::map<std::string, std::vector<std::string>> members;
  outcome = ReadMembers(arguments, &members);
  for (auto member = members.begin(); outcome.exit == Exit::kOk && member != members.end();
       ++member) {
    RestoreArguments one = arguments;
    one.name = member->first;
    one.peer_urls = absl::StrJoin(member->second, ",");
    one.data_dir = JoinPath(arguments.output_dir, absl::StrCat(member->first, ".etcd"));
    outcome = RestoreOne(context, **source, one, import);
  }
  return outcome;
}

}  // namespace keelson::kvctl
