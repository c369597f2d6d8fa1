#include "kvstore/client/txn.h"

#include <string>

#include "kvstore/client/client.h"

namespace keelson::kvstore {

using etcdserverpb::Compare;

namespace {

Compare EqualOf(std::string_view key, Compare::CompareTarget target) {
  Compare compare;
  compare.set_key(key.data(), key.size());
  compare.set_target(target);
  compare.set_result(Compare::EQUAL);
  return compare;
}

Compare With(Compare condition, Compare::CompareResult result) {
  condition.set_result(result);
  return condition;
}

}  // namespace

Compare CreateRevisionIs(std::string_view key, int64_t revision) {
  Compare compare = EqualOf(key, Compare::CREATE);
  compare.set_create_revision(revision);
  return compare;
}

Compare VersionIs(std::string_view key, int64_t version) {
  Compare compare = EqualOf(key, Compare::VERSION);
  compare.set_version(version);
  return compare;
}

Compare ValueIs(std::string_view key, std::string_view value) {
  Compare compare = EqualOf(key, Compare::VALUE);
  compare.set_value(value.data(), value.size());
  return compare;
}

Compare LeaseIs(std::string_view key, int64_t lease) {
  Compare compare = EqualOf(key, Compare::LEASE);
  compare.set_lease(lease);
  return compare;
}

Compare Exists(std::string_view key) { return Greater(VersionIs(key, 0)); }
Compare Missing(std::string_view key) { return VersionIs(key, 0); }

Compare Not(Compare condition) { return With(std::move(condition), Compare::NOT_EQUAL); }
Compare Less(Compare condition) { return With(std::move(condition), Compare::LESS); }
Compare Greater(Compare condition) { return With(std::move(condition), Compare::GREATER); }

Compare ForPrefix(Compare condition) {
  condition.set_range_end(PrefixEnd(condition.key()));
  return condition;
}

}  // namespace keelson::kvstore
