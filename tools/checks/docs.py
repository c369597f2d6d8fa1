"""Links in Markdown documents lead somewhere: to a file of the tree, and to a heading where they name one."""

import os
import pathlib
import re

import common

_FENCE = re.compile(r"^ {0,3}(```|~~~).*?^ {0,3}\1[ \t]*$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"(`+)[^`]*?\1")
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)
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


def run(_):
    read = lambda path: pathlib.Path(path).read_text()
    return [problem for path in common.tracked_files(".md")
            for problem in check_document(path, read(path), read, os.path.exists)]
