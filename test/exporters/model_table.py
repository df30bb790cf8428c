"""Writes the tables of docs/Models.md from the results.json of the tests in this folder.

    model_table.py RESULTS.json docs/Models.md
"""

import json
import statistics
import sys
from pathlib import Path

from architectures import ARCHITECTURES, BITS, EXPORTERS, FLOAT_EXPORTERS
from encoders import ENCODER_EXPORTERS, ENCODERS

BEGIN, END = "<!-- begin: model_table.py -->\n", "<!-- end -->\n"
BEGIN_QUANTIZED, END_QUANTIZED = "<!-- begin: model_table.py, quantized -->\n", "<!-- end: quantized -->\n"
BEGIN_ENCODERS, END_ENCODERS = "<!-- begin: model_table.py, encoders -->\n", "<!-- end: encoders -->\n"


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
    reasons: dict[str, list[str]] = {}
    for exporter in EXPORTERS:
        for name in ARCHITECTURES:
            result = results.get(f"{exporter}/{name}")
            if result and "error" not in result:
                # Of a message that lists nodes, the first one.
                reason = (result.get("refusal") or result["reason"]).partition(";")[0]
                reasons.setdefault(reason, []).append(f"{exporter}/{name}")
    return "\n".join([*rows, "", *(f"- {', '.join(shorten(pairs))}: {reason}" for reason, pairs in reasons.items()), ""])


def quantized_table(results: dict) -> str:
    """Of all exports of an architecture: how many compiled, the greatest error and the median speed at each width."""
    rows = ["| architecture | exports | float, tokens/s | " + " | ".join(f"{bits} bits: error | tokens/s" for bits in BITS) + " |",
            "|---" * (3 + 2 * len(BITS)) + "|"]
    for name in ARCHITECTURES:
        pairs = [f"{exporter}/{name}" for exporter in FLOAT_EXPORTERS if "error" in results.get(f"{exporter}/{name}", {})]
        measured = {bits: [results[f"{pair}/{bits}"] for pair in pairs if f"{pair}/{bits}" in results] for bits in BITS}
        if not all(measured.values()):
            continue
        cells = [f"{max(result['error'] for result in of_width):.0e} | {speed(of_width)}" for of_width in measured.values()]
        rows.append(" | ".join([f"| {name}", str(len(measured[BITS[0]])), speed([results[pair] for pair in pairs]), *cells]) + " |")
    return "\n".join([*rows, ""])


def speed(results: list[dict]) -> str:
    return f"{statistics.median(result['tokens_s'] for result in results) / 1000:.0f} k"


def shorten(pairs: list[str]) -> list[str]:
    """All of genai's variants together as genai-*."""
    variants = [exporter for exporter in EXPORTERS if exporter.startswith("genai-")]
    result: list[str] = []
    for pair in pairs:
        name = pair.partition("/")[2]
        if pair.startswith("genai-") and all(f"{variant}/{name}" in pairs for variant in variants):
            pair = f"genai-*/{name}"
        if pair not in result:
            result.append(pair)
    return result


def replace(page: Path, begin: str, end: str, text: str) -> None:
    """Puts `text` between two lines of the page."""
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(before + begin + "\n" + text + "\n" + end + after)


def main() -> None:
    results, page = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    replace(page, BEGIN, END, table(results))
    replace(page, BEGIN_QUANTIZED, END_QUANTIZED, quantized_table(results))
    replace(page, BEGIN_ENCODERS, END_ENCODERS, encoder_table(results))


if __name__ == "__main__":
    main()
