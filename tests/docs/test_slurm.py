"""The Slurm example, with programs of Slurm's names that do what Slurm's do to it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm.sbatch"
# the step: runs until it is told to stop, then saves and ends as torchrun does; or is done at once
SRUN = """trap 'echo saved >> said; exit 1' TERM
echo "$@" > asked; echo $$ > step
[ -e done ] && exit 0
while true; do sleep 0.05; done"""
PROGRAMS = {
    "srun": SRUN,
    "scancel": 'echo "scancel $*" >> said; kill -TERM $(cat step)',
    "scontrol": 'if [ "$1" = show ]; then echo first; echo second; else echo "scontrol $*" >> said; fi',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in PROGRAMS.items():
        program = tmp_path / name
        program.write_text(f"#!/usr/bin/env bash\n{text}\n", encoding="utf-8")
        program.chmod(0o755)
    return tmp_path


def started(folder: Path) -> subprocess.Popen[bytes]:
    """The job's script, once its step is there."""
    job = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "x",
        "SLURM_NNODES": "2",
    }
    script = subprocess.Popen(["bash", str(SCRIPT), "r.yaml", "out"], cwd=folder, env=os.environ | job)
    deadline = time.monotonic() + 60
    while not (folder / "step").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)  # until the script knows its number
    return script


def test_before_the_time_limit_it_saves_and_goes_back_into_the_queue(folder: Path) -> None:
    script = started(folder)
    script.send_signal(signal.SIGUSR1)
    script.wait(timeout=60)
    assert (folder / "said").read_text().splitlines() == ["scancel --signal=TERM 7", "saved", "scontrol requeue 7"]
    assert "--rdzv-endpoint first:29500 -m condistill run r.yaml --out out" in (folder / "asked").read_text()


def test_told_to_end_it_waits_for_the_step_and_asks_for_nothing(folder: Path) -> None:
    script = started(folder)
    script.send_signal(signal.SIGTERM)  # Slurm tells the step as well
    os.kill(int((folder / "step").read_text()), signal.SIGTERM)
    script.wait(timeout=60)
    assert (folder / "said").read_text() == "saved\n"


def test_a_run_that_is_done_ends_the_job(folder: Path) -> None:
    (folder / "done").touch()
    script = started(folder)
    assert script.wait(timeout=60) == 0 and not (folder / "said").exists()
