// Command lines of put, get and del, which stand alone or as lines of a transaction.
#ifndef KEELSON_KVSTORE_CMD_KV_REQUESTS_H_
#define KEELSON_KVSTORE_CMD_KV_REQUESTS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "kvstore/api/rpc.pb.h"
#include "kvstore/cmd/outcome.h"

namespace CLI {
class App;
}

namespace keelson::kvctl {

struct GetArguments {
  std::optional<std::string> key;
  std::optional<std::string> range_end;
  std::string consistency = "l";
  std::string order;
  std::string sort_by;
  std::string limit = "0";
  std::string revision = "0";
  bool prefix = false;
  bool from_key = false;
  bool keys_only = false;
  bool count_only = false;
  bool value_only = false;
};

struct PutArguments {
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::string lease = "0";
  bool prev_kv = false;
  bool ignore_value = false;
  bool ignore_lease = false;
};

struct DeleteArguments {
  std::optional<std::string> key;
  std::optional<std::string> range_end;
  bool prefix = false;
  bool from_key = false;
  bool prev_kv = false;
};

void AddOptions(CLI::App& app, GetArguments& arguments);
void AddOptions(CLI::App& app, PutArguments& arguments);
void AddOptions(CLI::App& app, DeleteArguments& arguments);

// Outcomes carry etcdctl's texts and exit codes.
Outcome ToRequest(const GetArguments& arguments, etcdserverpb::RangeRequest* request);
// `read_value` is called for a value that is not among the arguments; empty when there is none.
Outcome ToRequest(const PutArguments& arguments, const std::function<std::string()>& read_value,
                  etcdserverpb::PutRequest* request);
Outcome ToRequest(const DeleteArguments& arguments, etcdserverpb::DeleteRangeRequest* request);

// Reads all of `text` as a number of `base`; the error text is Go's.
Outcome ParseInt(const std::string& text, int base, int64_t* value);

// An unsigned 64-bit number in hex; the error text is Go's.
Outcome ParseHexId(const std::string& text, uint64_t* id);

// A lease id in hex; `what` is how the error names it ("lease ID" or "lease ID arg").
Outcome ParseLease(const std::string& text, const std::string& what, int64_t* lease);

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_KV_REQUESTS_H_
