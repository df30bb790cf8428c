"""The list of cases that fail, with a reason each, and docs/Operators.md, both from a run of the suite.

    python test/python/conformance/report.py RESULTS.json     RESULTS.json is what cases.py --json wrote for all cases
"""

from __future__ import annotations

import collections
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LIST = HERE / "unsupported.json"
TABLE = HERE.parents[2] / "docs" / "Operators.md"
HEADER = """# ONNX operators

Written by `test/python/conformance/report.py` from the list of cases of ONNX's own conformance suite that fail (`onnx.backend.test`, the node cases of the
pinned ONNX {version}); `scripts/test --full` checks the list case by case, and CI a fixed quarter of it. **{passed} of {total} cases are not in the list.** A case compiles one
model with `elutq-compile --emit=graph` for this machine, runs it, and compares with the tolerance of the suite.

- `--emit=graph` takes graphs with static shapes. A shape that the graph computes is folded where its operands are known; where they are
  inputs, the declared shape of the result says what it is. Axes, starts, steps and pads may be computed.
- An operator that ONNX defines as a function of others is replaced by that function (Attention, LayerNormalization, the losses, ...).
- Language models take another way ([Architecture.md](Architecture.md)): their operators become `lm` and `hlq` operations.
- Floats of 8 and 4 bits and integers of 4 and 2 are for Cast, CastLike, QuantizeLinear and DequantizeLinear.
- `If` with a condition that is known becomes its branch; `Loop` and `Scan` of a known number of turns become copies of their body. Others are
  refused by name.
- Not supported at all: sequences, optionals, strings, training, random numbers.

| operator | cases | what does not work |
|---|---|---|
"""


def classify(failure: str) -> str:
    """Why a case fails, in words that other cases share."""
    if "is no tensor" in failure:
        return "sequences and optionals are not supported, only dense tensors"
    if "element type STRING" in failure:
        return "strings are not supported"
    if match := re.search(r"has element type (\w+)", failure):
        return f"element type {match.group(1)}"
    if match := re.search(r"cannot convert \d+ operations? of the model: '([\w.]+)'[^:]*: ([^;]*)", failure):
        operator = match.group(1).removeprefix("onnx.")
        if match.group(2).startswith("this operator is supported only"):
            return f"{operator}: {match.group(2).removeprefix('this operator is ').split(':')[0]}"
        if match.group(2).startswith("this operator"):
            return f"the operator {operator} is not supported"
        return f"{operator}: {match.group(2).strip()}"
    if "needs dense tensors with shapes" in failure:
        return "the shape of a result is not known"
    if "asks for no opset" in failure:
        return "a model without an opset of ai.onnx is not supported"
    if "asks for opset" in failure:
        return "opsets before 7 are not supported"
    if "shapes cannot be inferred" in failure:
        return "ONNX's inference of shapes refuses the model"
    if "cannot expand" in failure:
        return "ONNX's inliner cannot expand the operator"
    if failure.startswith("wrong"):
        return "the result differs by more than the tolerance of the suite (sums in half precision)"
    return " ".join(re.sub(r"'[^']*'|/\S+|0x\w+", "…", failure).split())[:120]


def group(results: dict[str, str]) -> dict[str, list[str]]:
    """The names of failed cases by reason."""
    groups: dict[str, list[str]] = collections.defaultdict(list)
    for name, failure in sorted(results.items()):
        if failure:
            groups[classify(failure)].append(name)
    return dict(sorted(groups.items()))


def read_list() -> dict[str, str]:
    """The reason of each case that is listed."""
    return {name: reason for reason, names in json.loads(LIST.read_text()).items() for name in names}


def operator_of(case: Any) -> str:
    """The operator that a case is about: its only one, or what its name says of an expanded one."""
    nodes = case.model.graph.node
    if len(nodes) == 1:
        return nodes[0].op_type if not nodes[0].domain else f"{nodes[0].domain}::{nodes[0].op_type}"
    return ""


def document(cases: dict[str, Any], listed: dict[str, str]) -> str:
    """docs/Operators.md."""
    import onnx

    rows: dict[str, list[str]] = collections.defaultdict(list)
    for name, case in cases.items():
        operator = operator_of(case)
        if not operator:
            base = re.sub(r"_expanded(_ver\d+)?(_function)?$", "", name)
            operator = operator_of(cases[base]) if base in cases else ""
        rows[operator or "(graphs of several)"].append(name)
    text = HEADER.format(version=onnx.__version__, passed=len(cases) - len(listed), total=len(cases))
    for operator in sorted(rows, key=lambda key: (key.startswith("("), key.lower())):
        names = rows[operator]
        reasons = collections.Counter(listed[name] for name in names if name in listed)
        passed = len(names) - sum(reasons.values())
        limits = "; ".join(f"{reason} ({count})" if len(reasons) > 1 or passed else reason for reason, count in sorted(reasons.items()))
        text += f"| {operator} | {passed} of {len(names)} | {limits.replace('|', chr(92) + '|')} |\n"
    return text


def main() -> None:
    from cases import load_cases

    if len(sys.argv) != 2:
        sys.exit(__doc__)
    results = json.loads(Path(sys.argv[1]).read_text())
    cases = load_cases()
    if set(results) != set(cases):
        sys.exit(f"{sys.argv[1]} holds {len(results)} results, but there are {len(cases)} cases; run cases.py without patterns")
    LIST.write_text(json.dumps(group(results), indent=1, ensure_ascii=False) + "\n")
    TABLE.write_text(document(cases, read_list()))
    print(f"{len(cases) - len(read_list())} of {len(cases)} pass")


if __name__ == "__main__":
    main()
