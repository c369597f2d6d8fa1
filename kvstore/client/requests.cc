#include "base/clock.h"
#include "kvstore/client/client.h"

namespace keelson::kvstore {
namespace {

// etcd forbids the empty key; as a lower bound it spells as one zero byte.
constexpr char kFirstKey[] = {'\0'};

std::string FirstOf(std::string_view prefix) {
  return prefix.empty() ? std::string(kFirstKey, 1) : std::string(prefix);
}

}  // namespace

absl::Duration Client::Monotonic() { return RealClock().Monotonic(); }

bool Client::Await(absl::Mutex* mu, const absl::Condition& condition, absl::Duration timeout) {
  return mu->AwaitWithTimeout(condition, timeout);
}

std::string PrefixEnd(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty()) {
    const auto last = static_cast<unsigned char>(end.back());
    if (last < 0xff) {
      end.back() = static_cast<char>(last + 1);
      return end;
    }
    end.pop_back();
  }
  return std::string(kFirstKey, 1);  // No upper bound.
}

etcdserverpb::RangeRequest RangeOf(std::string_view key) {
  etcdserverpb::RangeRequest request;
  request.set_key(key.data(), key.size());
  return request;
}

etcdserverpb::RangeRequest RangeOfPrefix(std::string_view prefix) {
  etcdserverpb::RangeRequest request;
  request.set_key(FirstOf(prefix));
  request.set_range_end(PrefixEnd(prefix));
  return request;
}

etcdserverpb::PutRequest PutOf(std::string_view key, std::string_view value, int64_t lease) {
  etcdserverpb::PutRequest request;
  request.set_key(key.data(), key.size());
  request.set_value(value.data(), value.size());
  request.set_lease(lease);
  return request;
}

etcdserverpb::DeleteRangeRequest DeleteOf(std::string_view key) {
  etcdserverpb::DeleteRangeRequest request;
  request.set_key(key.data(), key.size());
  return request;
}

etcdserverpb::DeleteRangeRequest DeleteOfPrefix(std::string_view prefix) {
  etcdserverpb::DeleteRangeRequest request;
  request.set_key(FirstOf(prefix));
  request.set_range_end(PrefixEnd(prefix));
  return request;
}

etcdserverpb::Compare ModRevisionIs(std::string_view key, int64_t revision) {
  etcdserverpb::Compare compare;
  compare.set_target(etcdserverpb::Compare::MOD);
  compare.set_result(etcdserverpb::Compare::EQUAL);
  compare.set_key(key.data(), key.size());
  compare.set_mod_revision(revision);
  return compare;
}

}  // namespace keelson::kvstore
