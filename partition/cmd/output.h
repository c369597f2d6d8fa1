// What verbs that write files say about it.
#ifndef KEELSON_PARTITION_CMD_OUTPUT_H_
#define KEELSON_PARTITION_CMD_OUTPUT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file_system.h"
#include "partition/cmd/verbs.h"

namespace keelson::partition {

struct WriteOptions {
  bool secret = false;  // readable by the owner alone
};

// Says each file and, unless this is a dry run, writes it whole or not at all. The text goes to
// stderr, or at the end as a JSON object {"dry_run", "files": [{"path", "bytes"}], ...} to stdout.
class Output {
 public:
  explicit Output(const Context& context);
  ~Output();

  absl::Status Write(const std::string& path, std::string_view contents, WriteOptions options);
  // One more fact for programs.
  void Note(const std::string& key, bool value);
  void Note(const std::string& key, const std::string& value);
  void Finish();

 private:
  struct Answer;
  const Context& context_;
  std::unique_ptr<Answer> answer_;
};

// Writes one file and answers.
absl::StatusOr<ExitCode> WriteOne(const Context& context, const std::string& path,
                                  std::string_view contents);

struct FileDigest {
  uint64_t bytes = 0;
  std::string sha256;  // 64 hexadecimal digits
};

// Reads a file of any size in pieces.
absl::StatusOr<FileDigest> DigestFile(FileSystem& fs, const std::string& path);

}  // namespace keelson::partition

#endif  // KEELSON_PARTITION_CMD_OUTPUT_H_
