"""What a quantization did, as JSON and as a page with a picture."""

from __future__ import annotations

import html
import json
import os
from dataclasses import asdict, dataclass
from typing import Sequence

from .allocate import Choice
from .calibration import Calibration
from .pipeline import Options, Row
from .sizes import Storage, format_size

_BAR, _LINE, _LABEL = 420, 16, 420


@dataclass(frozen=True)
class Report:
    """`rows` in the order in which the model multiplies by its matrices; what is not calibrated comes last."""

    model: str
    output: str
    options: Options
    calibration: Calibration
    rows: list[Row]
    storage: Storage
    choices: Sequence[Choice] = ()

    @property
    def bits_per_weight(self) -> float:
        """Bits of planes, scales and zeros, padding included, by weights."""
        return self.storage.bits_per_weight

    def as_json(self) -> str:
        return json.dumps({"model": self.model, "output": self.output, "options": asdict(self.options),
                           "calibration": {"source": self.calibration.name, "samples": self.calibration.count},
                           "bits_per_weight": self.bits_per_weight, "storage": {**asdict(self.storage), "size": self.storage.size},
                           "matrices": [asdict(row) for row in self.rows], "choices": [asdict(choice) for choice in self.choices]}, indent=1)

    def as_html(self) -> str:
        """One file, with a bar for the relative loss of every matrix."""
        rows = [row for row in self.rows if row.relative_loss is not None]
        greatest = max((row.relative_loss for row in rows), default=0) or 1
        bars = "".join(
            f'<text x="{_LABEL - 8}" y="{_LINE * i + 12}" text-anchor="end">{html.escape(row.name)}</text>'
            f'<rect x="{_LABEL}" y="{_LINE * i + 3}" width="{_BAR * row.relative_loss / greatest:.1f}" height="{_LINE - 5}"/>'
            f'<text x="{_LABEL + _BAR * row.relative_loss / greatest + 6:.1f}" y="{_LINE * i + 12}">{row.relative_loss:.2%}</text>'
            for i, row in enumerate(rows))
        columns = ("matrix", "rows", "columns", "bits", "group", "bytes", "loss", "relative loss", "seconds", "")
        cells = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in self._cells(row)) + "</tr>\n" for row in self.rows)
        return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{html.escape(os.path.basename(self.output))}</title>
<style>body {{ font: 14px sans-serif; margin: 2em }} td, th {{ padding: 0 0.8em; text-align: right }} td:first-child {{ text-align: left }}
svg {{ font-size: 11px }} rect {{ fill: #4a7fb5 }}</style>
<h1>{html.escape(self.output)}</h1>
<p>Made from {html.escape(self.model)}, {self.bits_per_weight:.3f} bits per weight, calibrated with {self.calibration.count} samples of
{html.escape(self.calibration.name)}.</p>
<p>{self._storage()}</p>
<h2>Loss by that of no weights at all</h2>
<svg width="{_LABEL + _BAR + 80}" height="{_LINE * len(rows) + 8}">{bars}</svg>
<h2>Matrices</h2>
<table><tr>{"".join(f"<th>{column}</th>" for column in columns)}</tr>
{cells}</table>
{self._choices()}</html>
"""

    def _choices(self) -> str:
        if not self.choices:
            return ""
        rows = "".join(f"<tr><td>{html.escape(choice.name)}</td><td>{choice.chosen}</td><td>{choice.chosen.bytes}</td>"
                       f"<td>{choice.chosen.loss:.3g}</td>"
                       f"<td>{', '.join(f'{c}: {c.loss:.3g}' for c in choice.candidates)}</td></tr>\n" for choice in self.choices)
        return ("<h2>Choice of bits and groups</h2>\n<table><tr><th>matrix</th><th>chosen</th><th>bytes</th><th>expected loss</th>"
                f"<th>expected loss of what may be chosen</th></tr>\n{rows}</table>\n")

    def _storage(self) -> str:
        """Bytes by what they are for."""
        held = self.storage
        return (f"{format_size(held.size)} of constants: planes {held.planes}, of these {held.padding} beyond the matrices' columns; "
                f"scales {held.scales}; zeros {held.zeros}; all else {held.rest} bytes.")

    @staticmethod
    def _cells(row: Row) -> tuple[object, ...]:
        measures = ("", "", "") if row.loss is None else (f"{row.loss:.4g}", f"{row.relative_loss:.3%}", f"{row.seconds:.1f}")
        return (row.name, row.n, row.k, row.bits, row.group_size, row.bytes, *measures, row.reason)
