"""Where a run may also be shown: accelerate's trackers by name, and what each is opened with.

None needs an account and, unless it is asked to by its own environment variables or a login, none uses the network.

>>> named("none"), named("wandb"), named(["tensorboard", "mlflow"])
((), ('wandb',), ('tensorboard', 'mlflow'))
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from condistill.errors import UserError, unknown_name

AUTO, NONE = "auto", "none"
PROJECT = "condistill"


@dataclass(frozen=True)
class Place:
    """One run of one tracker.

    Attributes:
        folder: where a tracker that writes files puts them.
        run: what the run is called; the same whenever it goes on.
        own: what the tracker itself called the run when it began, where it does; else None.
    """

    folder: Path
    run: str
    own: str | None


@dataclass(frozen=True)
class Opening:
    """How a tracker is opened.

    Attributes:
        name: as the user names it.
        make: place -> accelerate's tracker, not started.
        own: started tracker -> what it calls the run; None where the name is ours.
    """

    name: str
    make: Callable[[Place], Any]
    own: Callable[[Any], str | None]


def known() -> dict[str, type]:
    """Name -> class of accelerate's trackers and of those registered with it."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    return LOGGER_TYPE_TO_CLASS


def named(asked: Any) -> tuple[Any, ...]:
    """The trackers that `asked` means: names, or trackers themselves; nothing is loaded but accelerate.

    Args:
        asked: "auto" (TensorBoard where it is installed), "none", a name, a tracker, or a list of names and trackers.

    Raises:
        UserError: an unknown name, or one that comes twice.
    """
    if asked in (AUTO, NONE):
        return ("tensorboard",) if asked == AUTO and _is_installed("tensorboard") else ()
    several = tuple(asked) if isinstance(asked, Sequence) and not isinstance(asked, str) else (asked,)
    if len(several) == 1 and several[0] in (AUTO, NONE):
        return named(several[0])
    for one in several:
        if isinstance(one, str) and one not in known():
            raise unknown_name("tracker", one, [*known(), AUTO, NONE])
        if not isinstance(one, str) and not callable(getattr(one, "log", None)):
            raise UserError(f"a tracker is a name or one of accelerate's GeneralTracker, got {one!r}")
    names = [name_of(one) for one in several]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"the tracker {name!r} is named twice in train.trackers; name it once")
    return several


def name_of(one: Any) -> str:
    """The name of a tracker, or of what names it."""
    return one if isinstance(one, str) else str(getattr(one, "name", type(one).__name__))


def opening(one: Any) -> Opening:
    """How this tracker is opened.

    Args:
        one: of `named`.

    Raises:
        UserError: its package is not installed.
    """
    name = name_of(one)
    if not isinstance(one, str):
        return Opening(name, lambda place: one, lambda tracker: None)
    if not _is_installed(name):
        raise UserError(f"its package is not installed: pip install {name.replace('_', '-')}")
    kind, own = known()[name], _OWN.get(name, _ours)

    def make(place: Place) -> Any:
        first = os.environ.get(f"{name.upper()}_PROJECT", PROJECT) if name != "tensorboard" else place.run
        folder = [str(place.folder)] if getattr(kind, "requires_logging_directory", False) else []
        return kind(first, *folder, **(ARGUMENTS[name](place) if name in ARGUMENTS else {}))

    return Opening(name, make, own)


def _ours(tracker: Any) -> None:
    return None


def _is_installed(name: str) -> bool:
    from accelerate.tracking import get_available_trackers
    from accelerate.utils import LoggerType

    # one that somebody registered needs no package that we know of
    return name not in LoggerType or LoggerType(name) in get_available_trackers()


def _wandb(place: Place) -> Mapping[str, Any]:
    mode = {} if "WANDB_MODE" in os.environ else {"mode": "online" if _logged_in_to_wandb() else "offline"}
    place.folder.mkdir(parents=True, exist_ok=True)
    # our own output is left alone
    quiet = {"console": "off", "silent": True}
    return {"id": place.run, "name": place.run, "resume": "allow", "dir": str(place.folder), "settings": quiet, **mode}


def _logged_in_to_wandb() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    given = os.environ.get("NETRC")
    for file in [Path(given)] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            if netrc.netrc(file).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def _mlflow(place: Place) -> Mapping[str, Any]:
    import mlflow  # type: ignore[import-not-found]

    found: dict[str, Any] = {"run_name": place.run, "run_id": place.own}
    if mlflow.is_tracking_uri_set() and not mlflow.get_tracking_uri().endswith(_DATABASE):
        return found  # the user's own server or folder
    place.folder.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{place.folder.resolve()}{_DATABASE}")
    return {**found, "logging_dir": (place.folder.resolve() / "files").as_uri()}


def _comet(place: Place) -> Mapping[str, Any]:
    return {"online": bool(os.environ.get("COMET_API_KEY")), "experiment_key": place.own}


def _swanlab(place: Place) -> Mapping[str, Any]:
    mode = "cloud" if os.environ.get("SWANLAB_API_KEY") else "offline"
    return {"mode": os.environ.get("SWANLAB_MODE", mode), "experiment_name": place.run, "logdir": str(place.folder)}


_DATABASE = "/mlflow.db"
# name -> what it is given beside the project; the others are given nothing
ARGUMENTS: dict[str, Callable[[Place], Mapping[str, Any]]] = {
    "wandb": _wandb,
    "trackio": lambda place: {"name": place.run, "resume": "allow"},
    "mlflow": _mlflow,
    "comet_ml": _comet,
    "swanlab": _swanlab,
    # nothing is written into the current folder, and no experiment of a repository is begun
    "dvclive": lambda place: {"dir": str(place.folder), "resume": True, "dvcyaml": None, "save_dvc_exp": False},
    "aim": lambda place: {"run_hash": place.own},
}
# name -> what it calls the run itself
_OWN: dict[str, Callable[[Any], str | None]] = {
    "mlflow": lambda tracker: tracker.tracker.info.run_id,
    "comet_ml": lambda tracker: tracker.tracker.get_key(),
    "aim": lambda tracker: tracker.tracker.hash,
}
