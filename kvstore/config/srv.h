// Finds the members of a cluster by SRV records of the domain name system: --discovery-srv
// (kvstore.md 16.3).
//
// Servers are `_etcd-server-ssl._tcp.DOMAIN` for https and `_etcd-server._tcp.DOMAIN` for http, what
// clients connect to is `_etcd-client...`; with a service name, as --discovery-srv-name gives it, that
// is appended: `_etcd-server-NAME._tcp.DOMAIN`.
#ifndef KEELSON_KVSTORE_CONFIG_SRV_H_
#define KEELSON_KVSTORE_CONFIG_SRV_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kvstore/config/url.h"

namespace keelson::kvstore {

struct SrvRecord {
  std::string target;  // without a dot at its end
  uint16_t port = 0;
  uint16_t priority = 0;  // the lowest is to be used first
  uint16_t weight = 0;    // and of the same priority the highest

  friend bool operator==(const SrvRecord&, const SrvRecord&) = default;
};

// Asks the machine's resolver, or with `server` ("ADDRESS:PORT", IPv4) that one alone, for the records
// of `name`; best first. Blocks for as long as resolv.conf lets it.
// NOT_FOUND when there are none, UNAVAILABLE when nobody answers, DATA_LOSS for a bad answer.
absl::StatusOr<std::vector<SrvRecord>> LookupSrv(const std::string& name,
                                                 const std::string& server = "");

// The world of the functions below; tests have another.
struct SrvWorld {
  std::function<absl::StatusOr<std::vector<SrvRecord>>(const std::string& name)> records =
      [](const std::string& name) { return LookupSrv(name); };
  // The addresses "IP:PORT" of a host, which may be an IP address.
  std::function<absl::StatusOr<std::vector<std::string>>(const std::string& host, uint16_t port)>
      addresses;
};
// With the machine's resolver.
SrvWorld RealSrvWorld();

struct SrvDomain {
  std::string domain;
  std::string service_name;  // may be empty
};

// The founding members as for --initial-cluster. The member whose record leads to an address of
// `own_urls` is `own_name`; others are "0", "1" and so on, as in etcd.
//
// Errors:
//   NOT_FOUND            no record can be used, or none is this member's.
//   FAILED_PRECONDITION  this member's record is of another scheme than its URL.
//   any other            of looking up the addresses of `own_urls`.
absl::StatusOr<std::string> FoundersFromSrv(const SrvWorld& world, const SrvDomain& where,
                                            const std::string& own_name,
                                            const std::vector<Url>& own_urls);

// URLs for clients, those with https first. NOT_FOUND when there are none of either kind.
absl::StatusOr<std::vector<std::string>> ClientsFromSrv(const SrvWorld& world,
                                                        const SrvDomain& where);

}  // namespace keelson::kvstore

#endif  // KEELSON_KVSTORE_CONFIG_SRV_H_
