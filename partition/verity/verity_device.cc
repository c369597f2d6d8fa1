#include "partition/verity/verity_device.h"

#include <linux/keyctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"

namespace keelson::partition {
namespace {

constexpr size_t kFixedWords = 10;

absl::Status CheckWord(const char* what, const std::string& word) {
  const bool sound = std::none_of(word.begin(), word.end(), [](unsigned char c) {
    return absl::ascii_isspace(c) || absl::ascii_iscntrl(c);
  });
  if (!word.empty() && sound) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what, " '", absl::CHexEscape(word), "': expected a name without blanks"));
}

const char* CorruptionWord(OnCorruption on_corruption) {
  switch (on_corruption) {
    case OnCorruption::kFailRead:
      return "";
    case OnCorruption::kIgnore:
      return "ignore_corruption";
    case OnCorruption::kRestart:
      return "restart_on_corruption";
    case OnCorruption::kPanic:
      return "panic_on_corruption";
  }
  return "";
}

std::vector<std::string> OptionWords(const VerityTable& table) {
  std::vector<std::string> words;
  if (table.on_corruption != OnCorruption::kFailRead) {
    words.emplace_back(CorruptionWord(table.on_corruption));
  }
  if (table.ignore_zero_blocks) words.emplace_back("ignore_zero_blocks");
  if (table.check_at_most_once) words.emplace_back("check_at_most_once");
  if (table.fec.has_value()) {
    const VerityFecTable& fec = *table.fec;
    for (auto& word :
         {std::string("use_fec_from_device"), fec.device, std::string("fec_start"),
          absl::StrCat(fec.start_block), std::string("fec_blocks"), absl::StrCat(fec.blocks),
          std::string("fec_roots"), absl::StrCat(fec.roots)}) {
      words.push_back(word);
    }
  }
  if (!table.signature_key.empty()) {
    words.emplace_back("root_hash_sig_key_desc");
    words.push_back(table.signature_key);
  }
  if (table.use_tasklets) words.emplace_back("try_verify_in_tasklet");
  return words;
}

// Reads words one after the other.
class Words {
 public:
  explicit Words(std::string_view text)
      : words_(
            absl::StrSplit(absl::string_view(text.data(), text.size()), ' ', absl::SkipEmpty())) {}

  [[nodiscard]] bool empty() const { return at_ == words_.size(); }
  [[nodiscard]] size_t left() const { return words_.size() - at_; }
  [[nodiscard]] std::string Peek() const { return empty() ? std::string() : words_[at_]; }
  std::string Next() { return empty() ? std::string() : words_[at_++]; }

  template <typename Number>
  absl::Status Take(const char* what, Number& number) {
    const std::string word = Next();
    if (absl::SimpleAtoi(word, &number)) return absl::OkStatus();
    return Unknown(what, word);
  }

  absl::Status TakeHex(const char* what, std::string& bytes) {
    const std::string word = Next();
    const bool hex = std::all_of(word.begin(), word.end(),
                                 [](unsigned char c) { return absl::ascii_isxdigit(c); });
    if (word.empty() || word.size() % 2 != 0 || !hex) return Unknown(what, word);
    bytes = absl::HexStringToBytes(word);
    return absl::OkStatus();
  }

  static absl::Status Unknown(const char* what, const std::string& word) {
    return absl::InvalidArgumentError(
        absl::StrCat("verity table: ", what, " '", absl::CHexEscape(word), "' is not understood"));
  }

 private:
  const std::vector<std::string> words_;
  size_t at_ = 0;
};

absl::Status TakeOption(Words& words, VerityTable& table) {
  const std::string word = words.Next();
  for (const OnCorruption choice :
       {OnCorruption::kIgnore, OnCorruption::kRestart, OnCorruption::kPanic}) {
    if (word != CorruptionWord(choice)) continue;
    table.on_corruption = choice;
    return absl::OkStatus();
  }
  if (word == "ignore_zero_blocks") {
    table.ignore_zero_blocks = true;
  } else if (word == "check_at_most_once") {
    table.check_at_most_once = true;
  } else if (word == "try_verify_in_tasklet") {
    table.use_tasklets = true;
  } else if (word == "root_hash_sig_key_desc") {
    table.signature_key = words.Next();
  } else if (word == "use_fec_from_device") {
    if (!table.fec.has_value()) table.fec.emplace();
    table.fec->device = words.Next();
  } else if (word.starts_with("fec_")) {
    if (!table.fec.has_value()) table.fec.emplace();
    if (word == "fec_start") return words.Take("fec_start", table.fec->start_block);
    if (word == "fec_blocks") return words.Take("fec_blocks", table.fec->blocks);
    if (word == "fec_roots") return words.Take("fec_roots", table.fec->roots);
    return Words::Unknown("option", word);
  } else {
    return Words::Unknown("option", word);
  }
  return absl::OkStatus();
}

// Through the device: an I/O error there is the kernel's word for damage.
absl::Status ReadEnds(const std::string& path, const VerityTable& table, const OpenDevice& open) {
  KEELSON_ASSIGN_OR_RETURN(const auto device, open(path));
  std::string block(table.params.data_block_bytes, '\0');
  for (const uint64_t index : {uint64_t{0}, table.params.data_blocks - 1}) {
    const absl::Status status = device->Read(index * block.size(), {block.data(), block.size()});
    if (!status.ok()) {
      return absl::DataLossError(absl::StrCat(
          "block ", index, " of '", path,
          "' does not match the root hash, or cannot be read: ", std::string(status.message())));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> VerityTableText(const VerityTable& table) {
  const VerityParams& params = table.params;
  KEELSON_ASSIGN_OR_RETURN(const TreeShape shape, ShapeOf(params));
  if (table.root_hash.size() != shape.digest_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("root hash of ", table.root_hash.size(),
                                                   " bytes: ", params.algorithm, " has ",
                                                   shape.digest_bytes));
  }
  KEELSON_RETURN_IF_ERROR(CheckWord("data device", table.data_device));
  KEELSON_RETURN_IF_ERROR(CheckWord("hash device", table.hash_device));
  if (table.fec.has_value()) KEELSON_RETURN_IF_ERROR(CheckWord("FEC device", table.fec->device));
  if (!table.signature_key.empty()) {
    KEELSON_RETURN_IF_ERROR(CheckWord("signature key", table.signature_key));
  }
  std::string text = absl::StrCat(params.hash_type, " ", table.data_device, " ", table.hash_device,
                                  " ", params.data_block_bytes, " ", params.hash_block_bytes, " ",
                                  params.data_blocks, " ", table.hash_start_block, " ");
  absl::StrAppend(&text, params.algorithm, " ", absl::BytesToHexString(table.root_hash), " ",
                  params.salt.empty() ? "-" : absl::BytesToHexString(params.salt));
  const std::vector<std::string> options = OptionWords(table);
  if (!options.empty()) {
    absl::StrAppend(&text, " ", options.size(), " ", absl::StrJoin(options, " "));
  }
  return text;
}

absl::StatusOr<VerityTable> ParseVerityTable(std::string_view text) {
  Words words(text);
  if (words.left() < kFixedWords) {
    return absl::InvalidArgumentError(absl::StrCat("verity table: expected ", kFixedWords,
                                                   " words at least, found ", words.left()));
  }
  VerityTable table;
  KEELSON_RETURN_IF_ERROR(words.Take("hash type", table.params.hash_type));
  table.data_device = words.Next();
  table.hash_device = words.Next();
  KEELSON_RETURN_IF_ERROR(words.Take("data block size", table.params.data_block_bytes));
  KEELSON_RETURN_IF_ERROR(words.Take("hash block size", table.params.hash_block_bytes));
  KEELSON_RETURN_IF_ERROR(words.Take("data blocks", table.params.data_blocks));
  KEELSON_RETURN_IF_ERROR(words.Take("hash start", table.hash_start_block));
  table.params.algorithm = words.Next();
  KEELSON_RETURN_IF_ERROR(words.TakeHex("root hash", table.root_hash));
  if (words.Peek() == "-") {
    (void)words.Next();  // No salt.
  } else {
    KEELSON_RETURN_IF_ERROR(words.TakeHex("salt", table.params.salt));
  }
  if (!words.empty()) {
    uint64_t count = 0;
    KEELSON_RETURN_IF_ERROR(words.Take("number of options", count));
    if (count != words.left()) {
      return absl::InvalidArgumentError(
          absl::StrCat("verity table: expected ", count, " option words, found ", words.left()));
    }
    while (!words.empty()) KEELSON_RETURN_IF_ERROR(TakeOption(words, table));
  }
  KEELSON_RETURN_IF_ERROR(Annotate(VerityTableText(table).status(), "verity table"));
  return table;
}

std::string VerityDeviceUuid(const VerityUuid& uuid, std::string_view name) {
  return absl::StrCat(
      "CRYPT-VERITY-",
      absl::BytesToHexString({reinterpret_cast<const char*>(uuid.data()), uuid.size()}), "-",
      std::string(name));
}

absl::StatusOr<VerityPartitionGuids> PartitionGuidsOf(std::string_view root_hash) {
  if (root_hash.size() < 2 * sizeof(VerityUuid)) {
    return absl::InvalidArgumentError(
        absl::StrCat("root hash of ", root_hash.size(), " bytes: GUIDs of partitions take 32"));
  }
  const auto guid = [](std::string_view bytes) {
    VerityUuid uuid{};
    std::copy(bytes.begin(), bytes.end(), uuid.begin());
    return ParseGuid(ToString(uuid)).value();
  };
  constexpr size_t kBytes = sizeof(VerityUuid);
  return VerityPartitionGuids{.data = guid(root_hash.substr(0, kBytes)),
                              .hash = guid(root_hash.substr(root_hash.size() - kBytes))};
}

absl::StatusOr<DmDevice> ActivateVerity(DeviceMapper& mapper, const VerityActivation& activation,
                                        const OpenDevice& open) {
  const VerityTable& table = activation.table;
  KEELSON_ASSIGN_OR_RETURN(const std::string text, VerityTableText(table));
  KEELSON_ASSIGN_OR_RETURN(
      const DmDevice device,
      mapper.Create(activation.name, VerityDeviceUuid(activation.uuid, activation.name),
                    {{.sectors = table.sectors(), .type = "verity", .parameters = text}}));
  if (table.on_corruption == OnCorruption::kIgnore) return device;
  absl::Status status = ReadEnds(absl::StrCat("/dev/mapper/", activation.name), table, open);
  if (status.ok()) {
    const absl::StatusOr<std::vector<DmTarget>> said = mapper.Status(activation.name);
    status.Update(said.status());
    if (said.ok() && (said->empty() || !said->front().parameters.starts_with("V"))) {
      status = absl::DataLossError(absl::StrCat("device '", activation.name, "': the kernel says '",
                                                said->empty() ? "" : said->front().parameters,
                                                "', expected V"));
    }
  }
  if (status.ok()) return device;
  (void)mapper.Remove(activation.name, /*deferred=*/false);  // The first error counts.
  return status;
}

absl::Status AddSignatureKey(const std::string& description, std::string_view signature) {
  KEELSON_RETURN_IF_ERROR(CheckWord("signature key", description));
  const int64_t key = ::syscall(SYS_add_key, "user", description.c_str(), signature.data(),
                                signature.size(), KEY_SPEC_THREAD_KEYRING);
  if (key >= 0) return absl::OkStatus();
  return ErrnoError(errno, absl::StrCat("add key '", description, "'"));
}

}  // namespace keelson::partition
