#include "kvstore/store.h"

namespace keelson::kvstore {
namespace {

constexpr std::string_view kEverythingAfter("\0", 1);

}  // namespace

bool KeyRange::Contains(std::string_view candidate) const {
  if (range_end.empty()) return candidate == key;
  return candidate >= key && (range_end == kEverythingAfter || candidate < range_end);
}

absl::Status Store::EncodeRange(const etcdserverpb::RangeRequest& request,
                                etcdserverpb::RangeResponse* rest, std::string* pairs) const {
  const absl::Status status = Range(request, rest);
  etcdserverpb::RangeResponse only_pairs;
  only_pairs.mutable_kvs()->Swap(rest->mutable_kvs());
  *pairs = only_pairs.SerializeAsString();
  return status;
}

bool KeyRange::Empty() const {
  return !range_end.empty() && range_end != kEverythingAfter && key >= range_end;
}

}  // namespace keelson::kvstore
