// Any list of arguments and variables gives options or one line of error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "kvstore/config/options.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::string> pieces(1);
  for (size_t i = 0; i < size; ++i) {
    if (data[i] == 0) {
      pieces.emplace_back();
    } else {
      pieces.back().push_back(static_cast<char>(data[i]));
    }
  }
  for (const std::string& piece : pieces) {
    // Files of this machine are not for the fuzzer.
    if (piece.find("config-file") != std::string::npos) return 0;
    if (piece.starts_with("ETCD_CONFIG_FILE")) return 0;
  }
  const auto line = keelson::kvstore::ParseCommandLine(pieces, pieces);
  if (!line.ok() || line->text.has_value()) return 0;
  const auto& options = line->options;
  const bool discovers = options.Discovers();
  if (options.initial_cluster.empty() != discovers) std::abort();
  return 0;
}
