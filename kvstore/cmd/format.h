// Text forms that etcdctl's users and scripts rely on: quoting, durations, sizes, tables.
#ifndef KEELSON_KVSTORE_CMD_FORMAT_H_
#define KEELSON_KVSTORE_CMD_FORMAT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "kvstore/json_string.h"

namespace keelson::kvctl {

// `bytes` in double quotes, as Go's %q writes it: printable UTF-8 stays, the rest is escaped.
std::string Quote(std::string_view bytes);

// Each byte as \xNN.
std::string Hex(std::string_view bytes);

using kvstore::JsonString;

// "1.619487ms", "5.000374852s", "1m30s", "0s".
std::string DurationText(absl::Duration duration);

// "20 kB", "1.5 MB": steps of 1000, one decimal below 10.
std::string SizeText(uint64_t bytes);

// A lease or member id: lower-case hex.
std::string IdText(uint64_t id);         // without padding
std::string LeaseIdText(int64_t lease);  // 16 digits

// A bordered table. The header is centred and in capitals, cells are right-aligned; a cell
// of more than 30 columns is wrapped at spaces. Ends in a newline.
std::string Table(const std::vector<std::string>& header,
                  const std::vector<std::vector<std::string>>& rows);

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_FORMAT_H_
