"""Makes the package, this folder's modules and those of test/python importable."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "test" / "python"), str(Path(__file__).parent)]
