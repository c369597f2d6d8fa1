#include "partition/trust/manifest.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <initializer_list>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

// Objects of nlohmann::json are sorted by the bytes of their keys. RFC 8785 sorts by UTF-16 units,
// which is the same for keys in ASCII, and all known ones are.
using Json = nlohmann::json;

constexpr char kType[] = "keelson.release.1";
constexpr char kTimeFormat[] = "%Y-%m-%dT%H:%M:%SZ";
constexpr size_t kBytesMax = size_t{1} << 20;
constexpr int kDepthMax = 8;
constexpr uint64_t kIntegerMax = (uint64_t{1} << 53) - 1;  // exact in every JSON reader
constexpr size_t kSha256Digits = 64;
constexpr size_t kSignaturesMax = 64;

absl::Status Bad(std::string_view what) {
  return absl::DataLossError(
      absl::StrCat("manifest: ", absl::string_view(what.data(), what.size())));
}

// What JSON readers disagree on is refused, so that all of them see what was signed.
class StrictReader {
 public:
  absl::StatusOr<Json> Parse(std::string_view text) {
    if (text.size() > kBytesMax) {
      return Bad(absl::StrCat("expected at most ", kBytesMax, " bytes, found ", text.size()));
    }
    const auto watch = [this](int depth, Json::parse_event_t event, Json& value) {
      return Watch(depth, event, value);
    };
    Json json = Json::parse(text, watch, /*allow_exceptions=*/false);
    if (!fault_.empty()) return Bad(fault_);
    if (json.is_discarded()) return Bad("it is no JSON");
    return json;
  }

 private:
  bool Watch(int depth, Json::parse_event_t event, const Json& value) {
    using Event = Json::parse_event_t;
    if (depth > kDepthMax) fault_ = "it is nested too deeply";
    if (event == Event::object_start) open_.emplace_back();
    if (event == Event::object_end && !open_.empty()) open_.pop_back();
    if (event == Event::key && !open_.empty()) {
      const auto& key = value.get_ref<const std::string&>();
      if (!open_.back().insert(key).second) fault_ = absl::StrCat("'", key, "' is there twice");
    }
    if (event == Event::value && value.is_number() &&
        (!value.is_number_unsigned() || value.get<uint64_t>() > kIntegerMax)) {
      fault_ = "expected numbers from 0 to 2^53 - 1";
    }
    return fault_.empty();
  }

  std::vector<std::set<std::string>> open_;  // keys so far, of each object that has not ended
  std::string fault_;
};

absl::Status CheckKeys(const Json& json, std::string_view where,
                       std::initializer_list<std::string_view> known) {
  if (!json.is_object()) return Bad(absl::StrFormat("%s: expected an object", where));
  for (const auto& [key, value] : json.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return Bad(absl::StrFormat("%s: unknown key '%s'", where, key));
    }
  }
  return absl::OkStatus();
}

// The text at `key`, which may be missing only if `optional`.
absl::StatusOr<std::string> Text(const Json& json, const char* key, bool optional = false) {
  const auto found = json.find(key);
  if (found == json.end() && optional) return std::string();
  if (found == json.end() || !found->is_string() || found->get_ref<const std::string&>().empty()) {
    return Bad(absl::StrCat("'", key, "': expected a text"));
  }
  const auto& text = found->get_ref<const std::string&>();
  if (!std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; })) {
    return Bad(absl::StrCat("'", key, "': expected printable ASCII"));
  }
  return text;
}

absl::StatusOr<uint64_t> Number(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number_unsigned()) {
    return Bad(absl::StrCat("'", key, "': expected a number"));
  }
  return found->get<uint64_t>();
}

absl::StatusOr<absl::Time> TimeAt(const Json& json, const char* key) {
  KEELSON_ASSIGN_OR_RETURN(const std::string text, Text(json, key));
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error) ||
      absl::FormatTime(kTimeFormat, time, absl::UTCTimeZone()) != text) {
    return Bad(absl::StrCat("'", key, "': expected a time such as 2026-06-01T00:00:00Z"));
  }
  return time;
}

bool IsHex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

absl::StatusOr<ReleaseArtifact> ParseArtifact(const Json& json) {
  KEELSON_RETURN_IF_ERROR(
      CheckKeys(json, "artifacts", {"role", "name", "bytes", "sha256", "root_hash"}));
  ReleaseArtifact artifact;
  KEELSON_ASSIGN_OR_RETURN(artifact.role, Text(json, "role"));
  KEELSON_ASSIGN_OR_RETURN(artifact.name, Text(json, "name"));
  KEELSON_ASSIGN_OR_RETURN(artifact.bytes, Number(json, "bytes"));
  KEELSON_ASSIGN_OR_RETURN(artifact.sha256, Text(json, "sha256"));
  KEELSON_ASSIGN_OR_RETURN(artifact.root_hash, Text(json, "root_hash", /*optional=*/true));
  if (artifact.sha256.size() != kSha256Digits || !IsHex(artifact.sha256) ||
      !IsHex(artifact.root_hash)) {
    return Bad(absl::StrCat("artifact '", artifact.role,
                            "': expected digests in lower-case hexadecimal digits"));
  }
  if (artifact.name.find('/') != std::string::npos || artifact.name.starts_with('.')) {
    return Bad(
        absl::StrCat("artifact '", artifact.role, "': '", artifact.name, "' is no name of a file"));
  }
  return artifact;
}

absl::StatusOr<ReleaseManifest> ParseSigned(const Json& json) {
  KEELSON_RETURN_IF_ERROR(CheckKeys(json, "signed",
                                    {"type", "product", "version", "architecture", "rollback_index",
                                     "issued", "expires", "artifacts"}));
  KEELSON_ASSIGN_OR_RETURN(const std::string type, Text(json, "type"));
  if (type != kType) return Bad(absl::StrCat("expected type '", kType, "', found '", type, "'"));
  ReleaseManifest manifest;
  KEELSON_ASSIGN_OR_RETURN(manifest.product, Text(json, "product"));
  KEELSON_ASSIGN_OR_RETURN(manifest.version, Text(json, "version"));
  KEELSON_ASSIGN_OR_RETURN(manifest.architecture, Text(json, "architecture"));
  KEELSON_ASSIGN_OR_RETURN(manifest.rollback_index, Number(json, "rollback_index"));
  KEELSON_ASSIGN_OR_RETURN(manifest.issued, TimeAt(json, "issued"));
  KEELSON_ASSIGN_OR_RETURN(manifest.expires, TimeAt(json, "expires"));
  if (manifest.expires <= manifest.issued) return Bad("it expires before it is issued");
  const auto artifacts = json.find("artifacts");
  if (artifacts == json.end() || !artifacts->is_array() || artifacts->empty()) {
    return Bad("'artifacts': expected an array of at least one");
  }
  std::set<std::string> roles;
  for (const Json& item : *artifacts) {
    KEELSON_ASSIGN_OR_RETURN(ReleaseArtifact artifact, ParseArtifact(item));
    if (!roles.insert(artifact.role).second) {
      return Bad(absl::StrCat("two artifacts for '", artifact.role, "'"));
    }
    manifest.artifacts.push_back(std::move(artifact));
  }
  return manifest;
}

Json ToJson(const ReleaseManifest& manifest) {
  const auto time = [](absl::Time value) {
    return absl::FormatTime(kTimeFormat, value, absl::UTCTimeZone());
  };
  Json artifacts = Json::array();
  for (const ReleaseArtifact& artifact : manifest.artifacts) {
    Json item = {{"role", artifact.role},
                 {"name", artifact.name},
                 {"bytes", artifact.bytes},
                 {"sha256", artifact.sha256}};
    if (!artifact.root_hash.empty()) item["root_hash"] = artifact.root_hash;
    artifacts.push_back(std::move(item));
  }
  return {{"type", kType},
          {"product", manifest.product},
          {"version", manifest.version},
          {"architecture", manifest.architecture},
          {"rollback_index", manifest.rollback_index},
          {"issued", time(manifest.issued)},
          {"expires", time(manifest.expires)},
          {"artifacts", std::move(artifacts)}};
}

// The two halves of a document whose form is right; what is in "signed" has not been looked at.
absl::StatusOr<Json> ParseDocument(std::string_view text) {
  KEELSON_ASSIGN_OR_RETURN(Json json, StrictReader().Parse(text));
  KEELSON_RETURN_IF_ERROR(CheckKeys(json, "manifest", {"signatures", "signed"}));
  if (!json.contains("signed") || !json["signed"].is_object()) {
    return Bad("'signed': expected an object");
  }
  if (!json.contains("signatures") || !json["signatures"].is_array() ||
      json["signatures"].size() > kSignaturesMax) {
    return Bad(absl::StrCat("'signatures': expected an array of at most ", kSignaturesMax));
  }
  for (const Json& item : json["signatures"]) {
    KEELSON_RETURN_IF_ERROR(CheckKeys(item, "signatures", {"key", "signature"}));
    KEELSON_RETURN_IF_ERROR(Text(item, "key"));
    KEELSON_RETURN_IF_ERROR(Text(item, "signature"));
  }
  return json;
}

// How many different keys of `trust` signed.
int CountSigners(const Json& document, const ManifestTrust& trust) {
  const std::string content = document["signed"].dump();
  std::set<std::string> signers;
  for (const Json& item : document["signatures"]) {
    const std::string id = item["key"].get<std::string>();
    std::string signature;
    if (!absl::Base64Unescape(item["signature"].get<std::string>(), &signature)) continue;
    for (const PublicKey& key : trust.keys) {
      if (key.id() == id && key.Verify(content, signature).ok()) signers.insert(id);
    }
  }
  return static_cast<int>(signers.size());
}

absl::Status CheckPolicy(const ReleaseManifest& manifest, const ManifestPolicy& policy) {
  const auto refuse = [&](std::string_view what) {
    return absl::FailedPreconditionError(
        absl::StrFormat("release %s of %s: %s", manifest.version, manifest.product, what));
  };
  const auto time = [](absl::Time value) {
    return absl::FormatTime(kTimeFormat, value, absl::UTCTimeZone());
  };
  if (manifest.product != policy.product) {
    return refuse(absl::StrCat("expected product '", policy.product, "'"));
  }
  if (manifest.architecture != policy.architecture) {
    return refuse(absl::StrCat("expected architecture '", policy.architecture, "', found '",
                               manifest.architecture, "'"));
  }
  if (policy.now >= manifest.expires) {
    return refuse(absl::StrCat("it expired at ", time(manifest.expires)));
  }
  if (policy.now < manifest.issued) {
    return refuse(absl::StrCat("it is issued at ", time(manifest.issued),
                               ", after the present time of ", time(policy.now)));
  }
  if (manifest.rollback_index < policy.rollback_index_min) {
    return refuse(absl::StrCat("expected a rollback index of at least ", policy.rollback_index_min,
                               ", found ", manifest.rollback_index));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ManifestTrust> ParseManifestTrust(std::string_view json) {
  const auto bad = [](std::string_view what) {
    return absl::InvalidArgumentError(absl::StrFormat("manifest keys: %s", what));
  };
  const absl::StatusOr<Json> root = StrictReader().Parse(json);
  if (!root.ok()) return bad("no JSON object of sound form");
  if (!root->is_object() || !root->contains("keys") || !(*root)["keys"].is_array() ||
      !root->contains("threshold") || !(*root)["threshold"].is_number_unsigned()) {
    return bad("expected an array 'keys' and a number 'threshold'");
  }
  ManifestTrust trust;
  for (const Json& item : (*root)["keys"]) {
    if (!item.is_string()) return bad("expected keys in PEM");
    KEELSON_ASSIGN_OR_RETURN(PublicKey key, PublicKey::Parse(item.get<std::string>()));
    if (std::find(trust.keys.begin(), trust.keys.end(), key) != trust.keys.end()) {
      return bad(absl::StrCat("key ", key.id(), " is there twice"));
    }
    trust.keys.push_back(std::move(key));
  }
  const uint64_t threshold = (*root)["threshold"].get<uint64_t>();
  if (threshold < 1 || threshold > trust.keys.size()) {
    return bad(
        absl::StrCat("expected a threshold from 1 to ", trust.keys.size(), ", found ", threshold));
  }
  trust.threshold = static_cast<int>(threshold);
  return trust;
}

std::string EncodeManifestTrust(const ManifestTrust& trust) {
  Json keys = Json::array();
  for (const PublicKey& key : trust.keys) keys.push_back(key.ToPem());
  return Json({{"keys", keys}, {"threshold", trust.threshold}}).dump(2) + "\n";
}

absl::StatusOr<std::string> EncodeManifest(const ReleaseManifest& manifest) {
  const Json json = ToJson(manifest);
  const absl::StatusOr<ReleaseManifest> again = ParseSigned(json);
  if (!again.ok()) return absl::InvalidArgumentError(again.status().message());
  return Json({{"signatures", Json::array()}, {"signed", json}}).dump() + "\n";
}

absl::StatusOr<std::string> SignManifest(std::string_view text, const PrivateKey& key) {
  KEELSON_ASSIGN_OR_RETURN(Json document, ParseDocument(text));
  KEELSON_RETURN_IF_ERROR(ParseSigned(document["signed"]));
  KEELSON_ASSIGN_OR_RETURN(const std::string signature, key.Sign(document["signed"].dump()));
  Json signatures = Json::array();
  for (const Json& item : document["signatures"]) {
    if (item["key"] != key.public_key().id()) signatures.push_back(item);
  }
  signatures.push_back(
      {{"key", key.public_key().id()}, {"signature", absl::Base64Escape(signature)}});
  document["signatures"] = std::move(signatures);
  return document.dump() + "\n";
}

absl::StatusOr<std::string> CanonicalManifest(std::string_view text) {
  KEELSON_ASSIGN_OR_RETURN(const Json document, ParseDocument(text));
  return document["signed"].dump();
}

absl::StatusOr<ReleaseManifest> VerifyManifest(std::string_view text, const ManifestTrust& trust,
                                               const ManifestPolicy& policy) {
  KEELSON_ASSIGN_OR_RETURN(const Json document, ParseDocument(text));
  const int signers = CountSigners(document, trust);
  if (signers < trust.threshold || trust.threshold < 1) {
    return absl::PermissionDeniedError(
        absl::StrFormat("manifest: expected signatures of %d of %d keys, found %d", trust.threshold,
                        trust.keys.size(), signers));
  }
  KEELSON_ASSIGN_OR_RETURN(ReleaseManifest manifest, ParseSigned(document["signed"]));
  KEELSON_RETURN_IF_ERROR(CheckPolicy(manifest, policy));
  return manifest;
}

}  // namespace keelson::partition
