"""`report`: one or several run folders as one HTML page that needs no network, no script and no other file."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from condistill.errors import UserError
from condistill.evaluate.ablation import FILE as ABLATION
from condistill.evaluate.ablation import Ablation
from condistill.evaluate.results import ModelResult, Results, joined
from condistill.files import write_atomic
from condistill.report import ablation, charts, curves, tables
from condistill.report.charts import Panel
from condistill.report.read import ArmLog, Run, Validation, read_run

TEMPLATES = Path(__file__).parent / "templates"
# the colours of the names that every comparison of this method has; other names take the following ones in order
_FIXED_COLOURS = {"teacher": 0, "without": 1, "with": 2}


def report(runs: str | Path | Sequence[str | Path], out: str | Path | None = None, *, notes: str | None = None) -> Path:
    """The page of a run, of several side by side, or of a grid.

    Args:
        runs: a run folder, several, or the folder of a `condistill ablate`.
        out: the HTML file; report.html in the run folder, or, for several, in the folder of the first.
        notes: how the settings were chosen, as plain text; else notes.md of the run, or the first comments of its
            recipe.

    Raises:
        UserError: no run folder, nothing in it yet, or files in it that cannot be read.
    """
    folders = [Path(runs)] if isinstance(runs, str | Path) else [Path(run) for run in runs]
    if not folders:
        raise UserError("report got no run folder; give one or more")
    out = Path(out) if out is not None else folders[0] / "report.html"
    if out.is_dir():
        out = out / "report.html"
    if len(folders) == 1 and (folders[0] / ABLATION).is_file():
        return write_atomic(out, render_grid(Ablation.load(folders[0]), folders[0].resolve().name))
    found = [read_run(folder) for folder in folders]
    if notes is not None:
        found = [replace(run, notes=notes) for run in found]
    return write_atomic(out, render(found))


def render(runs: Sequence[Run]) -> str:
    """The page as text."""
    if len(runs) == 1:
        return _filled("run.html", run=_section(runs[0], "r0"))
    sections = [_section(run, f"r{k}") for k, run in enumerate(_distinct(runs))]
    return _filled("runs.html", runs=sections, together=_together(_distinct(runs)))


def render_grid(found: Ablation, name: str) -> str:
    """The page of a grid as text."""
    return _filled("ablation.html", grid=ablation.section(found, name))


def _filled(template: str, **content: Any) -> str:
    import jinja2

    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True,
                                     undefined=jinja2.StrictUndefined)  # fmt: skip
    created = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return environment.get_template(template).render(created=created, **content)


def _distinct(runs: Sequence[Run]) -> list[Run]:
    """The runs with names that differ."""
    taken: dict[str, int] = {}
    found = []
    for run in runs:
        taken[run.name] = taken.get(run.name, 0) + 1
        found.append(run if taken[run.name] == 1 else replace(run, name=f"{run.name} ({taken[run.name]})"))
    return found


def _colours(names: Iterable[str]) -> dict[str, int]:
    """A colour per name: fixed for the usual ones, the next free one for others."""
    found: dict[str, int] = {}
    for name in dict.fromkeys(names):
        taken = {*found.values(), *_FIXED_COLOURS.values()}
        free = next((k for k in range(charts.NUM_COLOURS) if k not in taken), len(found) % charts.NUM_COLOURS)
        found[name] = _FIXED_COLOURS.get(name, free)
    return found


def _section(run: Run, place: str) -> dict[str, Any]:
    """Everything the page says about one run, for the template."""
    models = run.results.models if run.results else ()
    teacher = models[0].name if models else "teacher"
    colours = _colours([teacher, *(m.name for m in models), *(arm.name for arm in run.arms)]) | {teacher: 0}
    arms = {arm.name: arm for arm in _in_order(run.arms, [m.name for m in models])}
    return {
        "name": run.name,
        "students": _legend(colours, teacher),
        "has_unseen": any("unseen" in model.groups for model in models),
        "headline": _headline(run.results, colours) if run.results else None,
        "grids": _grids(run, colours),
        "validations": [_strip(one, colours) for one in run.validations],
        "metrics": tables.metric_tables(run.results, colours) if run.results else [],
        "about": list(run.results.protocol.get("metrics", {}).values()) if run.results else [],
        "costs": tables.cost_table(run.results, colours) if run.results else None,
        "training": tables.training_table(arms, colours) if arms else None,
        "charts": _charts(run, arms, colours, place),
        "notes": blocks(run.notes),
        "protocol": _protocol(run.results) if run.results else [],
        "recipe": run.recipe,
    }


def _legend(colours: Mapping[str, int], teacher: str) -> list[tuple[str, int]]:
    """Title and colour of every student; no chart has a line for the teacher."""
    return [(tables.title(name), colour) for name, colour in colours.items() if name != teacher]


def _in_order(arms: Sequence[ArmLog], names: Sequence[str]) -> list[ArmLog]:
    """The arms in the order of the models; arms without results after them."""
    return sorted(arms, key=lambda arm: names.index(arm.name) if arm.name in names else len(names))


def _headline(results: Results, colours: Mapping[str, int]) -> dict[str, Any] | None:
    """The numbers that tell the story: right concepts on unseen prompts, by model, as bars."""
    groups = curves.ordered_groups(group for model in results.models for group in model.groups)
    group = groups[0] if groups else ""
    scored = [(m, m.groups.get(group, {}).get("concept_accuracy")) for m in results.models]
    bars = [
        {
            "title": tables.title(model.name),
            "colour": colours[model.name],
            "value": tables.number(score.value, "share"),
            "interval": tables.interval(score, "share"),
            "share": round(100 * score.value, 2),
            "low": round(100 * score.low, 2),
            "high": round(100 * score.high, 2),
        }
        for model, score in scored
        if score is not None
    ]
    n = next((score.n for _, score in scored if score is not None), 0)
    return {"group": group, "n": n, "bars": bars} if bars else None


def _grids(run: Run, colours: Mapping[str, int]) -> list[dict[str, Any]]:
    """One grid per group: a column per prompt, a row per model."""
    if run.pictures is None:
        return []
    grids = []
    for group in curves.ordered_groups(run.pictures.groups):
        keys = [tables.shown(key) for key in run.pictures.groups[group]]
        rows = [
            {"title": tables.title(name), "colour": colours.get(name, 0), "pictures": list(by_group.get(group, ()))}
            for name, by_group in run.pictures.models.items()
        ]
        if keys and any(row["pictures"] for row in rows):
            grids.append({"group": group, "keys": keys, "rows": rows})
    return grids


def _strip(found: Validation, colours: Mapping[str, int]) -> dict[str, Any]:
    """The grids of an arm from the first step to the last, and what their columns are."""
    columns = [f"{group}: {', '.join(map(tables.shown, keys))}" for group, keys in found.groups.items()]
    return {"title": tables.title(found.name), "colour": colours.get(found.name, 0), "columns": columns,
            "grids": list(found.grids.items())}  # fmt: skip


def _charts(run: Run, arms: Mapping[str, ArmLog], colours: Mapping[str, int], place: str) -> dict[str, str]:
    """Name -> SVG of every chart; "" where there are no values for it."""
    students: Sequence[ModelResult] = run.results.models[1:] if run.results else ()
    panels: dict[str, tuple[list[Panel], bool]] = {
        "loss": (curves.loss_panels(arms, colours), False),
        "time": (curves.time_panels(arms, colours), False),
        "swap": (curves.swap_panels(arms, colours), False),
        "gap": (curves.gap_panels(run.results, students, colours) if run.results else [], True),
    }
    return {
        name: charts.draw(found, name=f"{place}-{name}", share_y=share) if found else ""
        for name, (found, share) in panels.items()
    }


def _protocol(results: Results) -> list[tuple[str, str]]:
    """Label and text of every line of the protocol; the metrics have a table of their own, and what the runner
    notes for itself ("inputs") is not for people."""
    lines = []
    for key, value in results.protocol.items():
        if key in ("metrics", "inputs") or value is None or value == {}:
            continue
        if isinstance(value, Mapping):
            text = ", ".join(f"{name} {below}" for name, below in value.items())
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        lines.append((key.replace("_", " "), text))
    return lines


def blocks(notes: str) -> list[dict[str, Any]]:
    """Notes as paragraphs and lists of pairs: lines of "word  text", two or more spaces between, are pairs.

    >>> blocks("One\\nparagraph.\\n\\nlr     the best of three\\nbatch  as large as fits")
    [{'text': 'One paragraph.'}, {'pairs': [['lr', 'the best of three'], ['batch', 'as large as fits']]}]
    """
    found: list[dict[str, Any]] = []
    for paragraph in re.split(r"\n\s*\n", notes.strip()):
        lines = [line.strip() for line in paragraph.splitlines() if line.strip()]
        pairs = [re.split(r"\s{2,}", line, maxsplit=1) for line in lines]
        if lines and all(len(pair) == 2 for pair in pairs):
            found.append({"pairs": pairs})
        elif lines:
            found.append({"text": " ".join(lines)})
    return found


def _together(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The runs' students in common tables, one set of tables per protocol: other protocols are other numbers."""
    families: dict[str, list[Run]] = {}
    for run in runs:
        if run.results is not None:
            families.setdefault(run.results.hash, []).append(run)
    return [_family(members, f"f{k}") for k, members in enumerate(families.values())]


def _family(runs: Sequence[Run], place: str) -> dict[str, Any]:
    """Tables and charts of runs that were evaluated alike; the teacher, the same for all, stands once."""
    whole = joined([run.results for run in runs if run.results is not None], [run.name for run in runs])
    teacher = whole.models[0]
    arms = {f"{run.name} / {arm.name}": arm for run in runs for arm in run.arms}
    colours = _colours([teacher.name, *(m.name for m in whole.models), *arms]) | {teacher.name: 0}
    run = Run("", whole, (), None, "", "")
    return {
        "runs": [run.name for run in runs],
        "students": _legend(colours, teacher.name),
        "metrics": tables.metric_tables(whole, colours),
        "costs": tables.cost_table(whole, colours),
        "charts": _charts(run, arms, colours, place),
    }
