#include "partition/trust/auth_variable.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/civil_time.h"
#include "base/check.h"
#include "base/little_endian.h"
#include "base/status.h"
#include "partition/trust/internal/pkcs7.h"

namespace keelson::partition {
namespace {

constexpr size_t kTimeBytes = 16;
constexpr size_t kCertificateHeaderBytes = 8;
constexpr size_t kGuidBytes = 16;
constexpr size_t kFixedBytes = kTimeBytes + kCertificateHeaderBytes + kGuidBytes;
constexpr uint16_t kRevision = 0x0200;
constexpr uint16_t kTypeGuid = 0x0ef1;

Guid KnownGuid(std::string_view text) {
  const absl::StatusOr<Guid> guid = ParseGuid(text);
  KEELSON_CHECK_OK(guid.status());
  return *guid;
}

std::string_view AsText(const Guid& guid) {
  return {reinterpret_cast<const char*>(guid.bytes.data()), kGuidBytes};
}

std::string_view Pkcs7Guid() {
  static const Guid guid = KnownGuid("4aafd29d-68df-49ee-8aa9-347d375665a7");
  return AsText(guid);
}

// EFI_TIME: year (u16), month, day, hour, minute, second; the rest is zero for UTC.
std::string EncodeTime(absl::Time time) {
  const absl::CivilSecond civil = absl::ToCivilSecond(time, absl::UTCTimeZone());
  std::string out(kTimeBytes, '\0');
  StoreLe16(out, 0, static_cast<uint16_t>(civil.year()));
  out[2] = static_cast<char>(civil.month());
  out[3] = static_cast<char>(civil.day());
  out[4] = static_cast<char>(civil.hour());
  out[5] = static_cast<char>(civil.minute());
  out[6] = static_cast<char>(civil.second());
  return out;
}

absl::StatusOr<absl::Time> DecodeTime(std::string_view bytes) {
  const absl::CivilSecond civil(LoadLe16(bytes, 0), static_cast<uint8_t>(bytes[2]),
                                static_cast<uint8_t>(bytes[3]), static_cast<uint8_t>(bytes[4]),
                                static_cast<uint8_t>(bytes[5]), static_cast<uint8_t>(bytes[6]));
  const absl::Time time = absl::FromCivil(civil, absl::UTCTimeZone());
  // Fields out of range, and those that the firmware wants to be zero, make another encoding.
  if (EncodeTime(time) != bytes) {
    return absl::DataLossError("signed variable: expected a time in UTC at byte 0");
  }
  return time;
}

std::string Signed(const VariableName& variable, uint32_t attributes, std::string_view time,
                   std::string_view data) {
  std::string out;
  for (const char c : variable.name) {
    out += c;
    out += '\0';
  }
  out += AsText(variable.vendor);
  std::string number(4, '\0');
  StoreLe32(number, 0, attributes);
  out += number;
  out += time;
  out += data;
  return out;
}

}  // namespace

absl::StatusOr<VariableName> SecureBootVariable(std::string_view name) {
  if (name == "PK" || name == "KEK") {
    return VariableName{std::string(name), KnownGuid("8be4df61-93ca-11d2-aa0d-00e098032b8c")};
  }
  if (name == "db" || name == "dbx" || name == "dbt" || name == "dbr") {
    return VariableName{std::string(name), KnownGuid("d719b2cb-3d3a-4596-a3bc-dad00e67656f")};
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", absl::string_view(name.data(), name.size()),
                   "' is no variable of Secure Boot: expected PK, KEK, db, dbx, dbt or dbr"));
}

absl::StatusOr<std::string> SignVariable(const VariableUpdate& update, const PrivateKey& key,
                                         const Certificate& certificate) {
  if (key.public_key().kind() == "Ed25519") {
    return absl::InvalidArgumentError("PKCS#7 has no Ed25519: expected an RSA or ECDSA key");
  }
  const int64_t year = absl::ToCivilYear(update.time, absl::UTCTimeZone()).year();
  if (year < 1900 || year > 9999) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a year from 1900 to 9999, found ", year));
  }
  const std::string time = EncodeTime(update.time);
  KEELSON_ASSIGN_OR_RETURN(
      const std::string pkcs7,
      SignDetached(Signed(update.variable, update.attributes, time, update.data), key, certificate,
                   /*embed_certificate=*/true));
  KEELSON_ASSIGN_OR_RETURN(const std::string signed_data, WithoutContentInfo(pkcs7));
  std::string header(kCertificateHeaderBytes, '\0');
  StoreLe32(header, 0,
            static_cast<uint32_t>(kCertificateHeaderBytes + kGuidBytes + signed_data.size()));
  StoreLe16(header, 4, kRevision);
  StoreLe16(header, 6, kTypeGuid);
  std::string out = time + header;
  out += Pkcs7Guid();
  out += signed_data;
  out += update.data;
  return out;
}

absl::StatusOr<SignedVariable> ParseSignedVariable(std::string_view bytes) {
  if (bytes.size() < kFixedBytes) {
    return absl::DataLossError(absl::StrFormat(
        "signed variable: expected at least %d bytes, found %d", kFixedBytes, bytes.size()));
  }
  SignedVariable variable;
  KEELSON_ASSIGN_OR_RETURN(variable.time, DecodeTime(bytes.substr(0, kTimeBytes)));
  const uint32_t size = LoadLe32(bytes, kTimeBytes);
  if (LoadLe16(bytes, kTimeBytes + 4) != kRevision ||
      LoadLe16(bytes, kTimeBytes + 6) != kTypeGuid ||
      bytes.substr(kTimeBytes + kCertificateHeaderBytes, kGuidBytes) != Pkcs7Guid()) {
    return absl::DataLossError("signed variable: expected a PKCS#7 certificate at byte 16");
  }
  if (size < kCertificateHeaderBytes + kGuidBytes || size > bytes.size() - kTimeBytes) {
    return absl::DataLossError(
        absl::StrFormat("signed variable: expected a certificate of 24 to %d bytes, found %d",
                        bytes.size() - kTimeBytes, size));
  }
  variable.signature = bytes.substr(kFixedBytes, kTimeBytes + size - kFixedBytes);
  variable.data = bytes.substr(kTimeBytes + size);
  return variable;
}

absl::StatusOr<Certificate> VerifyVariable(const VariableName& variable, uint32_t attributes,
                                           const SignedVariable& signed_variable,
                                           std::span<const Certificate> trusted) {
  KEELSON_ASSIGN_OR_RETURN(const Pkcs7Ptr pkcs7, ParsePkcs7(signed_variable.signature));
  return VerifyPkcs7(
      pkcs7.get(),
      Signed(variable, attributes, EncodeTime(signed_variable.time), signed_variable.data),
      trusted);
}

}  // namespace keelson::partition
