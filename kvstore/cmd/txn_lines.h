// The lines of a transaction as `kvctl txn` reads them, in etcdctl's grammar:
//
//   comparison = target '("' key '")' ' ' ("=" | "!=" | "<" | ">") ' "' value '"'
//   target     = "mod" | "create" | "ver" | "version" | "val" | "value" | "lease"
//   operation  = ("get" | "put" | "del") and the words of that verb's command line
//
// Keys and values of comparisons, and words in double quotes, may use Go's escapes; words in
// single quotes are taken as they are.
#ifndef KEELSON_KVSTORE_CMD_TXN_LINES_H_
#define KEELSON_KVSTORE_CMD_TXN_LINES_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvstore/api/rpc.pb.h"
#include "kvstore/cmd/outcome.h"

namespace keelson::kvctl {

// Removes a double-quoted string from the front of `text` and returns what it spells; empty,
// with `text` untouched, when there is none or an escape is wrong.
std::optional<std::string> TakeQuoted(std::string_view* text);

// The words of a line; empty when a quote is not closed.
std::optional<std::vector<std::string>> SplitWords(std::string_view line);

Outcome ParseCompare(const std::string& line, etcdserverpb::Compare* compare);
Outcome ParseOperation(const std::string& line, etcdserverpb::RequestOp* operation);

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_TXN_LINES_H_
