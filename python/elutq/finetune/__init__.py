"""Fine-tuning of quantized models: `finetune("w2.onnx", "model.onnx", "w2-tuned.onnx", Options(epochs=2))`. Needs torch.

`interpreter` and `operators` run ONNX graphs in torch, `blocks` cuts them, `matrices` holds what is tuned, `blockwise` and `end_to_end`
are the two steps, `pipeline` goes through them and keeps what is finished.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Callable

from ..errors import FinetuneError
from ..export import export_model
from ..quantization import Calibration, open_calibration
from ..quantization.workspace import remove_if_nothing_is_finished
from .options import Options
from .report import Report

Progress = Callable[[float, float], None]

__all__ = ["Options", "Report", "finetune", "open_reference", "require_torch"]


def require_torch() -> None:
    """Raises FinetuneError where torch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise FinetuneError("finetune needs the package 'torch': pip install 'elutq[finetune]'") from error


def open_reference(reference: str | os.PathLike[str], work: str | os.PathLike[str]) -> Path:
    """The float ONNX model: `reference` itself, model.onnx in it, or what it is exported to inside the folder `work`."""
    path = Path(reference)
    if path.is_dir() and (path / "model.onnx").is_file():
        return path / "model.onnx"
    if not path.is_dir() and path.suffix != ".gguf":
        return path
    # Of the same checkpoint the export is kept: after an interruption, the run goes on only with the same files.
    folder = Path(work) / f"reference-{hashlib.sha256(os.fspath(path.resolve()).encode()).hexdigest()[:12]}"
    if not (folder / "model.onnx").is_file():
        export_model(path, folder)
    return folder / "model.onnx"


def finetune(quantized: str | os.PathLike[str], reference: str | os.PathLike[str], output: str | os.PathLike[str],
             options: Options = Options(), *, calibration: Calibration | None = None, work: str | os.PathLike[str] | None = None,
             threads: int = 0, device: str = "auto", progress: Progress = lambda done, whole: None) -> Report:
    """Writes `quantized`, an ONNX model of `elutq quantize`, with scales, zeros and codes that bring it nearer to `reference`.

    reference: the float ONNX model that it was made from, or a Hugging Face directory or GGUF file, which is exported first.
    calibration: default `open_calibration` of the reference. work: a folder for unfinished work (default: OUTPUT.work), removed at the
    end; after an interruption the same call goes on from there, with the same result for the same number of threads. threads: 0 for
    one per core. device: "cpu", "cuda", or "auto". progress: called with work done and in all.
    Raises FinetuneError, and what reading models and texts raises.
    """
    require_torch()
    from .pipeline import Finetuner

    folder = Path(work or f"{os.fspath(output)}.work")
    with remove_if_nothing_is_finished(folder):
        if not Path(output).resolve().parent.is_dir():
            raise FileNotFoundError(f"there is no folder for '{os.fspath(output)}'")
        model = open_reference(reference, folder)
        tuner = Finetuner(Path(quantized), model, options, calibration or open_calibration(model), folder, threads, device)
        report = tuner.run(progress)
        tuner.write(Path(output))
    return report
