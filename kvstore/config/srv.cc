#include "kvstore/config/srv.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace keelson::kvstore {
namespace {

// The resolver's state, of this call alone.
class Resolver {
 public:
  Resolver() { good_ = ::res_ninit(&state_) == 0; }
  ~Resolver() {
    if (good_) ::res_nclose(&state_);
  }
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  absl::Status AskOnly(const std::string& server) {
    const size_t colon = server.rfind(':');
    sockaddr_in address{};
    address.sin_family = AF_INET;
    uint32_t port = 0;
    if (colon == std::string::npos || !absl::SimpleAtoi(server.substr(colon + 1), &port) ||
        port > 65535 ||
        ::inet_pton(AF_INET, server.substr(0, colon).c_str(), &address.sin_addr) != 1) {
      return absl::InvalidArgumentError(absl::StrCat("'", server, "' is no address of a server"));
    }
    address.sin_port = htons(static_cast<uint16_t>(port));
    state_.nscount = 1;
    state_.nsaddr_list[0] = address;
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<unsigned char>> Ask(const std::string& name) {
    if (!good_) return absl::UnavailableError("the system's resolver cannot be set up");
    std::vector<unsigned char> answer(NS_MAXMSG);
    const int size = ::res_nquery(&state_, name.c_str(), ns_c_in, ns_t_srv, answer.data(),
                                  static_cast<int>(answer.size()));
    if (size < 0) {
      const bool none = state_.res_h_errno == HOST_NOT_FOUND || state_.res_h_errno == NO_DATA;
      const std::string why = absl::StrCat("lookup ", name, ": ", ::hstrerror(state_.res_h_errno));
      return none ? absl::NotFoundError(why) : absl::UnavailableError(why);
    }
    answer.resize(std::min(answer.size(), static_cast<size_t>(size)));
    return answer;
  }

 private:
  struct __res_state state_ = {};
  bool good_ = false;
};

absl::StatusOr<std::vector<SrvRecord>> ParseAnswer(const std::string& name,
                                                   const std::vector<unsigned char>& answer) {
  const absl::Status bad = absl::DataLossError(absl::StrCat("lookup ", name, ": a bad answer"));
  ns_msg message{};
  if (::ns_initparse(answer.data(), static_cast<int>(answer.size()), &message) != 0) return bad;
  std::vector<SrvRecord> records;
  for (int n = 0; n < ns_msg_count(message, ns_s_an); ++n) {
    ns_rr row{};
    if (::ns_parserr(&message, ns_s_an, n, &row) != 0) return bad;
    if (ns_rr_type(row) != ns_t_srv) continue;  // such as an alias
    constexpr int kFixedBytes = 6;
    if (ns_rr_rdlen(row) <= kFixedBytes) return bad;
    const unsigned char* const data = ns_rr_rdata(row);
    char target[NS_MAXDNAME] = {};
    if (::dn_expand(ns_msg_base(message), ns_msg_end(message), data + kFixedBytes, target,
                    sizeof(target)) < 0) {
      return bad;
    }
    records.push_back({.target = target,
                       .port = static_cast<uint16_t>(ns_get16(data + 4)),
                       .priority = static_cast<uint16_t>(ns_get16(data)),
                       .weight = static_cast<uint16_t>(ns_get16(data + 2))});
  }
  return records;
}

absl::StatusOr<std::vector<std::string>> LookupAddresses(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int failed = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (failed != 0) {
    return absl::UnavailableError(absl::StrCat("lookup ", host, ": ", ::gai_strerror(failed)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, &::freeaddrinfo);
  std::vector<std::string> addresses;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    char text[NI_MAXHOST] = {};
    if (::getnameinfo(entry->ai_addr, entry->ai_addrlen, text, sizeof(text), nullptr, 0,
                      NI_NUMERICHOST) == 0) {
      addresses.push_back(absl::StrCat(text, ":", port));
    }
  }
  return addresses;
}

std::string ServiceName(absl::string_view service, bool tls, const SrvDomain& where) {
  return absl::StrCat("_", service, tls ? "-ssl" : "", where.service_name.empty() ? "" : "-",
                      where.service_name, "._tcp.", where.domain);
}

std::string UrlOf(const SrvRecord& record, bool tls) {
  return absl::StrCat(tls ? "https://" : "http://", record.target, ":", record.port);
}

// Why neither kind of record is there.
absl::Status NoRecords(const absl::Status& tls, const absl::Status& plain) {
  return absl::NotFoundError(
      absl::StrCat("dns lookup errors: ", tls.message(), " and ", plain.message()));
}

}  // namespace

absl::StatusOr<std::vector<SrvRecord>> LookupSrv(const std::string& name,
                                                 const std::string& server) {
  Resolver resolver;
  if (!server.empty()) KEELSON_RETURN_IF_ERROR(resolver.AskOnly(server));
  KEELSON_ASSIGN_OR_RETURN(const std::vector<unsigned char> answer, resolver.Ask(name));
  KEELSON_ASSIGN_OR_RETURN(std::vector<SrvRecord> records, ParseAnswer(name, answer));
  // A target of "." says that the service is not there (RFC 2782).
  std::erase_if(records, [](const SrvRecord& record) { return record.target.empty(); });
  if (records.empty()) {
    return absl::NotFoundError(absl::StrCat("lookup ", name, ": no SRV records"));
  }
  std::stable_sort(records.begin(), records.end(), [](const SrvRecord& a, const SrvRecord& b) {
    return std::tuple(a.priority, b.weight) < std::tuple(b.priority, a.weight);
  });
  return records;
}

SrvWorld RealSrvWorld() { return {.addresses = LookupAddresses}; }

absl::StatusOr<std::string> FoundersFromSrv(const SrvWorld& world, const SrvDomain& where,
                                            const std::string& own_name,
                                            const std::vector<Url>& own_urls) {
  std::map<std::string, const Url*> own;
  for (const Url& url : own_urls) {
    if (url.is_socket()) continue;
    KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> addresses,
                             world.addresses(url.host, url.port));
    for (const std::string& address : addresses) own[address] = &url;
  }
  std::vector<std::string> members;
  bool found_self = false;
  size_t others = 0;
  absl::Status failed[2];
  for (const bool tls : {true, false}) {
    const std::string service = ServiceName("etcd-server", tls, where);
    const auto records = world.records(service);
    failed[tls ? 0 : 1] = records.status();
    if (!records.ok()) continue;
    for (const SrvRecord& record : *records) {
      const auto addresses = world.addresses(record.target, record.port);
      if (!addresses.ok()) {
        failed[tls ? 0 : 1] = addresses.status();
        continue;
      }
      const auto mine = std::find_if(addresses->begin(), addresses->end(),
                                     [&](const auto& address) { return own.contains(address); });
      const std::string url = UrlOf(record, tls);
      if (mine != addresses->end() && own[*mine]->tls() != tls) {
        return absl::FailedPreconditionError(
            absl::StrCat("bootstrap at ", url, " from DNS for ", service,
                         " has scheme mismatch with expected peer ", own[*mine]->text));
      }
      found_self |= mine != addresses->end();
      members.push_back(
          absl::StrCat(mine != addresses->end() ? own_name : absl::StrCat(others++), "=", url));
    }
  }
  if (members.empty()) return NoRecords(failed[0], failed[1]);
  if (!found_self) {
    return absl::NotFoundError(
        absl::StrCat("cannot find local etcd member \"", own_name, "\" in SRV records"));
  }
  return absl::StrJoin(members, ",");
}

absl::StatusOr<std::vector<std::string>> ClientsFromSrv(const SrvWorld& world,
                                                        const SrvDomain& where) {
  std::vector<std::string> urls;
  absl::Status failed[2];
  for (const bool tls : {true, false}) {
    const auto records = world.records(ServiceName("etcd-client", tls, where));
    failed[tls ? 0 : 1] = records.status();
    if (!records.ok()) continue;
    for (const SrvRecord& record : *records) urls.push_back(UrlOf(record, tls));
  }
  if (urls.empty()) return NoRecords(failed[0], failed[1]);
  return urls;
}

}  // namespace keelson::kvstore
