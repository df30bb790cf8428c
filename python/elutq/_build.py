"""Where the files that the C++ build makes are."""

from __future__ import annotations

import os
from pathlib import Path


def built_files(module: str, folder: str, name: str) -> list[Path]:
    """Where `folder`/`name` of a build may be, the likeliest first: in the build tree that ELUTQ_BUILD_DIR names, beside the file `module`, in
    the build/release of the source tree, where `module` lies in one."""
    package = Path(module).resolve().parent
    roots = [package, package.parents[1] / "build" / "release"]
    if build := os.environ.get("ELUTQ_BUILD_DIR"):
        roots.insert(0, Path(build))
    return [root / folder / name for root in roots]
