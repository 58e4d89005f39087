"""What holds for every test: no network, one thread per worker, and shapes checked in the floors that are pure."""

from __future__ import annotations

import os
import signal

# Before anything imports torch or a Hugging Face library: they read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"
# `make test` runs one worker per core; more threads than cores slow each other down several-fold.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell has what it starts in the background ignore Ctrl-C, and so would the commands that tests start and stop by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

import tests.shapes  # noqa: F401  the hook below looks it up by name

# The shapes in the signatures of these modules are enforced here and free at run time. Must precede their import.
# maths.distances is left out: it tells the user itself which shapes do not fit, and its tests ask for that message.
SHAPES_CHECKED = [f"condistill.maths.{name}" for name in ("p_random", "noise_path", "randomise", "draws")]
install_import_hook([*SHAPES_CHECKED, "condistill.distill"], "tests.shapes.checked")

# Draws are the same on every run, and a slow machine is no failure.
settings.register_profile(
    "house", deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Holds torch to one thread in this worker and in whatever it starts."""
    import torch

    torch.set_num_threads(1)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names bytes by their argument: two workers must give a test one name, and bytes may hold the second they were
    made in (gzip)."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked gpu where there is no accelerator."""
    gpu_tests = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu_tests:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu_tests:
            item.add_marker(pytest.mark.skip(reason="needs an accelerator"))
