// put, get, del, compaction and version.
#include <CLI/CLI.hpp>

#include <iterator>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/version.h"
#include "kvstore/cmd/kv_requests.h"
#include "kvstore/cmd/verbs.h"

namespace keelson::kvctl {
namespace {

// Connects, calls `method` with `request` and hands the answer to `print`.
template <typename Request, typename Call, typename Print>
Outcome Ask(Context& context, bool value_only, const Request& request, const Call& call,
            const Print& print) {
  std::unique_ptr<Printer> printer;
  Outcome outcome = context.MakePrinter(value_only, &printer);
  if (outcome.exit != Exit::kOk) return outcome;
  std::unique_ptr<kvstore::Client> client;
  outcome = context.Connect(&client);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto answer = call(*client, request);
  if (!answer.ok()) return Fail(answer.status());
  return print(*printer, *answer);
}

Outcome RunGet(Context& context, const GetArguments& arguments) {
  if (arguments.value_only && context.flags.write_out != "simple") {
    return Fail(Exit::kBadArguments, "print-value-only is only for `--write-out=simple`");
  }
  if (arguments.count_only && context.flags.write_out == "simple") {
    return Fail(Exit::kBadArguments, "--count-only is only for `--write-out=fields` and json");
  }
  etcdserverpb::RangeRequest request;
  Outcome outcome = ToRequest(arguments, &request);
  if (outcome.exit != Exit::kOk) return outcome;
  return Ask(
      context, arguments.value_only, request,
      [](kvstore::Client& client, const auto& r) { return client.Range(r); },
      [](Printer& printer, const auto& answer) { return printer.Range(answer); });
}

Outcome RunPut(Context& context, const PutArguments& arguments) {
  etcdserverpb::PutRequest request;
  const auto read_all = [&context] {
    return std::string(std::istreambuf_iterator<char>(context.in), {});
  };
  Outcome outcome = ToRequest(arguments, read_all, &request);
  if (outcome.exit != Exit::kOk) return outcome;
  return Ask(
      context, false, request, [](kvstore::Client& client, const auto& r) { return client.Put(r); },
      [](Printer& printer, const auto& answer) { return printer.Put(answer); });
}

Outcome RunDelete(Context& context, const DeleteArguments& arguments) {
  etcdserverpb::DeleteRangeRequest request;
  Outcome outcome = ToRequest(arguments, &request);
  if (outcome.exit != Exit::kOk) return outcome;
  return Ask(
      context, false, request,
      [](kvstore::Client& client, const auto& r) { return client.DeleteRange(r); },
      [](Printer& printer, const auto& answer) { return printer.Delete(answer); });
}

Outcome RunCompaction(Context& context, const std::optional<std::string>& revision, bool physical) {
  if (!revision) return Fail(Exit::kBadArguments, "compaction command needs 1 argument");
  etcdserverpb::CompactionRequest request;
  int64_t number = 0;
  Outcome outcome = ParseInt(*revision, 10, &number);
  if (outcome.exit != Exit::kOk) return outcome;
  request.set_revision(number);
  request.set_physical(physical);
  return Ask(
      context, false, request,
      [](kvstore::Client& client, const auto& r) { return client.Compact(r); },
      [&](Printer& /*printer*/, const auto& /*answer*/) {
        context.out << "compacted revision " << number << "\n";  // The same in every form.
        return Done();
      });
}

}  // namespace

void AddPut(CLI::App& root, Context& context) {
  CLI::App* app = root.add_subcommand("put", "Puts the given key into the store");
  app->footer(
      "Examples:\n"
      "  kvctl put greeting hello\n"
      "  kvctl put config -- -starts-with-a-dash\n"
      "  cat file | kvctl put --lease=32695410dcc0ca06 config");
  const auto arguments = std::make_shared<PutArguments>();
  AddOptions(*app, *arguments);
  app->callback([&context, arguments] {
    context.run = [&context, arguments] { return RunPut(context, *arguments); };
  });
}

void AddGet(CLI::App& root, Context& context) {
  CLI::App* app = root.add_subcommand("get", "Gets the key or a range of keys");
  app->footer(
      "Examples:\n"
      "  kvctl get greeting\n"
      "  kvctl get --prefix services/ --keys-only --limit=10\n"
      "  kvctl get --prefix \"\" --count-only -w fields");
  const auto arguments = std::make_shared<GetArguments>();
  AddOptions(*app, *arguments);
  app->callback([&context, arguments] {
    context.run = [&context, arguments] { return RunGet(context, *arguments); };
  });
}

void AddDelete(CLI::App& root, Context& context) {
  CLI::App* app = root.add_subcommand("del", "Removes the specified key or range of keys");
  app->footer(
      "Examples:\n"
      "  kvctl del greeting --prev-kv\n"
      "  kvctl del --prefix services/");
  const auto arguments = std::make_shared<DeleteArguments>();
  AddOptions(*app, *arguments);
  app->callback([&context, arguments] {
    context.run = [&context, arguments] { return RunDelete(context, *arguments); };
  });
}

void AddCompaction(CLI::App& root, Context& context) {
  CLI::App* app = root.add_subcommand("compaction", "Forgets the history before a revision");
  app->footer(
      "Examples:\n"
      "  kvctl compaction 1234\n"
      "  kvctl compaction 1234 --physical");
  struct Arguments {
    std::optional<std::string> revision;
    bool physical = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  app->add_option("revision", arguments->revision, "The oldest revision to keep");
  app->add_flag("--physical", arguments->physical, "Wait until the old revisions are removed");
  app->callback([&context, arguments] {
    context.run = [&context, arguments] {
      return RunCompaction(context, arguments->revision, arguments->physical);
    };
  });
}

void AddVersion(CLI::App& root, Context& context) {
  CLI::App* app = root.add_subcommand("version", "Prints the version of kvctl");
  app->footer(
      "Examples:\n"
      "  kvctl version\n"
      "  kvctl version -w json");
  app->callback([&context] {
    context.run = [&context] {
      const auto version = Version();
      if (context.flags.write_out == "json") {
        context.out << "{\"kvctl\":\"" << version << "\",\"api\":\"3.6\"}\n";
      } else {
        context.out << "kvctl version: " << version << "\nAPI version: 3.6\n";
      }
      return Done();
    };
  });
}

}  // namespace keelson::kvctl
