"""The command line of the scripts that export models."""

import argparse
import shutil
import traceback
from pathlib import Path
from typing import Callable, Sequence


def export_pairs(description: str, pairs: Sequence[str], export: Callable[[str, str, Path], object]) -> None:
    """Calls export(exporter, architecture, folder) for each EXPORTER/ARCHITECTURE that is asked for, or all `pairs`; what it raises becomes error.txt."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("pairs", nargs="+", choices=[*pairs, "all"], metavar="EXPORTER/ARCHITECTURE")
    args = parser.parse_args()
    for pair in pairs if args.pairs == ["all"] else args.pairs:
        folder = args.folder / pair
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        print(pair, flush=True)
        try:
            export(*pair.split("/"), folder)
        except (Exception, SystemExit):  # Whatever an exporter raises is its answer.
            (folder / "error.txt").write_text(traceback.format_exc())
