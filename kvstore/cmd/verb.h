// How a verb is put under its group, and how it asks the server.
#ifndef KEELSON_KVSTORE_CMD_VERB_H_
#define KEELSON_KVSTORE_CMD_VERB_H_

#include <CLI/CLI.hpp>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "kvstore/cmd/context.h"

namespace keelson::kvctl {

struct VerbText {
  const char* name;
  const char* what;      // one line, for the list of verbs
  const char* words;     // what the positional words are called; null: it takes none
  const char* examples;  // below the flags
};

// Arguments has a std::vector<std::string> words, which `run` checks. Flags are added to the
// result.
template <typename Arguments, typename Run>
CLI::App* AddVerb(CLI::App& parent, Context& context, const VerbText& text,
                  const std::shared_ptr<Arguments>& arguments, Run run) {
  CLI::App* const verb = parent.add_subcommand(text.name, text.what);
  verb->footer(text.examples);
  if (text.words != nullptr) verb->add_option(text.words, arguments->words);
  verb->callback([&context, arguments, run] {
    context.run = [&context, arguments, run] { return run(context, *arguments); };
  });
  return verb;
}

inline CLI::App& AddGroup(CLI::App& root, const char* name, const char* what,
                          const char* examples) {
  CLI::App& group = *root.add_subcommand(name, what);
  group.require_subcommand(0, 1);
  group.footer(examples);
  return group;
}

// The answer of "/etcdserverpb.<method>".
template <typename Response, typename Request>
absl::StatusOr<Response> Ask(kvstore::Client& client, const std::string& method,
                             const Request& request, bool may_repeat = false) {
  return kvstore::InvokeMethod<Response>(client, "/etcdserverpb." + method, request, may_repeat);
}

}  // namespace keelson::kvctl

#endif  // KEELSON_KVSTORE_CMD_VERB_H_
