// The lines of `kvctl txn` with arbitrary bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "kvstore/cmd/format.h"
#include "kvstore/cmd/txn_lines.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 65536) return 0;
  const std::string line(reinterpret_cast<const char*>(data), size);

  etcdserverpb::Compare compare;
  (void)keelson::kvctl::ParseCompare(line, &compare);
  (void)keelson::kvctl::JsonString(line);

  // What quoting writes, unquoting reads back: lines of a transaction can carry any key.
  const std::string quoted = keelson::kvctl::Quote(line);
  std::string_view rest = quoted;
  if (keelson::kvctl::TakeQuoted(&rest) != line || !rest.empty()) std::abort();

  // The command-line parser is slow; it sees short lines only.
  if (size <= 512) {
    etcdserverpb::RequestOp operation;
    (void)keelson::kvctl::ParseOperation(line, &operation);
  }
  return 0;
}
