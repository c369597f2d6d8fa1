#include "partition/boot/systemd_boot.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "partition/boot/bls_entry.h"

namespace keelson::partition {
namespace {

constexpr uint64_t kImageBytesMax = uint64_t{1} << 31;
constexpr uint64_t kConfBytesMax = uint64_t{1} << 20;
// The largest cluster that FAT32 has is 32 KiB; each file and folder may waste one.
constexpr uint64_t kClusterBytesMax = uint64_t{32} << 10;
constexpr uint64_t kFoldersBytes = 4 * kClusterBytesMax;
constexpr char kTemporarySuffix[] = ".keelson-tmp";
constexpr char kLoaderConf[] = "loader/loader.conf";

constexpr int kTemporariesMax = 100;

bool IsTemporary(const std::string& name) {
  return name.starts_with('.') && name.ends_with(kTemporarySuffix);
}

bool SameId(const LoaderEntry& entry, const std::string& id) {
  return absl::EqualsIgnoreCase(entry.name.id(), id);
}

std::string FolderOf(const std::string& id) {
  return id.ends_with(".conf") ? kType1Folder : kType2Folder;
}

// "EFI/Linux" of "\EFI\Linux\keelson_2+2-1.efi", and the name behind it.
std::string LastPart(std::string path) {
  std::replace(path.begin(), path.end(), '\\', '/');
  return path.substr(path.rfind('/') + 1);
}

uint64_t RoundedUp(uint64_t bytes) {
  return (bytes + kClusterBytesMax - 1) / kClusterBytesMax * kClusterBytesMax;
}

std::string WhyNot(const LoaderEntry& entry, const LoaderEntry& next) {
  switch (entry.name.state()) {
    case BootState::kBad:
      return "its tries are gone";
    case BootState::kTrial:
    case BootState::kGood:
      return absl::StrCat("'", next.name.id(), "' comes before it");
  }
  return "";
}

std::string WhyNext(const LoaderEntry& entry, bool first) {
  if (!first) return "a setting of the loader names it";
  switch (entry.name.state()) {
    case BootState::kGood:
      return "the first of the entries, and good";
    case BootState::kTrial:
      return absl::StrFormat("the first of the entries, on trial with %d tries left",
                             entry.name.counter->left);
    case BootState::kBad:
      return "no entry is good or has tries left, and it is the first of the bad ones";
  }
  return "";
}

absl::Status CheckPath(const std::string& path) {
  const bool sound = !path.empty() && path[0] != '/' && path.find("..") == std::string::npos &&
                     path.find('\\') == std::string::npos && !path.ends_with('/');
  if (sound) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("'", path, "' is no path inside of the boot partition"));
}

}  // namespace

SystemdBoot::SystemdBoot(FileSystem& fs, SystemdBootOptions options)
    : fs_(fs), options_(std::move(options)) {}

absl::StatusOr<std::vector<LoaderEntry>> SystemdBoot::Entries() {
  return ReadLoaderEntries(fs_, options_.root);
}

absl::StatusOr<LoaderChoice> SystemdBoot::Choice() {
  LoaderChoice choice;
  const absl::StatusOr<std::string> conf =
      ReadFile(fs_, JoinPath(options_.root, kLoaderConf), kConfBytesMax);
  if (conf.ok()) {
    choice.default_conf = ParseLoaderConf(*conf).Get("default").value_or("");
  } else if (!absl::IsNotFound(conf.status())) {
    return conf.status();
  }
  // A machine without these variables, or one that started without the loader, has no such choice.
  for (const auto& [name, value] : {std::pair{"LoaderEntryOneShot", &choice.one_shot},
                                    std::pair{"LoaderEntryDefault", &choice.default_variable}}) {
    *value = ReadLoaderVariable(fs_, options_.efi_variables, name).value_or("");
  }
  return choice;
}

absl::StatusOr<std::vector<BootCandidate>> SystemdBoot::Candidates() {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<LoaderEntry> entries, Entries());
  KEELSON_ASSIGN_OR_RETURN(const LoaderChoice choice, Choice());
  const LoaderEntry* next = ChooseEntry(entries, choice);
  std::vector<BootCandidate> candidates;
  for (const LoaderEntry& entry : entries) {
    const TryCounter counter = entry.name.counter.value_or(TryCounter{});
    const bool is_next = &entry == next;
    candidates.push_back(
        {.id = entry.name.id(),
         .title = entry.title,
         .version = entry.version,
         .state = entry.name.state(),
         .tries_left = counter.left,
         .tries_done = counter.done,
         .next = is_next,
         .why = is_next ? WhyNext(entry, next == entries.data()) : WhyNot(entry, *next)});
  }
  return candidates;
}

absl::StatusOr<std::string> SystemdBoot::Running() {
  // The first is there when a counter was taken; the second is the name before that.
  for (const char* variable : {"LoaderBootCountPath", "LoaderEntrySelected"}) {
    const absl::StatusOr<std::string> path =
        ReadLoaderVariable(fs_, options_.efi_variables, variable);
    if (absl::IsNotFound(path.status())) continue;
    KEELSON_RETURN_IF_ERROR(path);
    const std::optional<EntryName> name = ParseEntryName(LastPart(*path));
    if (name.has_value()) return name->id();
  }
  return absl::NotFoundError("no EFI variable says which entry this system was started from");
}

absl::StatusOr<LoaderEntry> SystemdBoot::Find(const std::string& id) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<LoaderEntry> entries, Entries());
  const LoaderEntry* found = nullptr;
  for (const LoaderEntry& entry : entries) {
    if (SameId(entry, id) && (found == nullptr || !entry.name.counter.has_value())) found = &entry;
  }
  if (found != nullptr) return *found;
  return absl::NotFoundError(
      absl::StrFormat("no boot entry '%s'; there are: %s", id,
                      absl::StrJoin(entries, ", ", [](std::string* out, const LoaderEntry& entry) {
                        absl::StrAppend(out, entry.name.id());
                      })));
}

absl::StatusOr<bool> SystemdBoot::AnotherGood(const std::string& id) {
  KEELSON_ASSIGN_OR_RETURN(const std::vector<LoaderEntry> entries, Entries());
  return std::any_of(entries.begin(), entries.end(), [&](const LoaderEntry& entry) {
    return entry.name.state() == BootState::kGood && !SameId(entry, id);
  });
}

absl::Status SystemdBoot::CheckRoom(uint64_t bytes) {
  KEELSON_ASSIGN_OR_RETURN(const SpaceInfo space, fs_.Space(options_.root));
  const uint64_t needed = RoundedUp(bytes) + kFoldersBytes;
  if (space.free_bytes >= needed) return absl::OkStatus();
  KEELSON_ASSIGN_OR_RETURN(const std::vector<LoaderEntry> entries, Entries());
  std::vector<std::string> removable;
  for (const LoaderEntry& entry : entries) {
    if (entry.name.state() != BootState::kBad) continue;
    removable.push_back(absl::StrCat("'", entry.name.id(), "' (", entry.bytes, " bytes)"));
  }
  return absl::ResourceExhaustedError(absl::StrFormat(
      "boot partition '%s': expected %d bytes free, found %d of %d; %s", options_.root, needed,
      space.free_bytes, space.capacity_bytes,
      removable.empty() ? "no entry is bad and could go"
                        : "these are bad and could go: " + absl::StrJoin(removable, ", ")));
}

absl::Status SystemdBoot::CheckCommit(const BootImage& image, std::optional<int> tries) {
  KEELSON_RETURN_IF_ERROR(CheckEntryId(image.id));
  if (tries.has_value() && *tries < 1) {
    return absl::InvalidArgumentError(absl::StrCat("expected at least one try, found ", *tries));
  }
  uint64_t bytes = RoundedUp(image.contents.size());
  for (const BootFile& file : image.files) {
    KEELSON_RETURN_IF_ERROR(CheckPath(file.path));
    bytes += RoundedUp(file.contents.size());
  }
  return CheckRoom(bytes);
}

// One that is left of an interrupted call may share its clusters with an entry, so it is neither
// used again nor cut.
absl::StatusOr<std::string> SystemdBoot::UnusedTemporary(const std::string& path) {
  for (int i = 0; i < kTemporariesMax; ++i) {
    // The loader passes over names with a dot at their start.
    std::string name = JoinPath(path, absl::StrCat(".", i, kTemporarySuffix));
    KEELSON_ASSIGN_OR_RETURN(const bool exists, fs_.Exists(name));
    if (!exists) return name;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("'", path, "' holds ", kTemporariesMax, " temporary files of calls that ended"));
}

absl::Status SystemdBoot::WriteNew(const std::string& folder, const std::string& file_name,
                                   std::string_view contents) {
  const std::string path = JoinPath(options_.root, folder);
  KEELSON_RETURN_IF_ERROR(fs_.CreateDirectories(path));
  KEELSON_ASSIGN_OR_RETURN(const std::string temporary, UnusedTemporary(path));
  KEELSON_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                           fs_.Open(temporary, {.write = true, .create = true, .exclusive = true}));
  KEELSON_RETURN_IF_ERROR(file->WriteAt(0, contents));
  KEELSON_RETURN_IF_ERROR(file->SyncData());
  KEELSON_RETURN_IF_ERROR(fs_.Rename(temporary, JoinPath(path, file_name)));
  return fs_.SyncDirectory(path);
}

absl::Status SystemdBoot::WriteFiles(const std::vector<BootFile>& files) {
  for (const BootFile& file : files) {
    const size_t slash = file.path.rfind('/');
    const std::string folder = slash == std::string::npos ? "" : file.path.substr(0, slash);
    const std::string name = slash == std::string::npos ? file.path : file.path.substr(slash + 1);
    const absl::StatusOr<std::string> there =
        ReadFile(fs_, JoinPath(options_.root, file.path), kImageBytesMax);
    if (there.ok() && *there == file.contents) continue;
    if (there.ok()) {  // Perhaps the kernel of the entry that has to boot if this one does not.
      return absl::AlreadyExistsError(
          absl::StrCat("'", file.path, "' is there with other contents"));
    }
    KEELSON_RETURN_IF_ERROR(WriteNew(folder, name, file.contents));
  }
  return absl::OkStatus();
}

absl::Status SystemdBoot::Commit(const BootImage& image, std::optional<int> tries) {
  KEELSON_RETURN_IF_ERROR(CheckEntryId(image.id));
  KEELSON_ASSIGN_OR_RETURN(const std::vector<LoaderEntry> entries, Entries());
  for (const LoaderEntry& entry : entries) {
    if (!SameId(entry, image.id)) continue;
    KEELSON_ASSIGN_OR_RETURN(const std::string contents,
                             ReadFile(fs_, JoinPath(options_.root, entry.path()), kImageBytesMax));
    if (contents == image.contents) return absl::OkStatus();
    return absl::AlreadyExistsError(
        absl::StrCat("'", entry.path(), "' is there with other contents"));
  }
  KEELSON_RETURN_IF_ERROR(CheckCommit(image, tries));
  KEELSON_RETURN_IF_ERROR(WriteFiles(image.files));
  std::optional<EntryName> name = ParseEntryName(image.id);
  if (tries.has_value()) name->counter = TryCounter{.left = *tries};
  return WriteNew(FolderOf(image.id), FileName(*name), image.contents);
}

absl::Status SystemdBoot::Rename(const LoaderEntry& entry, const EntryName& to) {
  const std::string folder = JoinPath(options_.root, entry.folder);
  KEELSON_RETURN_IF_ERROR(
      fs_.Rename(JoinPath(folder, entry.file_name), JoinPath(folder, FileName(to))));
  return fs_.SyncDirectory(folder);
}

absl::Status SystemdBoot::CopyAndRemove(const LoaderEntry& entry, const EntryName& to) {
  const std::string path = JoinPath(options_.root, entry.path());
  KEELSON_RETURN_IF_ERROR(CheckRoom(entry.bytes));
  KEELSON_ASSIGN_OR_RETURN(const std::string contents, ReadFile(fs_, path, kImageBytesMax));
  KEELSON_RETURN_IF_ERROR(WriteNew(entry.folder, FileName(to), contents));
  KEELSON_RETURN_IF_ERROR(fs_.Remove(path));
  return fs_.SyncDirectory(JoinPath(options_.root, entry.folder));
}

absl::Status SystemdBoot::MarkGood(const LoaderEntry& entry) {
  if (!entry.name.counter.has_value()) return absl::OkStatus();
  EntryName good = entry.name;
  good.counter.reset();
  KEELSON_ASSIGN_OR_RETURN(const bool another, AnotherGood(entry.name.id()));
  return another ? Rename(entry, good) : CopyAndRemove(entry, good);
}

absl::Status SystemdBoot::MarkBad(const LoaderEntry& entry) {
  if (entry.name.state() == BootState::kBad) return absl::OkStatus();
  KEELSON_ASSIGN_OR_RETURN(const bool another, AnotherGood(entry.name.id()));
  if (!another) {
    return absl::FailedPreconditionError(
        absl::StrCat("'", entry.name.id(), "' stays: no other entry is known to boot"));
  }
  EntryName bad = entry.name;
  bad.counter = TryCounter{.left = 0, .done = entry.name.counter.value_or(TryCounter{}).done};
  return Rename(entry, bad);
}

absl::Status SystemdBoot::Restore(const LoaderEntry& entry) {
  const absl::StatusOr<std::string> path =
      ReadLoaderVariable(fs_, options_.efi_variables, "LoaderBootCountPath");
  const std::optional<EntryName> started =
      path.ok() ? ParseEntryName(LastPart(*path)) : std::nullopt;
  if (!started.has_value() || !started->counter.has_value() || !SameId(entry, started->id())) {
    return absl::FailedPreconditionError(absl::StrCat(
        "'", entry.name.id(), "': no EFI variable says with which counter it was started"));
  }
  if (entry.name == *started) return absl::OkStatus();
  KEELSON_ASSIGN_OR_RETURN(const bool another, AnotherGood(entry.name.id()));
  return another ? Rename(entry, *started) : CopyAndRemove(entry, *started);
}

absl::Status SystemdBoot::Mark(const std::string& id, BootVerdict verdict,
                               const std::string& /*reason*/) {
  KEELSON_ASSIGN_OR_RETURN(const LoaderEntry entry, Find(id));
  switch (verdict) {
    case BootVerdict::kGood:
      return MarkGood(entry);
    case BootVerdict::kBad:
      return MarkBad(entry);
    case BootVerdict::kIndeterminate:
      return Restore(entry);
  }
  return absl::InternalError("unknown verdict");
}

absl::Status SystemdBoot::CountTry(const std::string& id) {
  KEELSON_ASSIGN_OR_RETURN(const LoaderEntry entry, Find(id));
  switch (entry.name.state()) {
    case BootState::kGood:
      return absl::OkStatus();
    case BootState::kBad:
      return absl::FailedPreconditionError(absl::StrCat("'", id, "' has no tries left"));
    case BootState::kTrial:
      break;
  }
  KEELSON_ASSIGN_OR_RETURN(const bool another, AnotherGood(entry.name.id()));
  const EntryName next = AfterOneTry(entry.name);
  return another ? Rename(entry, next) : CopyAndRemove(entry, next);
}

absl::Status SystemdBoot::Remove(const std::string& id) {
  KEELSON_ASSIGN_OR_RETURN(const LoaderEntry entry, Find(id));
  const absl::StatusOr<std::string> running = Running();
  if (running.ok() && SameId(entry, *running)) {
    return absl::FailedPreconditionError(absl::StrCat("'", id, "' is running"));
  }
  KEELSON_ASSIGN_OR_RETURN(const bool another, AnotherGood(id));
  if (!another) {
    return absl::FailedPreconditionError(
        absl::StrCat("'", id, "' stays: no other entry is known to boot"));
  }
  // The entry goes first, so that none is ever there without its files. A file that is left when
  // the power is cut is room lost, no more.
  KEELSON_ASSIGN_OR_RETURN(const std::vector<LoaderEntry> entries, Entries());
  for (const LoaderEntry& other : entries) {  // A cut rename may have left two names.
    if (!SameId(other, id)) continue;
    KEELSON_RETURN_IF_ERROR(fs_.Remove(JoinPath(options_.root, other.path())));
  }
  KEELSON_RETURN_IF_ERROR(fs_.SyncDirectory(JoinPath(options_.root, entry.folder)));
  return entry.type1.has_value() ? RemoveFilesOf(*entry.type1) : absl::OkStatus();
}

absl::Status SystemdBoot::RemoveFilesOf(const BlsEntry& entry) {
  std::vector<std::string> files = entry.initrd;
  files.push_back(entry.linux);
  KEELSON_ASSIGN_OR_RETURN(const std::vector<LoaderEntry> others, Entries());
  for (const std::string& file : files) {
    const bool used = std::any_of(others.begin(), others.end(), [&](const LoaderEntry& other) {
      return other.type1.has_value() &&
             (absl::EqualsIgnoreCase(other.type1->linux, file) ||
              std::count(other.type1->initrd.begin(), other.type1->initrd.end(), file) > 0);
    });
    const std::string relative = file.substr(std::min(file.find_first_not_of('/'), file.size()));
    if (used || !CheckPath(relative).ok()) continue;
    absl::Status removed = fs_.Remove(JoinPath(options_.root, relative));
    if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
  }
  return absl::OkStatus();
}

// The name in `names` of another file with the contents of `name`; empty if there is none.
absl::StatusOr<std::string> SystemdBoot::TwinOf(const std::string& path, const std::string& name,
                                                const std::vector<std::string>& names) {
  KEELSON_ASSIGN_OR_RETURN(const std::string contents,
                           ReadFile(fs_, JoinPath(path, name), kImageBytesMax));
  for (const std::string& other : names) {
    if (other == name) continue;
    const std::string other_path = JoinPath(path, other);
    const absl::StatusOr<std::unique_ptr<File>> file = fs_.Open(other_path, {});
    if (!file.ok()) continue;  // A folder.
    const absl::StatusOr<uint64_t> size = (*file)->Size();
    if (!size.ok() || *size != contents.size() || contents.empty()) continue;
    KEELSON_ASSIGN_OR_RETURN(const std::string there, ReadFile(fs_, other_path, kImageBytesMax));
    if (there == contents) return other;
  }
  return std::string();
}

absl::Status SystemdBoot::TidyFolder(const std::string& folder, std::vector<std::string>& done) {
  const std::string path = JoinPath(options_.root, folder);
  const absl::StatusOr<std::vector<std::string>> names = fs_.List(path);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();
  KEELSON_RETURN_IF_ERROR(names);
  bool removed = false;
  for (const std::string& name : *names) {
    if (!IsTemporary(name)) continue;
    const std::string temporary = JoinPath(path, name);
    KEELSON_ASSIGN_OR_RETURN(const std::string twin, TwinOf(path, name, *names));
    if (!twin.empty()) {
      done.push_back(absl::StrCat("'", temporary, "' stays: it may share clusters with '", twin,
                                  "', which fsck.fat decides"));
      continue;
    }
    KEELSON_RETURN_IF_ERROR(fs_.Remove(temporary));
    done.push_back(absl::StrCat("'", temporary, "' is removed"));
    removed = true;
  }
  return removed ? fs_.SyncDirectory(path) : absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> SystemdBoot::Tidy() {
  std::vector<std::string> done;
  for (const char* folder : {kType2Folder, kType1Folder, "loader"}) {
    KEELSON_RETURN_IF_ERROR(TidyFolder(folder, done));
  }
  return done;
}

absl::Status SystemdBoot::SetLoaderConf(const std::string& key, const std::string& value) {
  const absl::StatusOr<std::string> text =
      ReadFile(fs_, JoinPath(options_.root, kLoaderConf), kConfBytesMax);
  if (!text.ok() && !absl::IsNotFound(text.status())) return text.status();
  LoaderConf conf = ParseLoaderConf(text.value_or(""));
  conf.Set(key, value);
  const std::string encoded = EncodeLoaderConf(conf);
  if (ParseLoaderConf(encoded).Get(key) != value) {
    return absl::InvalidArgumentError(
        absl::StrCat("loader.conf: '", key, " ", value, "' would not be read back as it is"));
  }
  KEELSON_RETURN_IF_ERROR(CheckRoom(encoded.size()));
  return WriteNew("loader", "loader.conf", encoded);
}

}  // namespace keelson::partition
