"""One list of Debian packages: tools/packages.txt, shown in docs/dependencies.md, used by the build."""

import pathlib
import re

LIST = pathlib.Path("tools/packages.txt")
PAGE = pathlib.Path("docs/dependencies.md")
BUILD = pathlib.Path("bazel/debian/debian_libraries.bzl")

_TITLES = {"build": "To build and run", "peers": "To test and measure against", "checkers": "To check and fuzz"}
_TABLE = re.compile(r"(<!-- packages:begin[^>]*-->\n).*?(<!-- packages:end -->)", re.DOTALL)


def read_list(text):
    """(group, package, reason) of each line."""
    return [tuple(line.split(None, 2)) for line in text.splitlines() if line and not line.startswith("#")]


def table(rows):
    """The Markdown of the list."""
    parts = []
    for group, title in _TITLES.items():
        parts.append(f"\n**{title}** (`./keelson setup {group}`)\n\n| package | what for |\n|---|---|\n")
        parts += [f"| `{package}` | {reason} |\n" for kind, package, reason in rows if kind == group]
    return "".join(parts) + "\n"


def with_table(page, rows):
    return _TABLE.sub(lambda match: match.group(1) + table(rows) + match.group(2), page)


def used_by_build(text):
    """Packages that the repository rule names."""
    return set(re.findall(r'^    "[^"]+": \(\s*"([a-z0-9.+-]+)"', text, re.MULTILINE)) | \
        set(re.findall(r'^    "[^"]+": "([a-z0-9.+-]+)"', text, re.MULTILINE))


def run(_):
    rows = read_list(LIST.read_text())
    problems = [f"{LIST}: '{' '.join(row)}' is not: group, package, reason" for row in rows
                if len(row) != 3 or row[0] not in _TITLES]
    if problems:
        return problems
    names = [row[1] for row in rows]
    problems += [f"{LIST}: {name} is there twice" for name in sorted({n for n in names if names.count(n) > 1})]
    page = PAGE.read_text()
    if not _TABLE.search(page) or with_table(page, rows) != page:
        problems.append(f"{PAGE}: the table differs from {LIST}; correct with: ./keelson check --fix packages")
    missing = used_by_build(BUILD.read_text()) - {row[1] for row in rows if row[0] == "build"}
    return problems + [f"{BUILD}: uses {name}, which {LIST} does not list" for name in sorted(missing)]


def fix(_):
    PAGE.write_text(with_table(PAGE.read_text(), read_list(LIST.read_text())))
