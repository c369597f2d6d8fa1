#include "kvstore/cmd/kv_requests.h"

#include <CLI/CLI.hpp>

#include <charconv>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kvstore/client/client.h"
#include "kvstore/cmd/format.h"

namespace keelson::kvctl {
namespace {

constexpr char kZeroByte[] = {'\0'};

std::string Zero() { return std::string(kZeroByte, 1); }

// The bounds of --prefix and --from-key, or those given.
template <typename Arguments, typename Request>
Outcome SetBounds(const Arguments& arguments, const char* verb, Request* request) {
  if (arguments.prefix && arguments.from_key) {
    return Fail(Exit::kBadArguments,
                "`--prefix` and `--from-key` cannot be set at the same time, choose one");
  }
  if (!arguments.key) {
    return Fail(Exit::kBadArguments,
                absl::StrCat(verb,
                             " command needs one argument as key and an optional argument as "
                             "range_end"));
  }
  if (arguments.range_end && (arguments.prefix || arguments.from_key)) {
    return Fail(Exit::kBadArguments,
                "too many arguments, only accept one argument when `--prefix` or `--from-key` is "
                "set");
  }
  request->set_key(*arguments.key);
  if (arguments.range_end) request->set_range_end(*arguments.range_end);
  if (arguments.prefix) request->set_range_end(kvstore::PrefixEnd(*arguments.key));
  if (arguments.from_key) request->set_range_end(Zero());
  if ((arguments.prefix || arguments.from_key) && arguments.key->empty()) request->set_key(Zero());
  return Done();
}

Outcome SetSort(const GetArguments& arguments, etcdserverpb::RangeRequest* request) {
  using Request = etcdserverpb::RangeRequest;
  static const std::map<std::string, Request::SortTarget> kTargets = {
      {"", Request::KEY},       {"CREATE", Request::CREATE}, {"KEY", Request::KEY},
      {"MODIFY", Request::MOD}, {"VALUE", Request::VALUE},   {"VERSION", Request::VERSION},
  };
  static const std::map<std::string, Request::SortOrder> kOrders = {
      {"", Request::NONE}, {"ASCEND", Request::ASCEND}, {"DESCEND", Request::DESCEND}};
  const auto order = kOrders.find(absl::AsciiStrToUpper(arguments.order));
  if (order == kOrders.end()) {
    return Fail(Exit::kBadFeature, "bad sort order " + arguments.order);
  }
  const auto target = kTargets.find(absl::AsciiStrToUpper(arguments.sort_by));
  if (target == kTargets.end()) {
    return Fail(Exit::kBadFeature, "bad sort target " + arguments.sort_by);
  }
  request->set_sort_order(order->second);
  request->set_sort_target(target->second);
  return Done();
}

Outcome ParseFlag(const char* flag, const std::string& text, int64_t* value) {
  const Outcome outcome = ParseInt(text, 10, value);
  if (outcome.exit == Exit::kOk) return outcome;
  return Fail(Exit::kBadArguments, absl::StrCat("invalid argument ", Quote(text), " for \"", flag,
                                                "\" flag: ", outcome.error));
}

}  // namespace

Outcome ParseInt(const std::string& text, int base, int64_t* value) {
  // Go takes a plus sign, from_chars does not.
  const char* begin = text.data() + (text.size() > 1 && text[0] == '+' && text[1] != '-' ? 1 : 0);
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(begin, end, *value, base);
  if (error == std::errc() && rest == end) return Done();
  return Fail(Exit::kError, absl::StrCat("strconv.ParseInt: parsing ", Quote(text), ": ",
                                         error == std::errc::result_out_of_range && rest == end
                                             ? "value out of range"
                                             : "invalid syntax"));
}

Outcome ParseHexId(const std::string& text, uint64_t* id) {
  // SimpleHexAtoi takes signs and prefixes too, which Go does not.
  const bool digits = text.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
  if (digits && absl::SimpleHexAtoi(text, id)) return Done();
  return Fail(Exit::kBadArguments, absl::StrCat("strconv.ParseUint: parsing ", Quote(text),
                                                digits && text.size() > 16 ? ": value out of range"
                                                                           : ": invalid syntax"));
}

Outcome ParseLease(const std::string& text, const std::string& what, int64_t* lease) {
  const Outcome outcome = ParseInt(text, 16, lease);
  if (outcome.exit == Exit::kOk) return outcome;
  return Fail(Exit::kBadArguments,
              absl::StrCat("bad ", what, " (", outcome.error, "), expecting ID in Hex"));
}

void AddOptions(CLI::App& app, GetArguments& arguments) {
  app.add_option("key", arguments.key, "The key, or the lower bound of a range");
  app.add_option("range_end", arguments.range_end, "The upper bound, not included");
  app.add_option("--consistency", arguments.consistency, "Linearizable (l) or serializable (s)")
      ->capture_default_str();
  app.add_option("--order", arguments.order, "Order of results: ASCEND or DESCEND");
  app.add_option("--sort-by", arguments.sort_by, "Sort by: CREATE, KEY, MODIFY, VALUE or VERSION");
  app.add_option("--limit", arguments.limit, "Most results to return; 0 for all")
      ->capture_default_str();
  app.add_option("--rev", arguments.revision, "Revision to read at; 0 for now")
      ->capture_default_str();
  app.add_flag("--prefix", arguments.prefix, "Get all keys that begin with the key");
  app.add_flag("--from-key", arguments.from_key, "Get all keys from the key on");
  app.add_flag("--keys-only", arguments.keys_only, "Get the keys without their values");
  app.add_flag("--count-only", arguments.count_only, "Get only the number of keys");
  app.add_flag("--print-value-only", arguments.value_only, "Print values only (simple output)");
}

void AddOptions(CLI::App& app, PutArguments& arguments) {
  app.add_option("key", arguments.key, "The key");
  app.add_option("value", arguments.value, "The value; read from standard input if not given");
  app.add_option("--lease", arguments.lease, "Lease to attach to the key, in hex")
      ->capture_default_str();
  app.add_flag("--prev-kv", arguments.prev_kv, "Print the pair as it was before");
  app.add_flag("--ignore-value", arguments.ignore_value, "Keep the present value");
  app.add_flag("--ignore-lease", arguments.ignore_lease, "Keep the present lease");
}

void AddOptions(CLI::App& app, DeleteArguments& arguments) {
  app.add_option("key", arguments.key, "The key, or the lower bound of a range");
  app.add_option("range_end", arguments.range_end, "The upper bound, not included");
  app.add_flag("--prefix", arguments.prefix, "Delete all keys that begin with the key");
  app.add_flag("--from-key", arguments.from_key, "Delete all keys from the key on");
  app.add_flag("--prev-kv", arguments.prev_kv, "Print the deleted pairs");
}

Outcome ToRequest(const GetArguments& arguments, etcdserverpb::RangeRequest* request) {
  Outcome outcome = SetBounds(arguments, "get", request);
  if (outcome.exit != Exit::kOk) return outcome;
  if (arguments.consistency != "l" && arguments.consistency != "s") {
    return Fail(Exit::kBadFeature, "unknown consistency flag " + Quote(arguments.consistency));
  }
  request->set_serializable(arguments.consistency == "s");
  int64_t number = 0;
  outcome = ParseFlag("--limit", arguments.limit, &number);
  if (outcome.exit != Exit::kOk) return outcome;
  request->set_limit(number);
  outcome = ParseFlag("--rev", arguments.revision, &number);
  if (outcome.exit != Exit::kOk) return outcome;
  request->set_revision(number);
  outcome = SetSort(arguments, request);
  if (outcome.exit != Exit::kOk) return outcome;
  request->set_keys_only(arguments.keys_only);
  request->set_count_only(arguments.count_only);
  return Done();
}

Outcome ToRequest(const PutArguments& arguments, const std::function<std::string()>& read_value,
                  etcdserverpb::PutRequest* request) {
  if (!arguments.key || (!arguments.value && !arguments.ignore_value && !read_value)) {
    return Fail(Exit::kBadArguments,
                "put command needs 1 argument and input from stdin or 2 arguments");
  }
  if (arguments.ignore_value && arguments.value) {
    return Fail(Exit::kBadArguments,
                "put command needs only 1 argument when 'ignore-value' is set");
  }
  int64_t lease = 0;
  Outcome outcome = ParseLease(arguments.lease, "lease ID", &lease);
  if (outcome.exit != Exit::kOk) return outcome;
  request->set_key(*arguments.key);
  if (!arguments.ignore_value) {
    request->set_value(arguments.value ? *arguments.value : read_value());
  }
  request->set_lease(lease);
  request->set_prev_kv(arguments.prev_kv);
  request->set_ignore_value(arguments.ignore_value);
  request->set_ignore_lease(arguments.ignore_lease);
  return Done();
}

Outcome ToRequest(const DeleteArguments& arguments, etcdserverpb::DeleteRangeRequest* request) {
  Outcome outcome = SetBounds(arguments, "del", request);
  if (outcome.exit != Exit::kOk) return outcome;
  request->set_prev_kv(arguments.prev_kv);
  return Done();
}

}  // namespace keelson::kvctl
