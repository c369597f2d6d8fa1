"""The dependencies between our packages are those that tools/layering.txt allows."""

import pathlib

import common
from common import Failure

TABLE = pathlib.Path("tools/layering.txt")


def read_table(text):
    """component -> the components it may use, itself included; None for `all`."""
    table = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        component, colon, uses = line.partition(":")
        if not colon or component in table:
            raise Failure(f"{TABLE}:{number}: want one line 'component: uses' a component")
        table[component] = None if uses.split() == ["all"] else {component, *uses.split()}
    for component, uses in table.items():
        unknown = (uses or set()) - set(table)
        if unknown:
            raise Failure(f"{TABLE}: '{component}' names {sorted(unknown)}, which have no line")
    return table


def package_of(label):
    return label.removeprefix("//").split(":")[0]


def component_of(package, table):
    """The longest component that is `package` or a folder above it; None when there is none."""
    parts = package.split("/")
    for length in range(len(parts), 0, -1):
        if "/".join(parts[:length]) in table:
            return "/".join(parts[:length])
    return None


def judge(edges, table):
    """The problems of (user label, used label) pairs."""
    problems = []
    for user, used in edges:
        components = []
        for label in (user, used):
            component = component_of(package_of(label), table)
            if component is None:
                problems.append(f"{label}: package '//{package_of(label)}' belongs to no component of {TABLE}")
            components.append(component)
        if None in components:
            continue
        allowed = table[components[0]]
        if allowed is not None and components[1] not in allowed:
            problems.append(f"{user} uses {used}: {components[0]} may not use {components[1]}")
        elif components[0] != components[1] and "/internal/" in used.replace(":", "/"):
            problems.append(f"{user} uses {used}: internal to {components[1]}")
    return sorted(set(problems))


def read_edges(rules):
    """(rule, what it depends on) of <rule> elements; only our own packages with a name."""
    edges = []
    for rule in rules:
        for used in rule.findall("rule-input"):
            pair = (rule.get("name"), used.get("name"))
            if all(label.startswith("//") and package_of(label) for label in pair):
                edges.append(pair)
    return edges


def run(_):
    # The build itself (switches, what the sanitizers need) is no component: its macros add it.
    edges = read_edges(common.query_rules("kind('rule', //...)"))
    edges = [edge for edge in edges if package_of(edge[1]).split("/")[0] != "bazel"]
    return judge(edges, read_table(TABLE.read_text()))
