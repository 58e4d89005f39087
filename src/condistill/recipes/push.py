"""`condistill push`: a student's folder with its model card, and its upload."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condistill.cache.manifest import Manifest
from condistill.errors import UserError
from condistill.files import read_json, write_atomic, write_json
from condistill.pictures import Pictures
from condistill.recipes import strict_yaml
from condistill.recipes.arms import Arm, arms
from condistill.recipes.dump import dump_recipe, opening_comments
from condistill.recipes.hub import asking, no_token
from condistill.recipes.licence import CARD, Terms, front_matter, terms_of
from condistill.recipes.load import FILE, load_recipe, run_folder
from condistill.recipes.run import LOG, RESULTS, STUDENT
from condistill.recipes.schema import Recipe
from condistill.recipes.students import teacher_config

if TYPE_CHECKING:
    from condistill.report.card import CardFacts

MARK = "condistill"  # among the tags of our cards: a folder with it may be written anew
NUM_PICTURES = 4


def pushed(
    run: str | Path,
    name: str,
    *,
    arm: str | None = None,
    licence: str | None = None,
    out: str | Path | None = None,
    private: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """What was written and uploaded: folder, files, licence, and the address, None for a dry run.

    Args:
        run: a run folder with a trained student.
        name: of the repository on the hub, owner/name.
        arm: which student; the run's own where not given.
        licence: of the teacher, where its card is not to be had.
        out: the folder that is uploaded; push/ in the run folder where not given.
        private: whether the repository is made private.
        dry_run: write the folder only; nothing is asked of the network.

    Raises:
        UserError: no such run, student or name; a licence that is not known; no token or connection.
    """
    run = run_folder(run)
    _check_name(name)
    recipe = load_recipe(run)
    chosen = _chosen(recipe, arm)
    student = run / chosen.folder / STUDENT
    if not (student / "model_index.json").is_file():
        raise UserError(f"no student in {student} yet; finish the run first: condistill run {run}")
    if not dry_run:
        _require_token()
    terms = Terms({"license": licence}, source="--license") if licence else _terms(recipe, online=not dry_run)
    folder = _claimed(Path(out) if out is not None else run / "push")
    _write(folder, run, name, recipe, chosen, student, terms)
    address = None if dry_run else _upload(folder, name, terms, private=private)
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    return {"folder": folder, "name": name, "student": chosen.name, "licence": terms.licence} | {
        "gated": terms.is_gated, "files": files, "address": address
    }  # fmt: skip


def _check_name(name: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        raise UserError(
            f"{name!r} is no name on the hub; owner/name is wanted, of letters, digits, -, _ and ."
        ) from None


def _chosen(recipe: Recipe, name: str | None) -> Arm:
    every = {arm.name: arm for arm in arms(recipe)}
    if (name or recipe.name) not in every:
        raise UserError(f"the run has no student {name!r}; known: {', '.join(every)}")
    return every[name or recipe.name]


def _require_token() -> None:
    from huggingface_hub import get_token

    if get_token() is None:
        raise no_token()


def _terms(recipe: Recipe, *, online: bool) -> Terms:
    found = terms_of(recipe.teacher.load, online=online)
    if online and found.licence is None and not found.files:
        raise UserError(
            f"the licence of the teacher {recipe.teacher.load} is not known, and a student must not lose it; give it "
            "with --license, or put the teacher's README.md beside it"
        )
    return found


def _claimed(folder: Path) -> Path:
    """The folder, if it is new or one of ours that may be written anew."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not folder.is_dir() or MARK not in (front_matter(folder / CARD).get("tags") or ()):
            raise UserError(
                f"{folder} holds something else than a pushed student; nothing was touched, choose another --out"
            )
        shutil.rmtree(folder)
    return folder


def _write(folder: Path, run: Path, name: str, recipe: Recipe, arm: Arm, student: Path, terms: Terms) -> None:
    shutil.copytree(student, folder)
    for file in terms.files:
        shutil.copyfile(file, folder / file.name)
    comments = opening_comments((run / FILE).read_text(encoding="utf-8"))
    text = dump_recipe(Recipe.model_validate(without_places(recipe.model_dump())), comments=comments)
    write_atomic(folder / FILE, text)
    if (run / RESULTS).is_file():
        write_json(folder / RESULTS, without_places(read_json(run / RESULTS)))
    pictures = _pictures(run / "samples", folder, arm.name)
    from condistill.report.card import card

    facts = _facts(run, name, recipe, arm, student, terms, text, pictures)
    write_atomic(folder / CARD, f"---\n{strict_yaml.write(_front_matter(recipe, terms))}---\n\n{card(facts)}")


def without_places(value: Any) -> Any:
    """The same value with places on this machine cut to their last name: nobody else's business, and of no use to them.

    >>> without_places({"path": "/data/me/captions.csv", "n": 1})
    {'path': 'captions.csv', 'n': 1}
    """
    if isinstance(value, Mapping):
        return {key: without_places(below) for key, below in value.items()}
    if isinstance(value, Pictures):
        return str(value)
    if isinstance(value, list | tuple):
        return [without_places(below) for below in value]
    is_place = isinstance(value, str) and value.startswith(("/", "~")) and "\n" not in value
    return Path(value).name or value if is_place else value


def _front_matter(recipe: Recipe, terms: Terms) -> dict[str, Any]:
    found = {"library_name": "diffusers", **terms.front_matter, "tags": [MARK, "diffusers", "distillation"]}
    teacher = recipe.teacher.load
    is_hub_id = teacher.count("/") == 1 and not teacher.startswith((".", "/", "~"))
    return found | ({"base_model": teacher, "base_model_relation": "finetune"} if is_hub_id else {})


def _facts(
    run: Path, name: str, recipe: Recipe, arm: Arm, student: Path, terms: Terms, text: str, pictures: Any
) -> CardFacts:
    from condistill.evaluate.results import Results
    from condistill.report.card import CardFacts

    own = arm.recipe
    start = _start(run / arm.folder / LOG)
    cut = {
        "spec": own.student.spec,
        "weights at the start": own.student.init,
        "parameters of the denoiser": f"{start['parameters']:,}" if "parameters" in start else "",
        "p(t)": start.get("p_random", own.p_random),
        "steps x batch": f"{own.train.steps} x {own.train.batch}",
        "learning rate": own.train.lr,
        "weights that are saved": own.train.save,
    }
    return CardFacts(
        name=name,
        arm=arm.name,
        teacher=str(without_places(recipe.teacher.load)),
        licence=terms.licence,
        licence_source=str(without_places(terms.source)),
        is_gated=terms.is_gated,
        pipeline=str(read_json(student / "model_index.json").get("_class_name", "pipeline")),
        student=cut,
        changed=_changed(recipe.teacher.load, student),
        cache=_cache(run, recipe),
        corpus=str(without_places(own.data.corpus)) if own.data.corpus is not None else "D's own conditions",
        recipe=text,
        results=Results.load(run) if (run / RESULTS).is_file() else None,
        pictures=pictures,
        terms_files=[file.name for file in terms.files],
    )


def _start(log: Path) -> dict[str, Any]:
    from condistill.train.log import Log

    return next((row for row in Log(log).rows() if row.get("event") == "start"), {})


def _changed(teacher: str, student: Path) -> dict[str, tuple[Any, Any]]:
    """Config field -> what it is in the teacher and in the student; empty where the teacher is not here."""
    from condistill.students.shipped import load_config
    from condistill.teacher.loading import embedded

    if embedded(teacher) is None and not Path(teacher).expanduser().is_dir():
        return {}
    (_, before), (_, after) = teacher_config(teacher), load_config(student)
    return {key: (before.get(key), after[key]) for key in after if key in before and before[key] != after[key]}


def _cache(run: Path, recipe: Recipe) -> dict[str, Any]:
    file = Path(recipe.data.cache or run / "cache") / "manifest.json"
    prompts = without_places(recipe.data.prompts)
    if not file.is_file():
        return {"prompts": prompts, "arguments of the pipeline": recipe.data.call, "seed": recipe.data.seed}
    found = Manifest.from_json(read_json(file), where=str(file))
    return {
        "prompts": prompts,
        "latents": f"{found.num_items:,} of shape {tuple(found.latent_shape)}, {found.dtype}",
        "arguments of the pipeline": without_places(dict(found.call)),
        "seed": found.seed,
        "noise process": found.noise.get("kind", ""),
        "hash of the teacher": found.teacher[:16],
        "made": found.created,
    }


def _pictures(samples: Path, folder: Path, arm: str) -> dict[str, list[tuple[str, str]]]:
    """Model -> (file in the folder, prompt) of the first pictures of each group, teacher above student."""
    index = read_json(samples / "index.json") if (samples / "index.json").is_file() else {"groups": {}, "models": {}}
    found: dict[str, list[tuple[str, str]]] = {}
    for model in ("teacher", arm):
        for group, names in (index["models"].get(model) or {}).items():
            prompts = [key if isinstance(key, str) else json.dumps(key) for key in index["groups"][group]]
            for number, (file, prompt) in enumerate(list(zip(names, prompts, strict=False))[:NUM_PICTURES]):
                source = samples / Path(file).name
                if source.suffix != ".png" or not source.is_file():
                    continue
                target = folder / "samples" / f"{len(found)}-{group}-{number}.png"
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(source, target)
                found.setdefault(model, []).append((f"samples/{target.name}", prompt))
    return found


def _upload(folder: Path, name: str, terms: Terms, *, private: bool) -> str:
    from huggingface_hub import HfApi

    api = HfApi()
    with asking(f"the upload of {name}"):
        # made private where the teacher is gated, until the gate is up
        is_private = private or terms.is_gated
        if _is_there(api, name, private=is_private) and is_private:
            api.update_repo_settings(name, private=True)
        if terms.is_gated:
            api.update_repo_settings(name, gated="auto")
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Upload a student distilled by condistill")
    return f"{api.endpoint}/{name}"


def _is_there(api: Any, name: str, *, private: bool) -> bool:
    """Whether the repository was there before: empty, or with a student of ours. It is made where it was not.

    Raises:
        UserError: it holds something else.
    """
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.create_repo(name, private=private)
        return False
    except HfHubHTTPError as error:
        # 403: of a token that may write to this repository alone
        if getattr(getattr(error, "response", None), "status_code", None) not in (403, 409):
            raise
        try:
            there = api.model_info(name)
        except HfHubHTTPError:
            raise error from None
    files = {one.rfilename for one in there.siblings or ()} - {".gitattributes"}
    if files and MARK not in (there.tags or ()):
        raise UserError(
            f"{name} is on the hub already and holds something else ({', '.join(sorted(files)[:3])}); nothing was "
            "touched, choose another name"
        )
    return True
