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
