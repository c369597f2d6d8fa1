"""What documents tell a reader to type exists: verbs of ./keelson, their options, and paths of scripts.

And README.md says of each of its blocks what the test of its commands should do with it.
"""

import os
import pathlib
import re

import common
import readme_test

# What a document shows on a line of its own, in a fence or as code in a sentence.
_COMMAND = re.compile(r"(?:^\s*\$?\s*|`)\./keelson((?:[ ][^`\n#;|&)]*)?)", re.MULTILINE)
_HELP = pathlib.Path("tools/help.txt")


def pages(help_text):
    """verb -> its page of tools/help.txt."""
    parts = re.split(r"^== (\w+)\n", help_text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def check_command(words, verbs):
    """What is wrong with the words after ./keelson; empty when nothing is."""
    words = [word for word in words if word not in ("\\", "...")]
    if not words or words[0].startswith("-"):
        return ""
    verb = words[0]
    # A list of verbs, or a placeholder as in `./keelson VERB`.
    if verb.isupper() or "|" in verb:
        return ""
    if verb not in verbs:
        return f"./keelson has no verb '{verb}'"
    for word in words[1:]:
        if word == "--":
            break
        option = re.match(r"--[\w-]+", word)
        # bench and sim pass their options on to programs with help of their own.
        if option and verb not in ("bench", "sim", "build") and option.group() != "--help" \
                and option.group() not in verbs[verb]:
            return f"./keelson {verb} has no option '{option.group()}'"
    return ""


def run(_):
    verbs = pages(_HELP.read_text())
    verbs.pop("overview", None)
    problems = []
    for path in common.tracked_files(".md"):
        text = pathlib.Path(path).read_text()
        for match in _COMMAND.finditer(text):
            wrong = check_command(match.group(1).split(), verbs)
            if wrong:
                problems.append(f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {wrong}")
        for match in re.finditer(r"`(tools/[\w./-]+|\.ci/\w+)`", text):
            if not os.path.exists(match.group(1)):
                problems.append(f"{path}: `{match.group(1)}` does not exist")
    try:
        readme_test.read_steps(pathlib.Path("README.md").read_text())
    except readme_test.DocumentError as error:
        problems.append(f"README.md: {error}")
    return problems
