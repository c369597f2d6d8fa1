// Ids of members and clusters, computed as etcd computes them (kvstore.md 9.1),
// so that a member of ours shows the id that etcd would show for the same
// flags.
#ifndef KEELSON_KVSTORE_CONFIG_IDENTITY_H_
#define KEELSON_KVSTORE_CONFIG_IDENTITY_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace keelson::kvstore {

// The id of a founding member: the first 8 bytes, big-endian, of the SHA-1 of
// its sorted peer URLs and the cluster token, joined without separator.
uint64_t FoundingMemberId(std::vector<std::string> peer_urls, std::string_view cluster_token);

// The first 8 bytes of the SHA-1 of the sorted member ids, 8 bytes big-endian
// each.
uint64_t ClusterId(std::vector<uint64_t> member_ids);

// Lower-case hexadecimal without leading zeros, as etcd prints ids.
std::string FormatId(uint64_t id);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_CONFIG_IDENTITY_H_
