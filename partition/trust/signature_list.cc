#include "partition/trust/signature_list.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/little_endian.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

constexpr size_t kGuidBytes = 16;
constexpr size_t kListHeaderBytes = kGuidBytes + 12;
constexpr size_t kDigestBytes = 32;

Guid KnownGuid(std::string_view text) {
  const absl::StatusOr<Guid> guid = ParseGuid(text);
  KEELSON_CHECK_OK(guid.status());
  return *guid;
}

std::string_view AsText(const Guid& guid) {
  return {reinterpret_cast<const char*>(guid.bytes.data()), kGuidBytes};
}

Guid GuidAt(std::string_view bytes, size_t offset) {
  Guid guid;
  std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(offset), kGuidBytes, guid.bytes.begin());
  return guid;
}

// The list at the start of `bytes`, which it takes off.
absl::StatusOr<SignatureList> TakeList(std::string_view& bytes, size_t at) {
  const auto bad = [&](std::string_view what, uint64_t found) {
    return absl::DataLossError(
        absl::StrFormat("signature list at byte %d: %s, found %d", at, what, found));
  };
  if (bytes.size() < kListHeaderBytes) return bad("expected at least 28 bytes", bytes.size());
  const uint32_t list_bytes = LoadLe32(bytes, kGuidBytes);
  const uint32_t header_bytes = LoadLe32(bytes, kGuidBytes + 4);
  const uint32_t signature_bytes = LoadLe32(bytes, kGuidBytes + 8);
  if (list_bytes < kListHeaderBytes || list_bytes > bytes.size()) {
    return bad(absl::StrCat("expected a size from 28 to ", bytes.size()), list_bytes);
  }
  if (header_bytes > list_bytes - kListHeaderBytes) {
    return bad("expected a header inside the list", header_bytes);
  }
  const size_t room = list_bytes - kListHeaderBytes - header_bytes;
  if (signature_bytes <= kGuidBytes || room == 0 || room % signature_bytes != 0) {
    return bad(absl::StrCat("expected signatures that fill ", room, " bytes"), signature_bytes);
  }
  SignatureList list;
  list.type = GuidAt(bytes, 0);
  list.header = bytes.substr(kListHeaderBytes, header_bytes);
  for (size_t i = kListHeaderBytes + header_bytes; i < list_bytes; i += signature_bytes) {
    list.signatures.push_back(
        {GuidAt(bytes, i),
         std::string(bytes.substr(i + kGuidBytes, signature_bytes - kGuidBytes))});
  }
  bytes.remove_prefix(list_bytes);
  return list;
}

}  // namespace

Guid X509SignatureType() { return KnownGuid("a5c059a1-94e4-4aa7-87b5-ab155c2bf072"); }

Guid Sha256SignatureType() { return KnownGuid("c1c41626-504c-4092-aca9-41f936934328"); }

std::vector<SignatureList> CertificateLists(std::span<const Certificate> certificates,
                                            const Guid& owner) {
  std::vector<SignatureList> lists;
  for (const Certificate& certificate : certificates) {
    lists.push_back({X509SignatureType(), "", {{owner, certificate.der()}}});
  }
  return lists;
}

absl::StatusOr<SignatureList> DigestList(const std::vector<std::string>& digests,
                                         const Guid& owner) {
  SignatureList list;
  list.type = Sha256SignatureType();
  for (const std::string& digest : digests) {
    if (digest.size() != kDigestBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected a digest of 32 bytes, found ", digest.size()));
    }
    list.signatures.push_back({owner, digest});
  }
  return list;
}

absl::StatusOr<std::string> EncodeSignatureLists(std::span<const SignatureList> lists) {
  std::string out;
  for (const SignatureList& list : lists) {
    if (list.signatures.empty() || list.signatures[0].data.empty()) {
      return absl::InvalidArgumentError("a signature list without signatures");
    }
    const size_t data_bytes = list.signatures[0].data.size();
    std::string header(12, '\0');
    StoreLe32(header, 0,
              static_cast<uint32_t>(kListHeaderBytes + list.header.size() +
                                    list.signatures.size() * (kGuidBytes + data_bytes)));
    StoreLe32(header, 4, static_cast<uint32_t>(list.header.size()));
    StoreLe32(header, 8, static_cast<uint32_t>(kGuidBytes + data_bytes));
    out += AsText(list.type);
    out += header;
    out += list.header;
    for (const Signature& signature : list.signatures) {
      if (signature.data.size() != data_bytes) {
        return absl::InvalidArgumentError(absl::StrCat(
            "signatures of ", data_bytes, " and ", signature.data.size(), " bytes in one list"));
      }
      out += AsText(signature.owner);
      out += signature.data;
    }
  }
  return out;
}

absl::StatusOr<std::vector<SignatureList>> ParseSignatureLists(std::string_view bytes) {
  std::vector<SignatureList> lists;
  for (std::string_view rest = bytes; !rest.empty();) {
    KEELSON_ASSIGN_OR_RETURN(SignatureList list, TakeList(rest, bytes.size() - rest.size()));
    lists.push_back(std::move(list));
  }
  return lists;
}

absl::StatusOr<std::vector<Certificate>> CertificatesIn(std::span<const SignatureList> lists) {
  std::vector<Certificate> certificates;
  for (const SignatureList& list : lists) {
    if (list.type != X509SignatureType()) continue;
    for (const Signature& signature : list.signatures) {
      absl::StatusOr<Certificate> certificate = Certificate::Parse(signature.data);
      if (!certificate.ok()) {
        return absl::DataLossError(
            absl::StrCat("certificate in a signature list: ", certificate.status().message()));
      }
      certificates.push_back(*std::move(certificate));
    }
  }
  return certificates;
}

}  // namespace keelson::partition
