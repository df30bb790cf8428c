"""Regenerates test/python/Inputs/transformers_logits.npz: what transformers computes for tiny checkpoints of each family.

Needs the packages of requirements.txt beside this file.

    python test/python/tools/transformers_logits.py
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))
from tiny_models import CONFIGS, LOGITS, TOKENS, TRANSFORMERS_CONFIGS, TRANSFORMERS_SEED, random_weights, write_checkpoint  # noqa: E402


def logits(name: str, folder: Path) -> np.ndarray:
    """f32 [tokens, vocabulary]"""
    write_checkpoint(folder, CONFIGS[name], random_weights(CONFIGS[name], TRANSFORMERS_SEED))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        return model(torch.tensor([TOKENS])).logits[0].numpy()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        np.savez_compressed(LOGITS, **{name: logits(name, Path(folder) / name) for name in TRANSFORMERS_CONFIGS})


if __name__ == "__main__":
    main()
