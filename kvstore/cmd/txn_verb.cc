// txn: three blocks of lines from standard input, each ended by an empty line.
#include <CLI/CLI.hpp>

#include <istream>
#include <memory>
#include <string>

#include "kvstore/cmd/txn_lines.h"
#include "kvstore/cmd/verbs.h"

namespace keelson::kvctl {
namespace {

// Calls `parse` for each line of one block. The end of the input inside a block is an error:
// a transaction that was cut off must not run.
template <typename Parse>
Outcome ReadBlock(std::istream& in, const Parse& parse) {
  std::string line;
  while (std::getline(in, line)) {
    if (line.empty()) return Done();
    Outcome outcome = parse(line);
    if (outcome.exit != Exit::kOk) return outcome;
  }
  return Fail(Exit::kInvalidInput, "EOF");
}

Outcome ReadTxn(Context& context, bool interactive, etcdserverpb::TxnRequest* request) {
  const auto prompt = [&](const char* text) {
    if (interactive) context.out << text << std::endl;
  };
  prompt("compares:");
  Outcome outcome = ReadBlock(context.in, [&](const std::string& line) {
    return ParseCompare(line, request->add_compare());
  });
  if (outcome.exit != Exit::kOk) return outcome;
  prompt("success requests (get, put, del):");
  outcome = ReadBlock(context.in, [&](const std::string& line) {
    return ParseOperation(line, request->add_success());
  });
  if (outcome.exit != Exit::kOk) return outcome;
  prompt("failure requests (get, put, del):");
  return ReadBlock(context.in, [&](const std::string& line) {
    return ParseOperation(line, request->add_failure());
  });
}

Outcome RunTxn(Context& context, bool interactive) {
  std::unique_ptr<Printer> printer;
  Outcome outcome = context.MakePrinter(false, &printer);
  if (outcome.exit != Exit::kOk) return outcome;
  std::unique_ptr<kvstore::Client> client;
  outcome = context.Connect(&client);
  if (outcome.exit != Exit::kOk) return outcome;
  etcdserverpb::TxnRequest request;
  outcome = ReadTxn(context, interactive, &request);
  if (outcome.exit != Exit::kOk) return outcome;
  const auto answer = client->Txn(request);
  if (!answer.ok()) return Fail(answer.status());
  return printer->Txn(*answer);
}

}  // namespace

void AddTxn(CLI::App& root, Context& context) {
  CLI::App* app = root.add_subcommand("txn", "Runs several requests in one transaction");
  app->footer(
      "Reads comparisons, then operations for the case that all hold, then operations for the\n"
      "other case; each of the three blocks ends with an empty line.\n\n"
      "Examples:\n"
      "  kvctl txn -i\n"
      "  printf 'mod(\"a\") = \"0\"\\n\\nput a 1\\n\\nget a\\n\\n' | kvctl txn");
  const auto interactive = std::make_shared<bool>(false);
  app->add_flag("-i,--interactive", *interactive, "Ask for each block");
  app->callback([&context, interactive] {
    context.run = [&context, interactive] { return RunTxn(context, *interactive); };
  });
}

}  // namespace keelson::kvctl
