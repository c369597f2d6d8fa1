// golden: replays transcripts of etcd-io/raft and compares byte for byte.
//
//   golden --kind=interaction|quorum|confchange [--update] FILE...
//
// With --update each file is rewritten with the output that came; read the difference before
// you keep it.
//
// Prints a unified diff of what differs and `N passed, N failed` (files) at the end.
// Exit code: 0 all equal, 1 something differs, 2 bad arguments or an unreadable file.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "raft/testing/golden_run.h"

int main(int argc, char** argv) {
  using keelson::raft::golden::FileResult;
  using keelson::raft::golden::ParseKind;

  constexpr std::string_view kKindFlag = "--kind=";
  std::string kind_name = "interaction";
  bool update = false;
  std::vector<std::string> files;
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg.starts_with(kKindFlag)) {
      kind_name = std::string(arg.substr(kKindFlag.size()));
    } else if (arg == "--update") {
      update = true;
    } else if (arg.starts_with("-")) {
      std::cerr << "golden: unknown flag '" << arg << "'\n";
      return 2;
    } else {
      files.emplace_back(arg);
    }
  }
  const auto kind = ParseKind(kind_name);
  if (!kind.has_value()) {
    std::cerr << "golden: --kind must be interaction, quorum or confchange, not '" << kind_name
              << "'\n";
    return 2;
  }
  if (files.empty()) {
    std::cerr << "usage: golden --kind=interaction|quorum|confchange [--update] FILE...\n";
    return 2;
  }

  size_t failed = 0;
  for (const std::string& name : files) {
    std::ifstream file(name, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    if (file.fail() && text.empty()) {
      std::cerr << "golden: cannot read '" << name << "'\n";
      return 2;
    }
    const auto result = keelson::raft::golden::RunGoldenFile(*kind, name, text);
    if (!result.ok()) {
      std::cerr << "golden: " << name << ": " << result.status().message() << "\n";
      return 2;
    }
    std::cout << result->diff;
    failed += result->diff.empty() ? 0 : 1;
    if (update && !result->diff.empty()) {
      std::ofstream out(name, std::ios::binary);
      out << result->updated;
      if (!out.flush()) {
        std::cerr << "golden: cannot write '" << name << "'\n";
        return 2;
      }
    }
  }
  std::cout << files.size() - failed << " passed, " << failed << " failed\n";
  return failed == 0 ? 0 : 1;
}
