"""Prints the examples of the operations on generated pages, each in a function that takes its operands.

op_examples.py FILE.md... An operation without an example is an error.
"""
import re
import sys

NAME = re.compile(r"%[a-z0-9]+")
TYPE = re.compile(r"(?:tensor|vector|memref)<[^>]*>")


def split_attributes(text):
    """`text` without its attribute dictionary: types in it are none of operands."""
    depth, kept = 0, []
    for c in text:
        depth += c == "{"
        if depth == 0:
            kept.append(c)
        depth -= c == "}"
    return "".join(kept)


def arguments(example):
    body = split_attributes(example.split("=", 1)[1])
    clauses = re.findall(r"(?:ins|outs)\(([^()]*)\)", body) or [body.split("->")[0]]
    found = {}
    for clause in clauses:
        names, types = (part for part in clause.split(":", 1))
        names, types = NAME.findall(names), TYPE.findall(types)
        # Positions and counts have no written type; hlq.dot writes that of codes and entries once.
        rest = types[-1] if "hlq.dot" in example else "index"
        for i, name in enumerate(names):
            found[name] = types[i] if i < len(types) else rest
    return ", ".join(f"{name}: {type}" for name, type in found.items())


missing = 0
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        operations = file.read().split("\n## Operations\n", 1)[1].split("\n## ", 1)[0]
    for section in re.split(r"^### ", operations, flags=re.MULTILINE)[1:]:
        name = re.match(r"`([^`]+)`", section)[1]
        examples = re.findall(r"^```mlir\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
        if not examples:
            missing += 1
            print(f"{path}: {name} has no example", file=sys.stderr)
        for i, example in enumerate(examples):
            print(f"func.func @{name.replace('.', '_')}_{i}({arguments(example)}) {{\n{example}  return\n}}")
sys.exit(missing > 0)
