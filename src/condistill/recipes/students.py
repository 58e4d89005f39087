"""A student by itself: cut, saved, not trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from condistill.errors import UserError, unknown_name

INITS = ("inherit", "slice", "random")


def student_folder(teacher: str | Path, spec: str, *, out: str | Path, init: str = "inherit", seed: int = 0) -> dict[str, Any]:
    """The folder, spec, init and number of parameters of a student that was cut from `teacher` and saved in `out`.

    Raises:
        UserError: the folder is not empty; no such teacher, preset or init.
    """
    from condistill.teacher import Teacher

    out = Path(out)
    if init not in INITS:
        raise unknown_name("init", init, INITS)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty; nothing was touched, choose another --out")
    made = Teacher.load(teacher).student(spec, init=init, seed=seed)
    made.save(out)
    parameters = sum(p.numel() for p in made.network.parameters())
    return {"folder": out, "spec": spec, "init": init, "parameters": parameters}
