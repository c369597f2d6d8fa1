// keys, manifest, sign and verify-signature.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/file_system.h"
#include "base/status.h"
#include "partition/cmd/output.h"
#include "partition/cmd/verbs.h"
#include "partition/hex.h"
#include "partition/trust/auth_variable.h"
#include "partition/trust/authenticode.h"
#include "partition/trust/development_keys.h"
#include "partition/trust/internal/openssl.h"
#include "partition/trust/keys.h"
#include "partition/trust/manifest.h"
#include "partition/trust/root_hash_signature.h"
#include "partition/trust/signature_list.h"

namespace keelson::partition {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kTextBytesMax = uint64_t{1} << 20;
constexpr uint64_t kProgramBytesMax = uint64_t{1} << 31;

// What the command line of these verbs may say; each uses a part of it.
struct Options {
  std::string subject;  // what is signed or verified
  std::string second;   // its signature, or the file of a variable
  std::string key;
  std::string certificate;
  std::string pass_phrase_file;
  std::string pkcs11_module;
  std::string to;
  std::string time;
  std::string trusted;
  std::string name = "Keelson";
  std::string product;
  std::string version;
  std::string architecture = "x86-64";
  std::string expires;
  uint64_t rollback_index = 0;
  std::vector<std::string> artifacts;
  bool as_partition = false;
  bool append = false;
};

absl::StatusOr<std::string> ReadText(const std::string& path) {
  return ReadFile(RealFileSystem(), path, kTextBytesMax);
}

absl::StatusOr<absl::Time> ParseTimeOption(const char* option, const std::string& text) {
  absl::Time time;
  std::string error;
  if (absl::ParseTime(absl::RFC3339_full, text, &time, &error)) return time;
  return absl::InvalidArgumentError(
      absl::StrCat(option, ": expected a time such as 2026-06-01T00:00:00Z, found '", text, "'"));
}

// --time, else SOURCE_DATE_EPOCH, by which a build repeats, else now; to the second.
absl::StatusOr<absl::Time> SigningTime(const Options& options) {
  if (!options.time.empty()) return ParseTimeOption("--time", options.time);
  int64_t epoch = 0;
  const char* text = std::getenv("SOURCE_DATE_EPOCH");
  if (text != nullptr && absl::SimpleAtoi(text, &epoch)) return absl::FromUnixSeconds(epoch);
  return absl::FromTimeT(absl::ToTimeT(absl::Now()));
}

absl::StatusOr<PrivateKey> OpenKey(const Options& options) {
  KeySource source = {.pkcs11_module = options.pkcs11_module};
  if (!options.pass_phrase_file.empty()) {
    KEELSON_ASSIGN_OR_RETURN(source.pass_phrase, ReadText(options.pass_phrase_file));
    while (source.pass_phrase.ends_with('\n')) source.pass_phrase.pop_back();
  }
  return OpenPrivateKey(RealFileSystem(), options.key, source);
}

absl::StatusOr<Certificate> ReadCertificate(const std::string& path) {
  KEELSON_ASSIGN_OR_RETURN(const std::string text, ReadText(path));
  absl::StatusOr<Certificate> certificate = Certificate::Parse(text);
  if (!certificate.ok()) return Annotate(certificate.status(), absl::StrCat("'", path, "'"));
  return certificate;
}

absl::StatusOr<std::vector<Certificate>> ReadTrusted(const Options& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::string text, ReadText(options.trusted));
  absl::StatusOr<std::vector<Certificate>> trusted = ParseCertificates(text);
  if (!trusted.ok()) return Annotate(trusted.status(), absl::StrCat("'", options.trusted, "'"));
  return trusted;
}

// The hash itself, or @FILE.
absl::StatusOr<std::string> RootHash(const std::string& argument) {
  if (!argument.starts_with('@')) return argument;
  KEELSON_ASSIGN_OR_RETURN(std::string text, ReadText(argument.substr(1)));
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

absl::StatusOr<ExitCode> MakeKeys(const Context& context, const Options& options) {
  KEELSON_ASSIGN_OR_RETURN(const absl::Time time, SigningTime(options));
  KEELSON_ASSIGN_OR_RETURN(const std::vector<KeySetFile> files,
                           MakeDevelopmentKeys(options.name, time, RandomGuid()));
  FileSystem& fs = RealFileSystem();
  KEELSON_ASSIGN_OR_RETURN(const bool exists, fs.Exists(options.subject));
  if (exists) {
    KEELSON_ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(options.subject));
    if (!names.empty()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "'", options.subject, "' is not empty: expected no file, found '", names[0], "'"));
    }
  } else if (!context.dry_run) {
    KEELSON_RETURN_IF_ERROR(fs.CreateDirectories(options.subject));
  }
  Output output(context);
  for (const KeySetFile& file : files) {
    KEELSON_RETURN_IF_ERROR(
        output.Write(JoinPath(options.subject, file.name), file.contents, {.secret = file.secret}));
  }
  output.Note("development_only", true);
  if (!context.json()) {
    std::fprintf(stderr, "these are DEVELOPMENT keys: whoever has the folder can sign anything\n");
  }
  output.Finish();
  return ExitCode::kDone;
}

// "ROLE=PATH" or "ROLE=PATH,ROOTHASH"
absl::StatusOr<ReleaseArtifact> ReadArtifact(const std::string& argument) {
  const size_t equals = argument.find('=');
  if (equals == std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--artifact: expected ROLE=PATH or ROLE=PATH,ROOTHASH, found '", argument, "'"));
  }
  ReleaseArtifact artifact;
  artifact.role = argument.substr(0, equals);
  std::string path = argument.substr(equals + 1);
  if (const size_t comma = path.rfind(','); comma != std::string::npos) {
    artifact.root_hash = path.substr(comma + 1);
    path.resize(comma);
  }
  KEELSON_ASSIGN_OR_RETURN(const FileDigest digest, DigestFile(RealFileSystem(), path));
  artifact.name = path.substr(path.rfind('/') + 1);
  artifact.bytes = digest.bytes;
  artifact.sha256 = digest.sha256;
  return artifact;
}

absl::StatusOr<ExitCode> MakeManifest(const Context& context, const Options& options) {
  ReleaseManifest manifest = {.product = options.product,
                              .version = options.version,
                              .architecture = options.architecture,
                              .rollback_index = options.rollback_index};
  KEELSON_ASSIGN_OR_RETURN(manifest.issued, SigningTime(options));
  KEELSON_ASSIGN_OR_RETURN(manifest.expires, ParseTimeOption("--expires", options.expires));
  for (const std::string& argument : options.artifacts) {
    KEELSON_ASSIGN_OR_RETURN(ReleaseArtifact artifact, ReadArtifact(argument));
    manifest.artifacts.push_back(std::move(artifact));
  }
  KEELSON_ASSIGN_OR_RETURN(const std::string text, EncodeManifest(manifest));
  return WriteOne(context, options.to, text);
}

absl::StatusOr<ExitCode> SignRootHashVerb(const Context& context, const Options& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::string root_hash, RootHash(options.subject));
  KEELSON_ASSIGN_OR_RETURN(const PrivateKey key, OpenKey(options));
  KEELSON_ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate(options.certificate));
  KEELSON_ASSIGN_OR_RETURN(std::string signature, SignRootHash(root_hash, key, certificate));
  if (options.as_partition) {
    signature = EncodeVeritySignature({.root_hash = root_hash,
                                       .certificate_fingerprint = certificate.fingerprint(),
                                       .signature = signature});
  }
  return WriteOne(context, options.to, signature);
}

absl::StatusOr<ExitCode> SignPeVerb(const Context& context, const Options& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::string pe,
                           ReadFile(RealFileSystem(), options.subject, kProgramBytesMax));
  KEELSON_ASSIGN_OR_RETURN(const PrivateKey key, OpenKey(options));
  KEELSON_ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate(options.certificate));
  KEELSON_ASSIGN_OR_RETURN(const absl::Time time, SigningTime(options));
  const absl::StatusOr<std::string> signed_pe = SignPe(pe, key, certificate, {.time = time});
  if (!signed_pe.ok()) {
    return Annotate(signed_pe.status(), absl::StrCat("'", options.subject, "'"));
  }
  return WriteOne(context, options.to.empty() ? options.subject : options.to, *signed_pe);
}

absl::StatusOr<ExitCode> SignVariableVerb(const Context& context, const Options& options) {
  KEELSON_ASSIGN_OR_RETURN(const VariableName variable, SecureBootVariable(options.subject));
  KEELSON_ASSIGN_OR_RETURN(const std::string data, ReadText(options.second));
  KEELSON_RETURN_IF_ERROR(Annotate(ParseSignatureLists(data).status(), options.second));
  KEELSON_ASSIGN_OR_RETURN(const PrivateKey key, OpenKey(options));
  KEELSON_ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate(options.certificate));
  VariableUpdate update = {.variable = variable, .data = data};
  if (options.append) update.attributes |= kAppendWrite;
  KEELSON_ASSIGN_OR_RETURN(update.time, SigningTime(options));
  KEELSON_ASSIGN_OR_RETURN(const std::string auth, SignVariable(update, key, certificate));
  return WriteOne(context, options.to, auth);
}

absl::StatusOr<ExitCode> SignManifestVerb(const Context& context, const Options& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::string text, ReadText(options.subject));
  KEELSON_ASSIGN_OR_RETURN(const PrivateKey key, OpenKey(options));
  const absl::StatusOr<std::string> signed_text = SignManifest(text, key);
  if (!signed_text.ok()) {
    return Annotate(signed_text.status(), absl::StrCat("'", options.subject, "'"));
  }
  return WriteOne(context, options.to.empty() ? options.subject : options.to, *signed_text);
}

// The answer of a verb that checks: what `facts` say, or why not.
ExitCode Answer(const Context& context, const std::string& subject, const absl::Status& status,
                const Json& facts) {
  if (context.json()) {
    Json answer = {{"subject", subject}, {"valid", status.ok()}};
    if (status.ok()) {
      answer.update(facts);
    } else {
      answer["reason"] = std::string(status.message());
    }
    std::printf("%s\n", answer.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
  } else if (status.ok()) {
    absl::PrintF("'%s' is valid\n", subject);
    for (const auto& [key, value] : facts.items()) {
      absl::PrintF("  %s: %s\n", key, value.is_string() ? value.get<std::string>() : value.dump());
    }
  } else {
    absl::PrintF("'%s' is refused: %s\n", subject, std::string(status.message()));
  }
  return status.ok() ? ExitCode::kDone : ExitCode::kFailed;
}

// What was given is judged; what cannot be read at all is an error.
template <typename T>
ExitCode AnswerSigner(const Context& context, const std::string& subject,
                      const absl::StatusOr<T>& signer) {
  Json facts;
  if (signer.ok()) {
    facts = {{"signer", signer->subject()}, {"certificate", signer->fingerprint()}};
  }
  return Answer(context, subject, signer.status(), facts);
}

absl::StatusOr<ExitCode> VerifyRootHashVerb(const Context& context, const Options& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::string root_hash, RootHash(options.subject));
  KEELSON_ASSIGN_OR_RETURN(std::string signature, ReadText(options.second));
  KEELSON_ASSIGN_OR_RETURN(const std::vector<Certificate> trusted, ReadTrusted(options));
  if (signature.starts_with('{')) {  // The contents of a verity-sig partition.
    KEELSON_ASSIGN_OR_RETURN(const VeritySignature parsed, ParseVeritySignature(signature));
    signature = parsed.signature;
  }
  return AnswerSigner(context, root_hash, VerifyRootHash(root_hash, signature, trusted));
}

absl::StatusOr<ExitCode> VerifyPeVerb(const Context& context, const Options& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::string pe,
                           ReadFile(RealFileSystem(), options.subject, kProgramBytesMax));
  KEELSON_ASSIGN_OR_RETURN(const std::vector<Certificate> trusted, ReadTrusted(options));
  const absl::StatusOr<PeVerdict> verdict = VerifyPe(pe, trusted);
  Json facts;
  if (verdict.ok()) {
    facts = {{"signer", verdict->signer.subject()},
             {"certificate", verdict->signer.fingerprint()},
             {"digest", Hex(verdict->digest)},
             {"signature", verdict->signature + 1},
             {"signatures", verdict->signatures}};
  }
  return Answer(context, options.subject, verdict.status(), facts);
}

absl::StatusOr<ExitCode> VerifyVariableVerb(const Context& context, const Options& options) {
  KEELSON_ASSIGN_OR_RETURN(const VariableName variable, SecureBootVariable(options.subject));
  KEELSON_ASSIGN_OR_RETURN(const std::string bytes, ReadText(options.second));
  KEELSON_ASSIGN_OR_RETURN(const std::vector<Certificate> trusted, ReadTrusted(options));
  const absl::StatusOr<SignedVariable> parsed = ParseSignedVariable(bytes);
  if (!parsed.ok()) return Answer(context, options.second, parsed.status(), {});
  const uint32_t attributes = kAuthVariableAttributes | (options.append ? kAppendWrite : 0);
  return AnswerSigner(context, options.second,
                      VerifyVariable(variable, attributes, *parsed, trusted));
}

absl::StatusOr<ExitCode> VerifyManifestVerb(const Context& context, const Options& options) {
  KEELSON_ASSIGN_OR_RETURN(const std::string text, ReadText(options.subject));
  KEELSON_ASSIGN_OR_RETURN(const std::string keys, ReadText(options.trusted));
  KEELSON_ASSIGN_OR_RETURN(const ManifestTrust trust, ParseManifestTrust(keys));
  ManifestPolicy policy = {.product = options.product,
                           .architecture = options.architecture,
                           .now = absl::Now(),
                           .rollback_index_min = options.rollback_index};
  if (!options.time.empty()) {
    KEELSON_ASSIGN_OR_RETURN(policy.now, ParseTimeOption("--time", options.time));
  }
  const absl::StatusOr<ReleaseManifest> manifest = VerifyManifest(text, trust, policy);
  Json facts;
  if (manifest.ok()) {
    Json artifacts = Json::array();
    for (const ReleaseArtifact& artifact : manifest->artifacts) {
      artifacts.push_back({{"role", artifact.role},
                           {"name", artifact.name},
                           {"bytes", artifact.bytes},
                           {"sha256", artifact.sha256},
                           {"root_hash", artifact.root_hash}});
    }
    facts = {{"product", manifest->product},
             {"version", manifest->version},
             {"rollback_index", manifest->rollback_index},
             {"artifacts", artifacts}};
  }
  return Answer(context, options.subject, manifest.status(), facts);
}

using Action = absl::StatusOr<ExitCode> (*)(const Context&, const Options&);

class Declare {
 public:
  Declare(CLI::App& app, Context& context, std::shared_ptr<Options> options)
      : app_(app), context_(context), options_(std::move(options)) {}

  CLI::App* Verb(CLI::App* under, const char* name, const char* help, Action action) const {
    CLI::App* verb = (under == nullptr ? app_ : *under).add_subcommand(name, help);
    verb->callback([&context = context_, options = options_, action] {
      context.run = [&context, options, action] { return action(context, *options); };
    });
    return verb;
  }

  void SigningOptions(CLI::App* verb, bool to_is_required) const {
    verb->add_option("--key", options_->key, "Private key: a PEM file, or a pkcs11: URI.")
        ->required();
    verb->add_option("--pass-phrase-file", options_->pass_phrase_file,
                     "File with the pass phrase of an encrypted key.");
    verb->add_option("--pkcs11-module", options_->pkcs11_module,
                     "Shared library of the token of a pkcs11: URI.");
    CLI::Option* to = verb->add_option("--to", options_->to, "Where to write the result.");
    if (to_is_required) to->required();
  }

  void CertificateOption(CLI::App* verb) const {
    verb->add_option("--certificate", options_->certificate, "Certificate of the key, PEM or DER.")
        ->required();
  }

  void TrustedOption(CLI::App* verb) const {
    verb->add_option("--trusted", options_->trusted, "PEM file of the trusted certificates.")
        ->required();
  }

  void TimeOption(CLI::App* verb, const char* help) const {
    verb->add_option("--time", options_->time, help);
  }

 private:
  CLI::App& app_;
  Context& context_;
  std::shared_ptr<Options> options_;
};

constexpr char kTimeHelp[] = "As 2026-06-01T00:00:00Z; default SOURCE_DATE_EPOCH, else now.";

void AddSign(CLI::App& app, const Declare& declare, Options& options) {
  CLI::App* sign =
      app.add_subcommand("sign", "Sign a root hash, UEFI program, variable or release.");
  sign->require_subcommand(1);
  CLI::App* verb = declare.Verb(
      sign, "root-hash", "Detached PKCS#7 over the root hash of dm-verity.", SignRootHashVerb);
  verb->add_option("HASH", options.subject, "The root hash, or @FILE that holds it.")->required();
  declare.SigningOptions(verb, /*to_is_required=*/true);
  declare.CertificateOption(verb);
  verb->add_flag("--as-partition", options.as_partition,
                 "Write the contents of a verity-sig partition: JSON padded to 4096 bytes.");

  verb = declare.Verb(sign, "pe", "Authenticode signature in a UEFI program, beside those it has.",
                      SignPeVerb);
  verb->add_option("FILE", options.subject, "The program; changed in place without --to.")
      ->required();
  declare.SigningOptions(verb, /*to_is_required=*/false);
  declare.CertificateOption(verb);
  declare.TimeOption(verb, kTimeHelp);

  verb = declare.Verb(sign, "variable", "Signed update (.auth) of a Secure Boot variable.",
                      SignVariableVerb);
  verb->add_option("NAME", options.subject, "PK, KEK, db or dbx.")->required();
  verb->add_option("LIST", options.second, "Its new value, an .esl file.")->required();
  verb->add_flag("--append", options.append, "Add to the value instead of replacing it.");
  declare.SigningOptions(verb, /*to_is_required=*/true);
  declare.CertificateOption(verb);
  declare.TimeOption(verb, kTimeHelp);

  verb =
      declare.Verb(sign, "manifest", "One more signature in a release manifest.", SignManifestVerb);
  verb->add_option("FILE", options.subject, "The manifest; changed in place without --to.")
      ->required();
  declare.SigningOptions(verb, /*to_is_required=*/false);
}

void AddVerify(CLI::App& app, const Declare& declare, Options& options) {
  CLI::App* verify =
      app.add_subcommand("verify-signature", "Check what `sign` makes; exit 1 when it is refused.");
  verify->require_subcommand(1);
  CLI::App* verb =
      declare.Verb(verify, "root-hash", "A root hash and its signature.", VerifyRootHashVerb);
  verb->add_option("HASH", options.subject, "The root hash, or @FILE that holds it.")->required();
  verb->add_option("SIGNATURE", options.second, "PKCS#7 in DER, or a verity-sig partition.")
      ->required();
  declare.TrustedOption(verb);

  verb = declare.Verb(verify, "pe", "A signed UEFI program.", VerifyPeVerb);
  verb->add_option("FILE", options.subject, "The program.")->required();
  declare.TrustedOption(verb);

  verb = declare.Verb(verify, "variable", "An .auth file.", VerifyVariableVerb);
  verb->add_option("NAME", options.subject, "PK, KEK, db or dbx.")->required();
  verb->add_option("FILE", options.second, "The .auth file.")->required();
  verb->add_flag("--append", options.append, "It adds to the value.");
  declare.TrustedOption(verb);

  verb = declare.Verb(verify, "manifest", "A release manifest.", VerifyManifestVerb);
  verb->add_option("FILE", options.subject, "The manifest.")->required();
  verb->add_option("--trusted", options.trusted, "Its keys and threshold, manifest-keys.json.")
      ->required();
  verb->add_option("--product", options.product, "Which product it must be for.")->required();
  verb->add_option("--architecture", options.architecture, "Default: x86-64.");
  verb->add_option("--rollback-index", options.rollback_index, "The least that is accepted.");
  declare.TimeOption(verb, "What counts as now; default: the clock.");
}

}  // namespace

void AddTrustVerbs(CLI::App& app, Context& context) {
  const auto options = std::make_shared<Options>();
  const Declare declare(app, context, options);
  CLI::App* verb = declare.Verb(
      nullptr, "keys", "Make a complete set of DEVELOPMENT keys in a new folder.", MakeKeys);
  verb->add_option("FOLDER", options->subject, "Must be missing or empty.")->required();
  verb->add_option("--name", options->name, "Put into the certificates. Default: Keelson.");
  declare.TimeOption(verb, kTimeHelp);

  verb = declare.Verb(nullptr, "manifest", "Make a release manifest without signatures.",
                      MakeManifest);
  verb->add_option("--product", options->product, "Name of the product.")->required();
  verb->add_option("--release", options->version, "Version of the release.")->required();
  verb->add_option("--architecture", options->architecture, "Default: x86-64.");
  verb->add_option("--rollback-index", options->rollback_index,
                   "Grows when older releases must not come back.");
  verb->add_option("--expires", options->expires, "As 2026-06-01T00:00:00Z.")->required();
  verb->add_option("--artifact", options->artifacts,
                   "ROLE=PATH or ROLE=PATH,ROOTHASH; once for each file.")
      ->required();
  verb->add_option("--to", options->to, "Where to write it.")->required();
  declare.TimeOption(verb, kTimeHelp);

  AddSign(app, declare, *options);
  AddVerify(app, declare, *options);
}

}  // namespace keelson::partition
