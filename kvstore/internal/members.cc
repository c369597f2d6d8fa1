#include "kvstore/internal/members.h"

#include <algorithm>

#include "base/status.h"
#include "kvstore/errors.h"

namespace keelson::kvstore::internal {
namespace {

using Member = Store::MemberAttributes;

template <typename Urls>
absl::Status CheckUrlsAreNew(const MemberMap& members, uint64_t id, const Urls& urls) {
  for (const auto& [other, member] : members) {
    if (other == id || member.removed) continue;
    for (const std::string& url : urls) {
      if (std::count(member.peer_urls.begin(), member.peer_urls.end(), url) > 0) {
        return errors::PeerUrlExists();
      }
    }
  }
  return absl::OkStatus();
}

// A member that is there; one that was removed is as unknown as one that never was.
absl::StatusOr<Member> Find(const MemberMap& members, uint64_t id) {
  const auto found = members.find(id);
  if (found == members.end() || found->second.removed) return errors::MemberNotFound();
  return found->second;
}

template <typename Predicate>
uint32_t Count(const MemberMap& members, Predicate predicate) {
  return static_cast<uint32_t>(std::count_if(
      members.begin(), members.end(),
      [&](const auto& entry) { return !entry.second.removed && predicate(entry.second); }));
}

absl::StatusOr<Member> Added(const MemberMap& members, const MemberChange::Add& add) {
  const auto known = members.find(add.id());
  if (known != members.end()) {
    // Ids do not come back: a message of the former life would pass for one of the new.
    return known->second.removed ? errors::MemberNotFound() : errors::MemberExists();
  }
  KEELSON_RETURN_IF_ERROR(CheckUrlsAreNew(members, add.id(), add.peer_urls()));
  const uint32_t learners = Count(members, [](const Member& member) { return member.is_learner; });
  if (add.is_learner() && learners >= add.max_learners()) return errors::TooManyLearners();
  return Member{.id = add.id(),
                .peer_urls = {add.peer_urls().begin(), add.peer_urls().end()},
                .is_learner = add.is_learner()};
}

}  // namespace

MemberAttributes EncodeMember(const Member& member) {
  MemberAttributes row;
  row.set_id(member.id);
  row.set_name(member.name);
  for (const std::string& url : member.client_urls) row.add_client_urls(url);
  for (const std::string& url : member.peer_urls) row.add_peer_urls(url);
  row.set_is_learner(member.is_learner);
  row.set_removed(member.removed);
  return row;
}

Member ToMember(const MemberAttributes& row) {
  return {.id = row.id(),
          .name = row.name(),
          .client_urls = {row.client_urls().begin(), row.client_urls().end()},
          .peer_urls = {row.peer_urls().begin(), row.peer_urls().end()},
          .is_learner = row.is_learner(),
          .removed = row.removed()};
}

bool DecodeMember(std::string_view bytes, Member* member) {
  MemberAttributes row;
  if (!row.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
  const uint64_t id =
      member->id;  // The row's key has it, and earlier versions wrote it only there.
  *member = ToMember(row);
  member->id = id;
  return true;
}

absl::StatusOr<Member> Changed(const MemberMap& members, const MemberChange& change) {
  switch (change.change_case()) {
    case MemberChange::kAdd:
      return Added(members, change.add());
    case MemberChange::kRemove: {
      KEELSON_ASSIGN_OR_RETURN(Member member, Find(members, change.remove()));
      const uint32_t voters = Count(members, [](const Member& m) { return !m.is_learner; });
      // Nobody would be left to commit anything.
      if (!member.is_learner && voters == 1) return errors::MemberNotEnoughStarted();
      member.removed = true;
      return member;
    }
    case MemberChange::kUpdate: {
      KEELSON_ASSIGN_OR_RETURN(Member member, Find(members, change.update().id()));
      KEELSON_RETURN_IF_ERROR(CheckUrlsAreNew(members, member.id, change.update().peer_urls()));
      member.peer_urls.assign(change.update().peer_urls().begin(),
                              change.update().peer_urls().end());
      return member;
    }
    case MemberChange::kPromote: {
      KEELSON_ASSIGN_OR_RETURN(Member member, Find(members, change.promote()));
      if (!member.is_learner) return errors::MemberNotLearner();
      member.is_learner = false;
      return member;
    }
    case MemberChange::CHANGE_NOT_SET:
      break;
  }
  return absl::UnimplementedError("the membership change is not one that this version knows");
}

}  // namespace keelson::kvstore::internal
