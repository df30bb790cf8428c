"""`elutq finetune` where torch is not installed."""

import os
import subprocess
import sys

from conftest import ROOT


def test_without_torch(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('no torch')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "python")])}
    command = [sys.executable, "-m", "elutq", "finetune", "q.onnx", "--reference", "model.onnx", "-o", "o.onnx"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "elutq: error: finetune needs the package 'torch': pip install 'elutq[finetune]'\n"
    assert [path.name for path in tmp_path.iterdir() if path.name != "torch.py"] == []


def test_freed_memory_is_kept():
    """Pages that the second and later arrays of a process touch anew, of 10 of 128 MB that are made and freed in turn; 32768 pages each."""
    script = """
import resource
import numpy as np
from elutq.finetune.memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_freed_memory()
np.ones(1 << 24)
before = faults()
for _ in range(10):
    np.ones(1 << 24)
print(faults() - before)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000
