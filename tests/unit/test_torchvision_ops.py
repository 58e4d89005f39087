"""torchvision can be imported beside any build of torch of the same version."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# installed apart from everything else: see the Makefile
APART = Path(sys.prefix) / "metrics"
pytestmark = pytest.mark.skipif(not (APART / "torchvision").is_dir(), reason=f"no torchvision in {APART.name}")


def _run(code: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(APART)])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)


def test_torchvision_and_what_imports_it_can_be_imported() -> None:
    done = _run(
        "from condistill.torchvision_ops import define_missing_ops\n"
        "define_missing_ops()\n"
        "import torchvision, torch\n"
        "from torchvision.transforms.v2.functional import resize\n"
        "print(tuple(resize(torch.zeros(3, 4, 4), [2, 2]).shape))\n"
        "from transformers import CLIPImageProcessor"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split("\n")[0] == "(3, 2, 2)"


def test_the_workaround_is_still_needed() -> None:
    """Fails once torchvision can be imported although its compiled part does not load: then delete the module."""
    done = _run("import torchvision; print(torchvision.extension._has_ops())")
    if done.returncode == 0:
        assert done.stdout.strip() == "True", "delete condistill.torchvision_ops: torchvision no longer needs it"
        pytest.skip("the compiled part of torchvision fits this torch")
    assert "operator torchvision::nms does not exist" in done.stderr
