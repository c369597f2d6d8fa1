#include "partition/cmd/output.h"

#include <openssl/sha.h>
#include <nlohmann/json.hpp>

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "partition/hex.h"
#include "partition/trust/internal/openssl.h"

namespace keelson::partition {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 20;

// Files are made for their owner alone; this gives the others what the umask lets them have.
absl::Status OpenToOthers(const std::string& path) {
  const mode_t mask = ::umask(0);
  (void)::umask(mask);
  if (::chmod(path.c_str(), 0666 & ~mask) == 0) return absl::OkStatus();
  const int error = errno;
  return ErrnoError(error, absl::StrCat("chmod '", path, "'"));
}

}  // namespace

struct Output::Answer {
  nlohmann::ordered_json json;
};

Output::Output(const Context& context) : context_(context), answer_(std::make_unique<Answer>()) {
  answer_->json = {{"dry_run", context.dry_run}, {"files", nlohmann::ordered_json::array()}};
}

Output::~Output() = default;

absl::Status Output::Write(const std::string& path, std::string_view contents,
                           WriteOptions options) {
  answer_->json["files"].push_back({{"path", path}, {"bytes", contents.size()}});
  if (!context_.json()) {
    absl::FPrintF(stderr, "%s '%s': %d bytes\n", context_.dry_run ? "would write" : "writing", path,
                  contents.size());
  }
  if (context_.dry_run) return absl::OkStatus();
  KEELSON_RETURN_IF_ERROR(WriteFileAtomically(RealFileSystem(), path, contents));
  return options.secret ? absl::OkStatus() : OpenToOthers(path);
}

void Output::Note(const std::string& key, bool value) { answer_->json[key] = value; }

void Output::Note(const std::string& key, const std::string& value) { answer_->json[key] = value; }

void Output::Finish() {
  if (!context_.json()) return;
  std::printf(
      "%s\n",
      answer_->json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

absl::StatusOr<ExitCode> WriteOne(const Context& context, const std::string& path,
                                  std::string_view contents) {
  Output output(context);
  KEELSON_RETURN_IF_ERROR(output.Write(path, contents, {}));
  output.Finish();
  return ExitCode::kDone;
}

absl::StatusOr<FileDigest> DigestFile(FileSystem& fs, const std::string& path) {
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<File> file, fs.Open(path, {}));
  const DigestContextPtr context(EVP_MD_CTX_new());
  (void)EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  FileDigest digest;
  std::vector<char> piece(kPieceBytes);
  while (true) {
    KEELSON_ASSIGN_OR_RETURN(const size_t size, file->ReadAt(digest.bytes, piece));
    if (size == 0) break;
    (void)EVP_DigestUpdate(context.get(), piece.data(), size);
    digest.bytes += size;
  }
  std::string bytes(SHA256_DIGEST_LENGTH, '\0');
  (void)EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(bytes.data()), nullptr);
  digest.sha256 = Hex(bytes);
  return digest;
}

}  // namespace keelson::partition
