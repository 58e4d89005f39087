"""One target for each parser: a good input, how it is broken, and what reads it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz import mutations
from tests.fuzz.mutations import Mutate


@dataclass(frozen=True)
class Target:
    """A parser.

    Attributes:
        name: of the target.
        prepare: makes whatever else the parser needs in a folder, and gives the good inputs.
        read: reads the file, in that folder, as a user's command would.
        mutate: a good input broken.
        file: where the input is written, in the folder.
        weight: share of the inputs; less for what is slow.
    """

    name: str
    prepare: Callable[[Path], list[bytes]]
    read: Callable[[Path], Any]
    mutate: Mutate
    file: str
    weight: float = 1.0


def run_one(target: Target, folder: Path, data: bytes) -> str:
    """ "accepted" or the one line that the input was refused with; anything else that happens is raised."""
    from condistill import UserError

    path = folder / target.file
    path.write_bytes(data)
    try:
        target.read(path)
    except UserError as error:
        said = str(error)
        if not said.strip() or len(said) > 1500:
            raise AssertionError(f"no clear message but {said[:200]!r} ({len(said)} characters)") from error
        return said
    finally:
        assert path.read_bytes() == data, "the input was changed"
    return "accepted"


def broken(target: Target, seeds: list[bytes], draw: Random) -> bytes:
    """One input that was good."""
    return target.mutate(draw, draw.choice(seeds))


# recipes and the specifications in them


def _recipes(folder: Path) -> list[bytes]:
    from condistill.recipes.load import shipped

    (folder / "p.txt").write_text("a fox\nan owl\n")
    whole = (
        "# chosen\nname: with\nteacher: {load: emoji, dtype: float32}\n"
        "student: {spec: b-base, init: inherit, seed: 1}\n"
        "data:\n  prompts: {mixture: [{path: p.txt, weight: 2}, {source: [a, b], weight: 1}]}\n"
        "  corpus: {source: p.txt, holdout: {words: [fox]}, keep: seen}\n  call: {num_inference_steps: 2}\n"
        "p_random: {name: sigmoid, k: 20, centre: 0.7}\nswap: {by: gap, candidates: 4}\n"
        "loss: {taps: relative, p_null: 0.1}\ntrain: {steps: 10, batch: 8, micro_batch: 4, betas: [0.9, 0.99]}\n"
        "evaluate: {protocol: plain, prompts: {seen: p.txt}, num_items: {seen: 1}, metrics: [kd_gap]}\n"
        "compare: {without: {p_random: never, train: {lr: 1e-3}}}\n"
    )
    return [whole.encode(), whole.encode(), *(path.read_bytes() for path in shipped().values())]


def _read_recipe(path: Path) -> None:
    from condistill.recipes import dump_recipe, load_recipe
    from condistill.recipes.check import check

    recipe = load_recipe(path)
    check(recipe, allow_missing_files=True)
    dump_recipe(recipe)


def _lines(*lines: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [line.encode() for line in lines]


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="surrogateescape")


def _read_override(path: Path) -> None:
    from condistill.recipes import load_recipe

    load_recipe("emoji", [_text(path)])


def _read_axis(path: Path) -> None:
    from condistill.recipes.grid import axis, cells

    cells("emoji", [], [axis(_text(path))], seeds=range(1), out=path.parent)


def _read_student_spec(path: Path) -> None:
    from condistill.students import check_spec

    check_spec(_text(path))


def _values(read: Callable[[Any], Any]) -> Callable[[Path], None]:
    def reading(path: Path) -> None:
        try:
            found = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            return
        read(found)

    return reading


def _p_random(value: Any) -> None:
    import torch

    from condistill import p_random

    found = p_random(value)
    if getattr(found, "name", "auto") != "auto":  # neither one that is measured first nor a function of the user's
        found(torch.linspace(0, 1, 5))


def _swap(value: Any) -> None:
    from condistill.distill.swap import swap_of

    swap_of(value)


def _corpus_spec(value: Any) -> None:
    import numpy as np

    from condistill import corpus

    if isinstance(value, dict) and isinstance(value.get("labels"), int) and value["labels"] > 10**6:
        value = {**value, "labels": 10**6}
    found = corpus(value)
    found.describe()
    assert len(found.draw(np.array([0.0, 0.999]))) == 2


# corpora


def _tables(kind: str) -> Callable[[Path], list[bytes]]:
    def prepare(folder: Path) -> list[bytes]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = ["a panda", 'quoted "x", and\ttab', "\u0645\u0631\u062d\u0628\u0627", "\U0001f98a fox", "two words"]
        if kind == "txt":
            return ["\n".join(rows).encode(), "\ufeffone\r\n\r\ntwo\r\n".encode(), "one\ntwo\n".encode("utf-16")]
        if kind == "jsonl":
            return [b"".join(mutations.json_text({"id": k, "caption": row}) + b"\n" for k, row in enumerate(rows))]
        if kind == "parquet":
            found = []
            for table in (
                {"id": range(5), "caption": rows}, {"text": [1, 2]}, {"prompt": [["nested"], ["list"]]},
                {"prompt": [{"a": "b"}, {"a": "c"}]}, {"caption": pa.array(rows).dictionary_encode()},
            ):  # fmt: skip
                buffer = io.BytesIO()
                pq.write_table(pa.table(table), buffer)
                found.append(buffer.getvalue())
            return found
        mark = "\t" if kind == "tsv" else ","
        return [f'id{mark}caption\n1{mark}"a ""fox"""\n2{mark}"b\nc"\n3{mark}owl\n'.encode(), b"prompt\nx\ny\n"]

    return prepare


def _read_corpus(path: Path) -> None:
    import numpy as np

    from condistill import corpus

    found = corpus(path, cache_dir=path.parent / "arrow")
    found.describe()
    assert all(isinstance(key, str | int) for key in found.draw(np.linspace(0, 0.999, 7)))  # type: ignore[arg-type]
    corpus({"source": found, "unique": True})


# D


def _cache(file: str) -> Callable[[Path], list[bytes]]:
    def prepare(folder: Path) -> list[bytes]:
        import torch

        from condistill import Cache
        from condistill.cache import Manifest

        keys = ["a fox", "an owl", {"prompt": "x", "size": [1, 2]}]
        plan = Manifest(teacher="t" * 64, pipeline="P", call={"steps": 3, "init": {"a": None}}, seed=0, num_items=3,
                        shard_items=2, latent_shape=(2, 3))  # fmt: skip
        made = Cache.create(folder / "D", plan, keys, [1, 2, 3])
        for number, rows in ((0, 2), (1, 1)):
            made.write_shard(number, torch.ones(rows, 2, 3).half(), {"mask": torch.ones(rows, 1)})
        return [(folder / file).read_bytes()]

    return prepare


def _read_cache(path: Path) -> None:
    from condistill import Cache

    found = Cache.open(path.parent)
    assert len(found.keys) == len(found)
    found.read(list(range(len(found))))
    found.verify()
    found._is_small = False
    found._open.clear()
    found.read([0, len(found) - 1])


# run folders


def _run_folder(file: str) -> Callable[[Path], list[bytes]]:
    def prepare(folder: Path) -> list[bytes]:
        from tests.unit.report.conftest import make_run

        return [(make_run(folder / "run") / file).read_bytes()]

    return prepare


def _read_run(path: Path) -> None:
    from condistill.report import report

    folder = path.parent if (path.parent / "recipe.yaml").is_file() else path.parent.parent
    report(folder, folder.parent / "report.html")


def _read_results(path: Path) -> None:
    from condistill.evaluate.results import Results

    Results.load(path).table()


def _read_log(path: Path) -> None:
    from condistill.report.curves import last_losses, swap_rate
    from condistill.report.read import read_run
    from condistill.report.tables import training_table
    from condistill.train.log import Log

    assert all(isinstance(row, dict) for row in Log(path).rows())
    arms = {arm.name: arm for arm in read_run(path.parent).arms}
    training_table(arms, dict.fromkeys(arms, 0))
    for arm in arms.values():
        swap_rate(arm)
        last_losses(arm)


def _grid(folder: Path) -> list[bytes]:
    from tests.unit.report.test_grid_page import grid

    return [mutations.json_text(grid(2).to_json())]


def _read_grid(path: Path) -> None:
    from condistill.evaluate.ablation import Ablation
    from condistill.evaluate.ablation_table import markdown

    markdown(Ablation.load(path.parent))


def _read_grid_page(path: Path) -> None:
    from condistill.report import report

    report(path.parent, path.with_name("report.html"))


# weights, pipelines


def _tensors(folder: Path) -> list[bytes]:
    import torch
    from safetensors.torch import save

    return [save({"a": torch.ones(3, 2), "b": torch.arange(4)}, {"lora_adapter_metadata": "{}"})]


def _read_tensors(path: Path) -> None:
    from condistill.files import load_tensors

    load_tensors(path)


def _archive(folder: Path) -> list[bytes]:
    import numpy as np

    found = []
    for arrays in ({"mu": np.zeros(3), "sigma": np.eye(3)}, {"seen": np.zeros((2, 4, 4, 3), np.uint8)}):
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        found.append(buffer.getvalue())
    return found


def _read_archive(path: Path) -> None:
    from condistill.evaluate.references import given

    given(str(path), ["seen"])


def _pipeline(file: str) -> Callable[[Path], list[bytes]]:
    def prepare(folder: Path) -> list[bytes]:
        from tests.tiny.pipelines import sd

        sd().save_pretrained(folder / "sd")
        return [(folder / "sd" / file).read_bytes()]

    return prepare


def _read_pipeline(path: Path) -> None:
    from condistill import Teacher

    folder = path.parent if (path.parent / "model_index.json").is_file() else path.parent.parent
    Teacher.load(folder)


def _read_config(path: Path) -> None:
    from condistill.students import load_config, make_plan

    cls, config = load_config(path.parents[1])[:2]
    make_plan(config, cls, "b-base")


_JSON, _ROWS, _BYTES = mutations.by_json, mutations.by_json_line, mutations.by_bytes
_SPECS = ("b-base", "depth=0.5+blocks=ends", "width=0.75", "keep=down_blocks.1:0", "keep=transformer_blocks:0,2,5")
_P = (b'"sigmoid"', b"0.5", b'{"name": "sigmoid", "k": 20, "centre": 0.7}', b'{"name": "auto", "power": 1.0}',
      b'{"name": "tabulated", "values": [0, 0.5, 1]}', b'"exponential:5"', b'{"name": "math.exp"}')  # fmt: skip
_CORPORA: tuple[Mapping[str, Any] | list[Any], ...] = (
    {"labels": 10}, ["a", "b", {"prompt": "x"}],
    {"mixture": [{"source": ["a"], "weight": 2}, {"labels": 3, "weight": 1}]},
    {"source": ["a fox", "an owl"], "holdout": {"words": ["fox"]}, "keep": "seen", "unique": True},
    {"source": ["a", "b"], "holdout": {"regex": "a+"}, "keep": "unseen"}, {"world": "emoji", "group": "seen"},
    {"path": "p.txt", "column": "text"},
)  # fmt: skip

# weights of what draws charts or loads a pipeline; both are left to benchmarks/fuzz.py
PAGE, PIPELINE = 0.09, 0.05

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("recipe", _recipes, _read_recipe, _BYTES, "recipe.yaml", 1.0),
        Target("override", _lines("train.steps=5", "p_random={name: sigmoid, k: 3}", "data.corpus=[a, b]",
                                  "compare.without.train.lr=1e-3", "student=b-base"),
               _read_override, _BYTES, "override", 0.5),
        Target("over", _lines("p_random=never,{name: sigmoid, k: 20}", "train.lr=1e-3,1e-4",
                              "p_random=[{label: x, value: 0.5}, 0.1]"), _read_axis, _BYTES, "over", 0.3),
        Target("student", _lines(*_SPECS), _read_student_spec, _BYTES, "spec"),
        Target("p_random", lambda folder: list(_P), _values(_p_random), _JSON, "p.json"),
        Target("swap", lambda folder: [b'"gap"', b'{"by": "gap", "candidates": 8, "power": 1.0}'], _values(_swap),
               _JSON, "swap.json", 0.5),
        Target("corpus-spec", lambda folder: [mutations.json_text(one) for one in _CORPORA], _values(_corpus_spec),
               _JSON, "corpus.json"),
        *(Target(kind, _tables(kind), _read_corpus, _ROWS if kind == "jsonl" else _BYTES, f"c.{kind}")
          for kind in ("txt", "csv", "tsv", "jsonl", "parquet")),
        Target("manifest", _cache("D/manifest.json"), _read_cache, _JSON, "D/manifest.json"),
        Target("plan", _cache("D/plan.jsonl"), _read_cache, _ROWS, "D/plan.jsonl"),
        Target("rows", _cache("D/shard-00000.jsonl"), _read_cache, _ROWS, "D/shard-00000.jsonl"),
        Target("shard", _cache("D/shard-00000.safetensors"), _read_cache, mutations.by_header,
               "D/shard-00000.safetensors"),
        Target("results", _run_folder("results.json"), _read_results, _JSON, "run/results.json", 0.5),
        Target("results-page", _run_folder("results.json"), _read_run, _JSON, "run/results.json", PAGE),
        Target("log", _run_folder("log.jsonl"), _read_log, _ROWS, "run/log.jsonl", 0.5),
        Target("log-page", _run_folder("log.jsonl"), _read_run, _ROWS, "run/log.jsonl", PAGE),
        Target("samples", _run_folder("samples/index.json"), _read_run, _JSON, "run/samples/index.json", PAGE),
        Target("run-recipe", _run_folder("recipe.yaml"), _read_run, _BYTES, "run/recipe.yaml", PAGE),
        Target("grid", _grid, _read_grid, _JSON, "ablation.json", 0.5),
        Target("grid-page", _grid, _read_grid_page, _JSON, "ablation.json", PAGE),
        Target("weights", _tensors, _read_tensors, mutations.by_header, "w.safetensors"),
        Target("reference", _archive, _read_archive, _BYTES, "r.npz"),
        Target("model-index", _pipeline("model_index.json"), _read_pipeline, _JSON, "sd/model_index.json", PIPELINE),
        Target("unet-config", _pipeline("unet/config.json"), _read_pipeline, _JSON, "sd/unet/config.json", PIPELINE),
        Target("unet-plan", _pipeline("unet/config.json"), _read_config, _JSON, "sd/unet/config.json", PIPELINE),
        Target("noise-config", _pipeline("scheduler/scheduler_config.json"), _read_pipeline, _JSON,
               "sd/scheduler/scheduler_config.json", PIPELINE),
        Target("unet-weights", _pipeline("unet/diffusion_pytorch_model.safetensors"), _read_pipeline,
               mutations.by_header, "sd/unet/diffusion_pytorch_model.safetensors", PIPELINE),
        Target("tokenizer", _pipeline("tokenizer/tokenizer_config.json"), _read_pipeline, _JSON,
               "sd/tokenizer/tokenizer_config.json", PIPELINE),
    )
}  # fmt: skip
