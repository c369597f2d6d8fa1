#include "kvstore/daemon/member_identity.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "kvstore/config/data_dir.h"
#include "kvstore/daemon/identity.pb.h"
#include "kvstore/internal/members.h"
#include "raft/wal.h"

namespace keelson::kvstore {
namespace {

using Member = Store::MemberAttributes;

constexpr uint64_t kFileBytesMax = 1 << 20;

absl::StatusOr<std::vector<FoundingMember>> ToOptions(const std::vector<Member>& rows) {
  std::vector<FoundingMember> members;
  for (const Member& row : rows) {
    if (row.removed) continue;
    FoundingMember member{.name = row.name, .peer_urls = {}, .id = row.id};
    for (const std::string& url : row.peer_urls) {
      KEELSON_ASSIGN_OR_RETURN(Url parsed, ParseUrl(url));
      member.peer_urls.push_back(std::move(parsed));
    }
    if (member.id == 0 || member.peer_urls.empty()) {
      return absl::InvalidArgumentError("a member without id or peer URLs");
    }
    members.push_back(std::move(member));
  }
  return members;
}

absl::Status SetMembers(const std::vector<Member>& founders, const std::vector<Member>& known,
                        Options& options) {
  KEELSON_ASSIGN_OR_RETURN(options.initial_cluster, ToOptions(founders));
  KEELSON_ASSIGN_OR_RETURN(options.known_members, ToOptions(known));
  if (options.initial_cluster.empty()) return absl::InvalidArgumentError("no founding members");
  return absl::OkStatus();
}

std::vector<Member> ToRows(const std::vector<FoundingMember>& members) {
  std::vector<Member> rows;
  for (const FoundingMember& member : members) {
    rows.push_back({.id = member.id, .name = member.name, .peer_urls = Texts(member.peer_urls)});
  }
  return rows;
}

std::vector<Member> FromStored(const google::protobuf::RepeatedPtrField<MemberAttributes>& stored) {
  std::vector<Member> rows;
  for (const MemberAttributes& row : stored) rows.push_back(internal::ToMember(row));
  return rows;
}

absl::Status ReadIdentity(FileSystem& fs, const std::string& path, Options& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(fs, path, kFileBytesMax));
  StoredIdentity stored;
  const bool parsed = stored.ParseFromString(bytes);
  if (!parsed || stored.cluster_id() == 0 || stored.member_id() == 0 ||
      !SetMembers(FromStored(stored.founders()), FromStored(stored.known()), options).ok()) {
    return absl::DataLossError(absl::StrCat("'", path, "' is damaged"));
  }
  options.cluster_id = stored.cluster_id();
  options.member_id = stored.member_id();
  return absl::OkStatus();
}

// The member with the peer URLs of `options`, or null.
const Member* FindSelf(const ClusterDescription& cluster, const Options& options) {
  std::vector<std::string> urls = Texts(options.advertise_peer_urls);
  std::sort(urls.begin(), urls.end());
  for (const Member& member : cluster.members) {
    std::vector<std::string> theirs = member.peer_urls;
    std::sort(theirs.begin(), theirs.end());
    if (!member.removed && theirs == urls) return &member;
  }
  return nullptr;
}

absl::Status Join(const AskMember& ask, Options& options) {
  std::vector<std::string> silent;
  bool answered = false;
  if (options.initial_cluster.size() < 2) {
    return absl::FailedPreconditionError(
        "--initial-cluster-state=existing, but --initial-cluster names no other member to ask");
  }
  for (const FoundingMember& other : std::vector(options.initial_cluster)) {
    if (other.name == options.name) continue;
    for (const Url& url : other.peer_urls) {
      const absl::StatusOr<ClusterDescription> cluster = ask(url.HostPort());
      if (!cluster.ok()) {
        silent.emplace_back(cluster.status().message());
        continue;
      }
      answered = true;
      const Member* const self = FindSelf(*cluster, options);
      if (self == nullptr) continue;  // This one may lag behind.
      KEELSON_RETURN_IF_ERROR(
          Annotate(SetMembers(cluster->founders, cluster->members, options), "answer of a member"));
      options.cluster_id = cluster->cluster_id;
      options.member_id = self->id;
      options.expects_existing_cluster = !self->name.empty();
      return absl::OkStatus();
    }
  }
  const std::string own = absl::StrJoin(Texts(options.advertise_peer_urls), ",");
  if (answered) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the cluster has no member with the peer URLs ", own, "; add it with 'member add' first"));
  }
  return absl::UnavailableError(
      absl::StrCat("cannot fetch cluster info from peer urls: ", absl::StrJoin(silent, "; ")));
}

}  // namespace

absl::Status ResolveIdentity(FileSystem& fs, const AskMember& ask, Options& options) {
  const DataDir paths = DataDirAt(options.data_dir, options.wal_dir);
  KEELSON_ASSIGN_OR_RETURN(const bool known, fs.Exists(paths.identity));
  if (known) return ReadIdentity(fs, paths.identity, options);
  KEELSON_ASSIGN_OR_RETURN(const bool has_log, raft::Wal::Exists(fs, paths.wal));
  if (has_log || !options.expects_existing_cluster) return absl::OkStatus();
  return Join(ask, options);
}

absl::Status RememberIdentity(FileSystem& fs, const Options& options) {
  const DataDir paths = DataDirAt(options.data_dir, options.wal_dir);
  KEELSON_ASSIGN_OR_RETURN(const bool known, fs.Exists(paths.identity));
  if (known) return absl::OkStatus();
  StoredIdentity stored;
  stored.set_cluster_id(options.cluster_id);
  stored.set_member_id(options.member_id);
  for (const Member& founder : FoundersOf(options)) {
    *stored.add_founders() = internal::EncodeMember(founder);
  }
  for (const Member& member : KnownMembersOf(options)) {
    *stored.add_known() = internal::EncodeMember(member);
  }
  return WriteFileAtomically(fs, paths.identity, stored.SerializeAsString());
}

std::vector<Member> FoundersOf(const Options& options) { return ToRows(options.initial_cluster); }

std::vector<Member> KnownMembersOf(const Options& options) { return ToRows(options.known_members); }

}  // namespace keelson::kvstore
