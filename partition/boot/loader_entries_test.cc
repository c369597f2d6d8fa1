#include "partition/boot/loader_entries.h"

#include <catch2/catch.hpp>

#include <compare>

#include "base/random.h"
#include "base/testing/status_matchers.h"
#include "partition/boot/bls_entry.h"
#include "partition/boot/testing/fat_file_system.h"
#include "partition/boot/uki.h"
#include "partition/boot/version_order.h"
#include "partition/trust/testing/pe_builder.h"

namespace keelson::partition {
namespace {

using Code = absl::StatusCode;
using testing::FatFileSystem;
using testing::MakePe;

// The list of the specification's example, the oldest first.
const std::vector<std::string> kVersions = {
    "122.1",     "123~rc1-1", "123",     "123-a",  "123-a.1", "123-1",   "123-1.1",
    "123^post1", "123.a-1",   "123.1-1", "123a-1", "124-1",   "124.0.9", "124.1"};

bool Older(std::string_view a, std::string_view b) { return std::is_lt(CompareVersions(a, b)); }
bool Same(std::string_view a, std::string_view b) { return std::is_eq(CompareVersions(a, b)); }

// UAPI.10.
TEST_CASE("Versions are in the order of the specification", "[partition][boot]") {
  for (size_t i = 0; i < kVersions.size(); ++i) {
    for (size_t k = 0; k < kVersions.size(); ++k) {
      INFO("'" << kVersions[i] << "' and '" << kVersions[k] << "'");
      CHECK(Older(kVersions[i], kVersions[k]) == (i < k));
      CHECK(Same(kVersions[i], kVersions[k]) == (i == k));
    }
  }
  CHECK(Older("~", ""));
  CHECK(Same("00123", "123"));
  CHECK(Same("123_a", "123a"));
  CHECK(Older("9", "10"));
  CHECK(Older("99999999999999999999998", "99999999999999999999999"));
  CHECK(Older("a", "1"));
  CHECK(Older("abc", "abcde"));
}

TEST_CASE("The order of versions is one", "[partition][boot]") {
  Random random(20260102);
  const auto any = [&] {
    std::string text;
    for (uint64_t n = random.Below(6); n > 0; --n) text += "01a~-^.+"[random.Below(8)];
    return text;
  };
  for (int i = 0; i < 20000; ++i) {
    const std::string a = any();
    const std::string b = any();
    const std::string c = any();
    INFO("'" << a << "' '" << b << "' '" << c << "'");
    CHECK_FALSE((Older(a, b) && Older(b, a)));
    CHECK(Same(a, b) == (!Older(a, b) && !Older(b, a)));
    if (!Older(b, a) && !Older(c, b)) CHECK_FALSE(Older(c, a));
  }
}

// systemd, Automatic Boot Assessment, and config_entry_parse_tries of 252.
TEST_CASE("Counters are read as systemd-boot reads them", "[partition][boot]") {
  struct Row {
    std::string file;
    std::string id;
    std::optional<TryCounter> counter;
    std::string next;
  };
  const Row row = GENERATE(values<Row>({
      {"a.efi", "a.efi", std::nullopt, "a.efi"},
      {"a+3.efi", "a.efi", TryCounter{3, 0}, "a+2-1.efi"},
      {"a+4-0.efi", "a.efi", TryCounter{4, 0}, "a+3-1.efi"},
      {"a+1-2.conf", "a.conf", TryCounter{1, 2}, "a+0-3.conf"},
      {"a+0-3.efi", "a.efi", TryCounter{0, 3}, "a+0-4.efi"},
      {"a+003-01.efi", "a.efi", TryCounter{3, 1}, "a+2-2.efi"},
      {"a+b+2.efi", "a+b.efi", TryCounter{2, 0}, "a+b+1-1.efi"},
      {"a+2147483647.efi", "a.efi", TryCounter{2147483647, 0}, "a+2147483646-1.efi"},
      {"a+2147483648.efi", "a+2147483648.efi", std::nullopt, "a+2147483648.efi"},
      {"a+99999999999999999999.efi", "a+99999999999999999999.efi", std::nullopt,
       "a+99999999999999999999.efi"},
      {"a+.efi", "a+.efi", std::nullopt, "a+.efi"},
      {"a+3-.efi", "a+3-.efi", std::nullopt, "a+3-.efi"},
      {"a+3x.efi", "a+3x.efi", std::nullopt, "a+3x.efi"},
      {"a+-3.efi", "a+-3.efi", std::nullopt, "a+-3.efi"},
      {"a+2+x.efi", "a+2+x.efi", std::nullopt, "a+2+x.efi"},
      {"+3.efi", ".efi", TryCounter{3, 0}, "+2-1.efi"},
      {"A+3.EFI", "A+3.EFI", std::nullopt, "A+3.EFI"},
  }));
  DYNAMIC_SECTION(row.file) {
    const std::optional<EntryName> name = ParseEntryName(row.file);
    REQUIRE(name.has_value());
    CHECK(name->id() == row.id);
    CHECK(name->counter == row.counter);
    CHECK(FileName(AfterOneTry(*name)) == row.next);
  }
}

TEST_CASE("What the loader passes over is no entry", "[partition][boot]") {
  for (const char* name :
       {"", ".efi", ".conf", "a", "a.efi.tmp", ".a.efi", "auto-a.conf", "a.efi~"}) {
    CHECK_FALSE(ParseEntryName(name).has_value());
  }
}

TEST_CASE("Names that FAT or the loader cannot take are refused", "[partition][boot]") {
  KEELSON_REQUIRE_OK(CheckEntryId("keelson_1.2.3-rc1.efi"));
  for (const char* id : {"a", "a+3.efi", "a/b.efi", "a:b.efi", "a?.efi", "a\n.efi", "\xc3\xa4.efi",
                         ".a.efi", "auto-x.efi", "a.EFI", ""}) {
    INFO(id);
    CHECK(CheckEntryId(id).code() == Code::kInvalidArgument);
  }
  KEELSON_CHECK_ERROR(CheckEntryId(std::string(300, 'a') + ".efi"), Code::kInvalidArgument, "220");
}

LoaderEntry Entry(const std::string& file, const std::string& sort_key = "",
                  const std::string& version = "") {
  return {
      .file_name = file, .name = *ParseEntryName(file), .version = version, .sort_key = sort_key};
}

// config_entry_compare of systemd 252; the second comes after the first for the reason given.
TEST_CASE("Entries are in the loader's order", "[partition][boot]") {
  struct Row {
    std::string reason;
    LoaderEntry first;
    LoaderEntry second;
  };
  const Row row = GENERATE(values<Row>({
      {"a bad entry is last", Entry("a.efi"), Entry("z+0-3.efi", "k", "9")},
      {"an entry on trial is not", Entry("b+1-2.efi"), Entry("a.efi")},
      {"one with a sort key is before one without", Entry("a.efi", "k", "1"), Entry("z.efi")},
      {"sort keys count before versions", Entry("a.efi", "a", "1"), Entry("a.efi", "b", "2")},
      {"the newest version is first", Entry("a.efi", "k", "10"), Entry("z.efi", "k", "9")},
      {"a version is newer than its candidates", Entry("a.efi", "k", "2"),
       Entry("z.efi", "k", "2~rc1")},
      {"of equal versions the newest name is first", Entry("b.efi", "k", "1"),
       Entry("a.efi", "k", "1")},
      {"names know no case", Entry("B.efi"), Entry("a.efi")},
      {"names count with their counters", Entry("a+2-1.efi", "k", "1"), Entry("a.efi", "k", "1")},
  }));
  DYNAMIC_SECTION(row.reason) {
    CHECK(ComesBefore(row.first, row.second));
    CHECK_FALSE(ComesBefore(row.second, row.first));
  }
}

TEST_CASE("A setting of the loader goes before the order", "[partition][boot]") {
  const std::vector<LoaderEntry> entries = {Entry("c.efi"), Entry("b+2.efi"), Entry("A.conf")};
  CHECK(ChooseEntry(entries, {}) == &entries[0]);
  CHECK(ChooseEntry(entries, {.default_conf = "b*"}) == &entries[1]);
  CHECK(ChooseEntry(entries, {.default_conf = "B+[0-9].efi"}) == &entries[1]);
  CHECK(ChooseEntry(entries, {.default_conf = "a.conf"}) == &entries[2]);
  CHECK(ChooseEntry(entries, {.default_variable = "a.*", .default_conf = "b*"}) == &entries[2]);
  CHECK(ChooseEntry(entries, {.one_shot = "b*", .default_variable = "a.*"}) == &entries[1]);
  CHECK(ChooseEntry(entries, {.one_shot = "none", .default_conf = "none"}) == &entries[0]);
  CHECK(ChooseEntry({}, {}) == nullptr);
}

void Put(FatFileSystem& fs, const std::string& path, const std::string& contents) {
  KEELSON_REQUIRE_OK(fs.CreateDirectories(path.substr(0, path.rfind('/'))));
  KEELSON_ASSIGN_OR_FAIL(const auto file, fs.Open(path, {.write = true, .create = true}));
  KEELSON_REQUIRE_OK(file->WriteAt(0, contents));
  KEELSON_REQUIRE_OK(file->SyncData());
  KEELSON_REQUIRE_OK(fs.SyncDirectory(path.substr(0, path.rfind('/'))));
}

TEST_CASE("A boot partition's entries are found and the rest is explained", "[partition][boot]") {
  FatFileSystem fs;
  const std::string kernel = MakePe({{".text", "k"}});
  const std::string uki = *AssembleUki(
      MakePe({{".text", "s"}}), {.os_release = "ID=os\nVERSION_ID=2\nNAME=N\n", .linux = kernel});
  Put(fs, "esp/EFI/Linux/os_2+3.efi", uki);
  Put(fs, "esp/EFI/Linux/cut.efi", uki.substr(0, uki.size() - 1));
  Put(fs, "esp/EFI/Linux/kernel.efi", kernel);
  Put(fs, "esp/EFI/Linux/notes.txt", "notes");
  Put(fs, "esp/os/linux", kernel);
  Put(fs, "esp/loader/entries/one.conf", "title One\nversion 1\nsort-key os\nlinux /os/linux\n");
  Put(fs, "esp/loader/entries/gone.conf", "linux /gone\n");
  Put(fs, "esp/loader/entries/arm.conf", "linux /os/linux\narchitecture aa64\n");
  Put(fs, "esp/loader/entries/empty.conf", "title nothing\n");

  std::vector<std::string> left_out;
  KEELSON_ASSIGN_OR_FAIL(const auto entries, ReadLoaderEntries(fs, "esp", &left_out));
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].path() == "EFI/Linux/os_2+3.efi");
  CHECK(entries[0].version == "2");
  CHECK(entries[0].bytes == uki.size());
  CHECK(entries[1].path() == "loader/entries/one.conf");
  CHECK(entries[1].title == "One");
  REQUIRE(left_out.size() == 5);
  CHECK(left_out[0] == "'esp/loader/entries/arm.conf': it is for architecture 'aa64'");
  CHECK(left_out[1].find("neither 'linux' nor 'efi'") != std::string::npos);
  CHECK(left_out[2].find("'/gone' is missing") != std::string::npos);
  CHECK(left_out[3].find("is cut off") != std::string::npos);
  CHECK(left_out[4].find("no unified kernel image") != std::string::npos);
}

TEST_CASE("A boot partition without folders has no entries", "[partition][boot]") {
  FatFileSystem fs;
  KEELSON_ASSIGN_OR_FAIL(const auto entries, ReadLoaderEntries(fs, "esp"));
  CHECK(entries.empty());
}

// UAPI.1, and line_get_key_value of systemd 252.
TEST_CASE("An entry is read line by line, the last of a key counts", "[partition][boot]") {
  KEELSON_ASSIGN_OR_FAIL(
      const BlsEntry entry,
      ParseBlsEntry("# comment\r\n  title\t My OS  \nversion 1\nversion 2\nlinux /k\ninitrd /a\n"
                    "initrd /b\noptions quiet\noptions root=/dev/x\nempty\nfuture \"a b\"\n"));
  CHECK(entry.title == "My OS");
  CHECK(entry.version == "2");
  CHECK(entry.initrd == std::vector<std::string>{"/a", "/b"});
  CHECK(entry.options == "quiet root=/dev/x");
  CHECK(entry.others == std::vector<std::pair<std::string, std::string>>{{"future", "a b"}});
  KEELSON_ASSIGN_OR_FAIL(const std::string text, EncodeBlsEntry(entry));
  KEELSON_ASSIGN_OR_FAIL(const BlsEntry again, ParseBlsEntry(text));
  CHECK(again == entry);
}

TEST_CASE("Entries that could not boot or be read back are refused", "[partition][boot]") {
  KEELSON_CHECK_ERROR(ParseBlsEntry("title x\n"), Code::kInvalidArgument,
                      "neither 'linux' nor 'efi'");
  KEELSON_CHECK_ERROR(ParseBlsEntry(std::string_view("linux /a\0b\n", 11)), Code::kInvalidArgument,
                      "zero byte at 8");
  const auto refuse = [](const BlsEntry& entry, const std::string& fault) {
    KEELSON_CHECK_ERROR(EncodeBlsEntry(entry), Code::kInvalidArgument, fault);
  };
  refuse({.title = "x"}, "neither");
  refuse({.title = "a\nefi /evil", .linux = "/k"}, "'title'");
  refuse({.linux = "/k", .options = " quiet"}, "'options'");
  refuse({.linux = "/k", .others = {{"a b", "c"}}}, "'a b'");
  refuse({.title = "x", .linux = "/k", .others = {{"title", "y"}}}, "read back");
}

TEST_CASE("loader.conf keeps what it is not asked for", "[partition][boot]") {
  LoaderConf conf = ParseLoaderConf("timeout 3\n# comment\ndefault a*\ndefault b*\nnew-key x y\n");
  CHECK(conf.Get("default") == "b*");
  CHECK_FALSE(conf.Get("editor").has_value());
  conf.Set("default", "c*");
  CHECK(EncodeLoaderConf(conf) == "timeout 3\nnew-key x y\ndefault c*\n");
}

}  // namespace
}  // namespace keelson::partition
