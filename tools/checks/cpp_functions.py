"""Finds the functions of a C++ file and their length by looking at brackets.

Not a parser: it knows comments, literals, preprocessor lines and what stands before an opening
brace. That is enough for code that clang-format has laid out, and it needs no compiler options.
"""

import re

# Comments, raw strings, strings, characters (not the ' of 1'000), preprocessor lines.
_NOISE = re.compile(
    r"""//(?:\\\n|[^\n])*"""
    r"""|/\*.*?\*/"""
    r"""|R"(?P<tag>[^()\\\s]{0,16})\(.*?\)(?P=tag)\""""
    r"""|"(?:\\.|[^"\\\n])*\""""
    r"""|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'"""
    r"""|^[ \t]*\#(?:\\\n|[^\n])*""",
    re.DOTALL | re.MULTILINE)
_TOKEN = re.compile(r"\w+|::|->|&&|\S")

# What may stand between a parameter list and the body.
_AFTER_PARAMETERS = {"const", "noexcept", "override", "final", "mutable", "try", "&", "&&"}
_SCOPES = {"namespace", "class", "struct", "union", "enum", "extern"}


def blank_noise(text):
    """`text` with noise replaced by blanks; lines stay where they are. A literal leaves a 0."""
    def blank(match):
        kept = re.sub(r"[^\n]", " ", match.group())
        return "0" + kept[1:] if match.group()[0] in "\"'R" else kept
    return _NOISE.sub(blank, text)


def _outside_parentheses(head):
    """The tokens of `head` that are in no parentheses; each such group becomes the token `()`."""
    kept, depth = [], 0
    for token in head:
        if token in "([":
            depth += 1
        elif token in ")]":
            depth -= 1
            if depth == 0 and token == ")":
                kept.append("()")
        elif depth == 0:
            kept.append(token)
    return kept


def _kind(head):
    """What a brace after the tokens `head`, those since the last statement, opens."""
    flat = _outside_parentheses(head)
    if not flat:
        return "scope"
    if "()" in flat and "=" not in flat[:flat.index("()")] or "operator" in flat:
        after = flat[flat.index("()") + 1:] if "()" in flat else []
        if not any(token in _SCOPES for token in flat) or flat[-1] == "()":
            if ":" in after:  # Member initializers: `name{` is a value, `){` and `}{` come before the body.
                return "function" if flat[-1] in ("()", "{}") else "value"
            if flat[-1] == "()" or flat[-1] in _AFTER_PARAMETERS or "->" in after:
                return "function"
    if any(token in _SCOPES for token in flat) and "=" not in flat:
        return "scope"
    return "value"


def _name(head):
    """The name before the parameters, with its qualification."""
    at = head.index("(") if "(" in head else len(head)
    if head[at - 1] in ("__attribute__", "ABSL_ATTRIBUTE_NOINLINE") and "(" in head[at + 1:]:
        return _name(_without_group(head, at))
    first = at - 1
    if "operator" in head[:at]:
        first = len(head[:at]) - 1 - head[:at][::-1].index("operator")
    while first >= 2 and head[first - 1] in ("::", "~"):
        first -= 2 if head[first - 1] == "::" else 1
    return "".join(head[first:at]) or "?"


def _without_group(head, at):
    """`head` without the parentheses that open at `at` and the word before them."""
    depth = 0
    for position in range(at, len(head)):
        depth += {"(": 1, ")": -1}.get(head[position], 0)
        if depth == 0:
            return head[:at - 1] + head[position + 1:]
    return head[:at - 1]


def functions(text):
    """(name, first line, lines) of every function that is in no other function."""
    tokens = []  # (token, line)
    for number, line in enumerate(blank_noise(text).split("\n"), 1):
        tokens += [(token, number) for token in _TOKEN.findall(line)]

    found, head, at = [], [], 0

    def close(start):
        """The position of the brace that closes the one at `start`."""
        depth = 0
        for position in range(start, len(tokens)):
            depth += {"{": 1, "}": -1}.get(tokens[position][0], 0)
            if depth == 0:
                return position
        return len(tokens) - 1

    while at < len(tokens):
        token, line = tokens[at]
        words = [word for word, _ in head]
        if token == "{":
            kind = _kind(words)
            if kind == "scope":
                head = []
            else:
                end = close(at)
                if kind == "function":
                    first = head[0][1]
                    found.append((_name(words), first, tokens[end][1] - first + 1))
                    head = []
                else:
                    head.append(("{}", line))
                at = end
        elif token in ";}" or (token == ":" and words[-1:] in (["public"], ["private"], ["protected"])):
            head = []
        else:
            head.append((token, line))
        at += 1
    return found
