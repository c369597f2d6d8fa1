// An instance of a service, and how the registry writes it down.
//
// Two layouts, which can be used at the same time:
//   etcd's naming (clientv3/naming, grpc-proxy): key "<service>/<host:port>", value
//       {"Op":0,"Addr":"10.0.0.7:80","Metadata":{"zone":"a"}}
//   SkyDNS (SkyDNS itself, CoreDNS's plugin "etcd"): key "/skydns/local/prod/web/<name>" for
//       <name>.web.prod.local, value {"host":"10.0.0.7","port":80,"priority":10,"weight":100}
#ifndef KEELSON_KVSTORE_DISCOVERY_INSTANCE_H_
#define KEELSON_KVSTORE_DISCOVERY_INSTANCE_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace keelson::kvstore::discovery {

// As in DNS (RFC 2782).
inline constexpr int kDefaultPriority = 10;
inline constexpr int kDefaultWeight = 100;

struct Instance {
  std::string address;  // "host:port"
  // Of the instances that work, those with the smallest priority are used ...
  int priority = kDefaultPriority;  // 0 to 65535
  // ... each as often as its weight says; 0: only when the others have 0 too.
  int weight = kDefaultWeight;  // 0 to 65535
  // A JSON object of the service's own, as text; empty: none. Its fields "priority" and "weight" are
  // ours.
  std::string metadata = {};

  bool operator==(const Instance&) const = default;
};

// ---- etcd's naming ----

std::string NamingKey(std::string_view service, std::string_view address);
// INVALID_ARGUMENT for an address that is not "host:port", numbers out of range or metadata that is
// no JSON object.
absl::StatusOr<std::string> NamingValue(const Instance& instance);
// Of any program that writes this layout; metadata that is no object is kept as it is. INVALID_ARGUMENT
// for what is not an entry, such as one with "Op":1.
absl::StatusOr<Instance> ParseNamingValue(std::string_view value);

// ---- SkyDNS ----

struct SkyDnsName {
  // "db1.db.prod.local": the instance, and below which names it is found.
  std::string name;
  absl::Duration ttl = absl::ZeroDuration();  // how long resolvers may keep it; zero: as they like
  std::string text = {};                      // for TXT
  std::string prefix = "/skydns";             // CoreDNS: `path`
};

// "/skydns/local/prod/db/db1". INVALID_ARGUMENT for what is no DNS name.
absl::StatusOr<std::string> SkyDnsKey(const SkyDnsName& name);
absl::StatusOr<std::string> SkyDnsValue(const SkyDnsName& name, const Instance& instance);

}  // namespace keelson::kvstore::discovery

#endif  // KEELSON_KVSTORE_DISCOVERY_INSTANCE_H_
