// Takes out of answers what may differ between two servers.
#ifndef KEELSON_TESTS_INTEROP_ETCD_DIFF_COMPARE_H_
#define KEELSON_TESTS_INTEROP_ETCD_DIFF_COMPARE_H_

#include <google/protobuf/message.h>

namespace keelson::etcd_diff {

// Clears ids and terms, rounds remaining times, and puts in order what etcd gives in none:
// pairs of equal rank in a sorted range, permissions of one key, the keys of a lease, leases.
void Normalize(const google::protobuf::Message& request, google::protobuf::Message* response);

}  // namespace keelson::etcd_diff

#endif  // KEELSON_TESTS_INTEROP_ETCD_DIFF_COMPARE_H_
