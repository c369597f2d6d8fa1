"""Documents point at what is there: links at files and headings, rows of docs/specs at tests."""

import os
import pathlib
import re

import common

_FENCE = re.compile(r"^ {0,3}(```|~~~).*?^ {0,3}\1[ \t]*$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"(`+)[^`]*?\1")
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)
# raft/core_test.cc "A claim", "Another claim"
_PROOF = re.compile(r"\b([\w./-]+_test\.(?:cc|py))((?:,? \"[^\"|]+\")*)")
_ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")


def _blank(match):
    return re.sub(r"[^\n]", " ", match.group())


def slugs(text):
    """The anchors that a rendered document has, by the rule of GitHub."""
    text = _FENCE.sub(_blank, text)
    found, seen = set(_ANCHOR.findall(text)), {}
    for heading in _HEADING.findall(text):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(slug if count == 0 else f"{slug}-{count}")
    return found


def links(text):
    """(line, target) of every link outside of code."""
    text = _CODE.sub(_blank, _FENCE.sub(_blank, text))
    return [(text.count("\n", 0, match.start()) + 1, match.group(1) or match.group(2))
            for match in _LINK.finditer(text)]


def check_document(path, text, read, exists):
    """The problems of one document; `read` and `exists` stand for the tree."""
    problems = []
    for line, target in links(text):
        if re.match(r"[a-z][a-z0-9+.-]*:", target, re.IGNORECASE):
            continue  # Somewhere else; a check must not need the network.
        file, _, anchor = target.partition("#")
        goal = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
        if goal.startswith("..") or file.startswith("/"):
            problems.append(f"{path}:{line}: '{target}' leaves the tree")
        elif goal != path and not exists(goal):
            problems.append(f"{path}:{line}: '{target}' does not exist")
        elif anchor and goal.endswith(".md") and anchor not in slugs(text if goal == path else read(goal)):
            problems.append(f"{path}:{line}: '{target}' names a heading that does not exist")
    return problems


def check_proofs(path, text, read, exists):
    """The problems of a table of claims: each test it names must be in the file that it names."""
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        for file, titles in _PROOF.findall(line) if line.startswith("|") else []:
            if not exists(file):
                problems.append(f"{path}:{number}: '{file}' does not exist")
                continue
            # A title may be a literal of several lines, and that of a Python test is a function's name.
            tests = re.sub(r"\"\s*\"", "", read(file))
            for title in re.findall(r"\"([^\"]+)\"", titles):
                wanted = f"def test_{title}(" if file.endswith(".py") else f'TEST_CASE("{title}"'
                if wanted not in re.sub(r"\(\s+", "(", tests):
                    problems.append(f"{path}:{number}: '{file}' has no test \"{title}\"")
    return problems


def run(_):
    read = lambda path: pathlib.Path(path).read_text()
    problems = []
    for path in common.tracked_files(".md"):
        text = read(path)
        problems += check_document(path, text, read, os.path.exists)
        if path.startswith("docs/specs/"):
            problems += check_proofs(path, text, read, os.path.exists)
    return problems
