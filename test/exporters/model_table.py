"""Writes the table of docs/Models.md from the results.json of the tests in this folder.

    model_table.py RESULTS.json docs/Models.md
"""

import json
import sys
from pathlib import Path

from architectures import ARCHITECTURES, EXPORTERS
from encoders import ENCODER_EXPORTERS, ENCODERS

BEGIN, END = "<!-- begin: model_table.py -->\n", "<!-- end -->\n"


def cell(result: dict | None) -> str:
    if result is None:
        return ""
    if not result["exported"]:
        return "no export"
    return f"{result['error']:.0e}" if "error" in result else "refused"


def encoder_table(results: dict) -> str:
    """Models that are no decoders, compiled with --emit=graph."""
    rows = ["| encoder | " + " | ".join(ENCODER_EXPORTERS) + " |", "|---" * (len(ENCODER_EXPORTERS) + 1) + "|"]
    for name in ENCODERS:
        rows.append(f"| {name} | " + " | ".join(cell(results.get(f"{exporter}/{name}")) for exporter in ENCODER_EXPORTERS) + " |")
    return "\n".join([*rows, ""])


def table(results: dict) -> str:
    rows = ["| architecture | " + " | ".join(EXPORTERS) + " |", "|---" * (len(EXPORTERS) + 1) + "|"]
    for name in ARCHITECTURES:
        rows.append(f"| {name} | " + " | ".join(cell(results.get(f"{exporter}/{name}")) for exporter in EXPORTERS) + " |")
    refusals = [f"- {pair}: {result.get('refusal') or result['reason']}" for pair, result in results.items() if "error" not in result]
    return "\n".join([*rows, "", *refusals, ""])


def main() -> None:
    results, page = Path(sys.argv[1]), Path(sys.argv[2])
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(before + BEGIN + "\n" + table(json.loads(results.read_text())) + "\n" + encoder_table(json.loads(results.read_text())) + "\n" + END + after)


if __name__ == "__main__":
    main()
