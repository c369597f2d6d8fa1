// completion: scripts that let a shell complete kvctl's verbs and flags. Made from the verbs
// themselves, so that none is forgotten.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kvstore/cmd/verb.h"
#include "kvstore/cmd/verbs.h"

namespace keelson::kvctl {
namespace {

struct CompletionArguments {
  std::vector<std::string> words;
};

// A verb or group: the words that lead to it, and what may follow.
struct Place {
  std::vector<std::string> path;
  std::vector<std::string> verbs;
  std::vector<std::string> flags;
};

void Collect(const CLI::App& app, const std::vector<std::string>& path,
             std::vector<Place>& places) {
  Place place;
  place.path = path;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& flag : option->get_lnames()) place.flags.push_back("--" + flag);
  }
  for (const CLI::App* verb : app.get_subcommands(nullptr)) place.verbs.push_back(verb->get_name());
  places.push_back(place);
  for (const CLI::App* verb : app.get_subcommands(nullptr)) {
    std::vector<std::string> deeper = path;
    deeper.push_back(verb->get_name());
    Collect(*verb, deeper, places);
  }
}

std::string WordsOf(const Place& place, const Place& root) {
  std::vector<std::string> words = place.verbs;
  words.insert(words.end(), place.flags.begin(), place.flags.end());
  if (&place != &root) words.insert(words.end(), root.flags.begin(), root.flags.end());
  return absl::StrJoin(words, " ");
}

std::string Bash(const std::vector<Place>& places) {
  std::string known;
  std::string cases;
  for (const Place& place : places) {
    const std::string path = absl::StrJoin(place.path, " ");
    if (!path.empty()) absl::StrAppend(&known, known.empty() ? "" : "|", "\" ", path, "\"");
    absl::StrAppend(&cases, "    \"", path.empty() ? "" : " ", path, "\") words=\"",
                    WordsOf(place, places.front()), "\" ;;\n");
  }
  return absl::StrCat(
      "# bash completion for kvctl: eval \"$(kvctl completion bash)\"\n"
      "_kvctl() {\n"
      "  local cur=\"${COMP_WORDS[COMP_CWORD]}\" path=\"\" word words=\"\"\n"
      "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
      "    case \"$path $word\" in\n      ",
      known, ") path=\"$path $word\" ;;\n    esac\n  done\n  case \"$path\" in\n", cases,
      "  esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
      "}\n"
      "complete -o default -F _kvctl kvctl\n");
}

std::string Zsh(const std::vector<Place>& places) {
  return absl::StrCat(
      "# zsh completion for kvctl: source <(kvctl completion zsh)\n"
      "autoload -U +X bashcompinit && bashcompinit\n",
      Bash(places));
}

std::string Fish(const std::vector<Place>& places) {
  std::string script = "# fish completion for kvctl: kvctl completion fish | source\n";
  for (const Place& place : places) {
    const std::string words =
        absl::StrCat(absl::StrJoin(place.verbs, " "), " ", absl::StrJoin(place.flags, " "));
    std::vector<std::string> conditions;
    for (const std::string& word : place.path) {
      conditions.push_back("__fish_seen_subcommand_from " + word);
    }
    const std::string when =
        place.path.empty() ? "__fish_use_subcommand" : absl::StrJoin(conditions, "; and ");
    absl::StrAppend(&script, "complete -c kvctl -n '", when, "' -a '", words, "'\n");
  }
  return script;
}

std::string PowerShell(const std::vector<Place>& places) {
  std::string table;
  for (const Place& place : places) {
    absl::StrAppend(&table, "    '", absl::StrJoin(place.path, " "), "' = '",
                    WordsOf(place, places.front()), "'\n");
  }
  return absl::StrCat(
      "# PowerShell completion for kvctl: kvctl completion powershell | Out-String | "
      "Invoke-Expression\n"
      "Register-ArgumentCompleter -Native -CommandName 'kvctl' -ScriptBlock {\n"
      "  param($wordToComplete, $commandAst, $cursorPosition)\n"
      "  $table = @{\n",
      table,
      "  }\n"
      "  $path = ''\n"
      "  foreach ($element in $commandAst.CommandElements | Select-Object -Skip 1) {\n"
      "    $next = (\"$path \" + $element.Extent.Text).Trim()\n"
      "    if ($table.ContainsKey($next)) { $path = $next }\n"
      "  }\n"
      "  $table[$path].Split(' ') | Where-Object { $_ -like \"$wordToComplete*\" } |\n"
      "    ForEach-Object { [System.Management.Automation.CompletionResult]::new($_) }\n"
      "}\n");
}

Outcome RunCompletion(Context& context, const CLI::App& root,
                      const CompletionArguments& arguments) {
  static const std::map<std::string, std::string (*)(const std::vector<Place>&)> kShells = {
      {"bash", Bash}, {"zsh", Zsh}, {"fish", Fish}, {"powershell", PowerShell}};
  const auto shell = arguments.words.size() == 1 ? kShells.find(arguments.words[0]) : kShells.end();
  if (shell == kShells.end()) {
    return Fail(Exit::kBadArguments, "completion needs bash, zsh, fish or powershell");
  }
  std::vector<Place> places;
  Collect(root, {}, places);
  context.out << shell->second(places);
  return Done();
}

}  // namespace

void AddCompletion(CLI::App& root, Context& context) {
  AddVerb(root, context,
          {"completion", "Prints a script that completes verbs and flags", "shell",
           "The shell is bash, zsh, fish or powershell.\n\n"
           "Examples:\n  eval \"$(kvctl completion bash)\""},
          std::make_shared<CompletionArguments>(),
          [&root](Context& c, const CompletionArguments& arguments) {
            return RunCompletion(c, root, arguments);
          });
}

}  // namespace keelson::kvctl
