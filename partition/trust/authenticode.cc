#include "partition/trust/authenticode.h"

#include <openssl/sha.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/little_endian.h"
#include "base/status.h"
#include "partition/hex.h"
#include "partition/trust/internal/openssl.h"
#include "partition/trust/internal/pkcs7.h"
#include "partition/trust/internal/spc.h"
#include "partition/trust/pe_image.h"

namespace keelson::partition {
namespace {

constexpr size_t kAlignment = 8;  // of certificates
constexpr size_t kCertificateHeaderBytes = 8;
constexpr uint16_t kRevision2 = 0x0200;
constexpr uint16_t kTypePkcs7 = 0x0002;
constexpr std::string_view kZeros("\0\0\0\0\0\0\0\0", 8);

size_t Padding(size_t size) { return (kAlignment - size % kAlignment) % kAlignment; }

// A range of the file that is hashed, and what to call it.
struct Part {
  std::string name;
  std::string_view bytes;
};

// What is hashed, in order. The bytes behind the last section count from the sum of all sizes, as
// the specification has it: in a file with gaps that is not where the last section ends.
std::vector<Part> PartsOf(const PeImage& image, std::string_view pe) {
  const size_t after_checksum = image.checksum_offset + 4;
  const size_t after_entry = image.certificate_entry_offset + 8;
  std::vector<Part> parts = {
      {"[headers]", pe.substr(0, image.checksum_offset)},
      {"[headers]", pe.substr(after_checksum, image.certificate_entry_offset - after_checksum)},
      {"[headers]", pe.substr(after_entry, image.headers_bytes - after_entry)}};
  std::vector<PeSection> sections = image.sections;
  std::stable_sort(sections.begin(), sections.end(), [](const PeSection& a, const PeSection& b) {
    return a.file_offset < b.file_offset;
  });
  uint64_t sum = image.headers_bytes;
  for (const PeSection& section : sections) {
    if (section.file_bytes == 0) continue;
    parts.push_back({section.name, pe.substr(section.file_offset, section.file_bytes)});
    sum += section.file_bytes;
  }
  const size_t end = pe.size() - image.certificates_bytes;
  if (end > sum) parts.push_back({"[behind the sections]", pe.substr(sum, end - sum)});
  if (image.certificates_bytes == 0 && Padding(pe.size()) != 0) {
    parts.push_back({"[behind the sections]", kZeros.substr(0, Padding(pe.size()))});
  }
  return parts;
}

std::string DigestOf(const std::vector<Part>& parts) {
  const DigestContextPtr context(EVP_MD_CTX_new());
  (void)EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  for (const Part& part : parts) {
    (void)EVP_DigestUpdate(context.get(), part.bytes.data(), part.bytes.size());
  }
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  (void)EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(digest.data()), nullptr);
  return digest;
}

// One digest for each name, of all parts with that name.
std::vector<PartDigest> DigestsOf(const std::vector<Part>& parts) {
  std::vector<PartDigest> digests;
  for (size_t i = 0; i < parts.size();) {
    std::vector<Part> same;
    const std::string& name = parts[i].name;
    for (; i < parts.size() && parts[i].name == name; ++i) same.push_back(parts[i]);
    digests.push_back({name, DigestOf(same)});
  }
  return digests;
}

// "'.linux' and '[headers]'", what differs between a signature's parts and the file's. A file
// without padding and one with it have the same parts.
std::string Changed(const std::vector<PartDigest>& expected, const std::vector<PartDigest>& found) {
  std::vector<std::string> names;
  for (const PartDigest& part : expected) {
    if (std::find(found.begin(), found.end(), part) == found.end()) names.push_back(part.name);
  }
  for (const PartDigest& part : found) {
    const bool known = std::any_of(expected.begin(), expected.end(), [&](const PartDigest& other) {
      return other.name == part.name;
    });
    if (!known) names.push_back(part.name);
  }
  return absl::StrJoin(names, ", ", [](std::string* out, const std::string& name) {
    absl::StrAppend(out, "'", name, "'");
  });
}

// A WIN_CERTIFICATE and the padding behind it.
struct TableEntry {
  uint16_t revision = 0;
  uint16_t type = 0;
  std::string_view data;
};

absl::StatusOr<std::vector<TableEntry>> Table(const PeImage& image, std::string_view pe) {
  std::vector<TableEntry> entries;
  std::string_view rest = pe.substr(pe.size() - image.certificates_bytes);
  while (!rest.empty()) {
    const uint64_t at = pe.size() - rest.size();
    const uint32_t size = rest.size() < kCertificateHeaderBytes ? 0 : LoadLe32(rest, 0);
    if (size < kCertificateHeaderBytes || size > rest.size()) {
      return absl::DataLossError(
          absl::StrFormat("certificate table: expected a size from %d to %d at byte %d, found %d",
                          kCertificateHeaderBytes, rest.size(), at, size));
    }
    entries.push_back({LoadLe16(rest, 4), LoadLe16(rest, 6),
                       rest.substr(kCertificateHeaderBytes, size - kCertificateHeaderBytes)});
    rest.remove_prefix(std::min<size_t>(size + Padding(size), rest.size()));
  }
  return entries;
}

std::string Entry(std::string_view pkcs7) {
  std::string entry(kCertificateHeaderBytes, '\0');
  StoreLe32(entry, 0, static_cast<uint32_t>(kCertificateHeaderBytes + pkcs7.size()));
  StoreLe16(entry, 4, kRevision2);
  StoreLe16(entry, 6, kTypePkcs7);
  entry += pkcs7;
  entry.append(Padding(entry.size()), '\0');
  return entry;
}

// One signature's answer. Empty: it is by nobody that is trusted.
absl::StatusOr<std::optional<Certificate>> Judge(const Spc& spc, const std::vector<Part>& parts,
                                                 std::string_view digest,
                                                 std::span<const Certificate> trusted) {
  absl::StatusOr<Certificate> signer = VerifyPkcs7(spc.pkcs7.get(), spc.content, trusted);
  if (absl::IsPermissionDenied(signer.status())) return std::nullopt;
  KEELSON_RETURN_IF_ERROR(signer);
  if (spc.digest == digest) return *std::move(signer);
  const std::string changed = spc.parts.empty()
                                  ? "which part, the signature does not tell"
                                  : absl::StrCat("changed: ", Changed(spc.parts, DigestsOf(parts)));
  return absl::DataLossError(absl::StrCat("PE: altered since '", signer->subject(), "' signed it; ",
                                          changed, "; expected digest ", Hex(spc.digest),
                                          ", found ", Hex(digest)));
}

}  // namespace

absl::StatusOr<std::string> PeDigest(std::string_view pe) {
  KEELSON_ASSIGN_OR_RETURN(const PeImage image, ParsePe(pe));
  return DigestOf(PartsOf(image, pe));
}

absl::StatusOr<std::string> SignPe(std::string_view pe, const PrivateKey& key,
                                   const Certificate& certificate, const PeSignOptions& options) {
  KEELSON_ASSIGN_OR_RETURN(const PeImage image, ParsePe(pe));
  KEELSON_RETURN_IF_ERROR(Table(image, pe));  // What is there must be sound before more is added.
  if (key.public_key().kind() == "Ed25519") {
    return absl::InvalidArgumentError("PKCS#7 has no Ed25519: expected an RSA or ECDSA key");
  }
  const std::vector<Part> parts = PartsOf(image, pe);
  KEELSON_ASSIGN_OR_RETURN(const std::string pkcs7, SignSpc(DigestOf(parts), DigestsOf(parts), key,
                                                            certificate, options.time));
  std::string out(pe);
  out.append(Padding(out.size()), '\0');
  const uint32_t table =
      image.certificates_bytes == 0 ? static_cast<uint32_t>(out.size()) : image.certificates_offset;
  out += Entry(pkcs7);
  StoreLe32(out, image.certificate_entry_offset, table);
  StoreLe32(out, image.certificate_entry_offset + 4, static_cast<uint32_t>(out.size() - table));
  StoreLe32(out, image.checksum_offset, PeChecksum(image, out));
  return out;
}

absl::StatusOr<std::string> RemovePeSignatures(std::string_view pe) {
  KEELSON_ASSIGN_OR_RETURN(const PeImage image, ParsePe(pe));
  std::string out(pe.substr(0, pe.size() - image.certificates_bytes));
  StoreLe32(out, image.certificate_entry_offset, 0);
  StoreLe32(out, image.certificate_entry_offset + 4, 0);
  StoreLe32(out, image.checksum_offset, PeChecksum(image, out));
  return out;
}

absl::StatusOr<std::vector<std::string>> PeSignatures(std::string_view pe) {
  KEELSON_ASSIGN_OR_RETURN(const PeImage image, ParsePe(pe));
  KEELSON_ASSIGN_OR_RETURN(const std::vector<TableEntry> entries, Table(image, pe));
  std::vector<std::string> signatures;
  for (const TableEntry& entry : entries) {
    if (entry.type == kTypePkcs7) signatures.emplace_back(entry.data);
  }
  return signatures;
}

absl::StatusOr<PeVerdict> VerifyPe(std::string_view pe, std::span<const Certificate> trusted) {
  KEELSON_ASSIGN_OR_RETURN(const PeImage image, ParsePe(pe));
  KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> signatures, PeSignatures(pe));
  if (signatures.empty()) return absl::PermissionDeniedError("PE: it is not signed");
  const std::vector<Part> parts = PartsOf(image, pe);
  const std::string digest = DigestOf(parts);
  absl::Status worst = absl::PermissionDeniedError(
      absl::StrFormat("PE: none of %d trusted certificates made one of its %d signatures",
                      trusted.size(), signatures.size()));
  for (size_t i = 0; i < signatures.size(); ++i) {
    const absl::StatusOr<Spc> spc = ParseSpc(signatures[i]);
    absl::StatusOr<std::optional<Certificate>> signer =
        spc.ok() ? Judge(*spc, parts, digest, trusted) : spc.status();
    if (!signer.ok()) {
      worst = Annotate(signer.status(), absl::StrCat("signature ", i + 1));
    } else if (signer->has_value()) {
      return PeVerdict{.signature = static_cast<int>(i),
                       .signatures = static_cast<int>(signatures.size()),
                       .digest = digest,
                       .signer = **std::move(signer)};
    }
  }
  return worst;
}

}  // namespace keelson::partition
