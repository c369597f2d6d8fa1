// The membership as the state machine keeps it: what each row says, and how changes apply.
#ifndef KEELSON_KVSTORE_INTERNAL_MEMBERS_H_
#define KEELSON_KVSTORE_INTERNAL_MEMBERS_H_

#include <map>
#include <string_view>

#include "absl/status/statusor.h"
#include "kvstore/api/command.pb.h"
#include "kvstore/store.h"

namespace keelson::kvstore::internal {

// By id; removed members included.
using MemberMap = std::map<uint64_t, Store::MemberAttributes>;

MemberAttributes EncodeMember(const Store::MemberAttributes& member);
Store::MemberAttributes ToMember(const MemberAttributes& row);
// False when the bytes make no sense. Sets all but the id.
bool DecodeMember(std::string_view bytes, Store::MemberAttributes* member);

// What `change` makes of the one member that it is about. The checks are etcd's for changes at the
// time they apply (kvstore.md 9.2 to 9.5), whatever the proposing member has checked before.
absl::StatusOr<Store::MemberAttributes> Changed(const MemberMap& members,
                                                const MemberChange& change);

}  // namespace keelson::kvstore::internal

#endif  // KEELSON_KVSTORE_INTERNAL_MEMBERS_H_
