"""The page of a run: complete in itself, escaped, with every number, and robust against half a run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from PIL import Image

from condistill.errors import UserError
from condistill.report import read_run, report
from tests.unit.report.conftest import make_run

EVIL = "<script>alert('prompt')</script>"
VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """The tags of a page; whether they nest; what it would load."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._open += [tag] if tag not in VOID else []
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self._open and self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a whole run, made once."""
    folder = make_run(tmp_path_factory.mktemp("run") / "out")
    path = report(folder)
    assert path == folder / "report.html"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_page_loads_nothing_and_runs_nothing(page):
    assert "script" not in page.tags
    outside = [source for source in page.sources if not source.startswith(("data:", "#"))]
    assert not outside


def test_every_picture_and_chart_is_in_it(page):
    assert page.tags.count("img") == 2 * 2 * 3
    assert page.tags.count("svg") == 4


def test_unseen_comes_first_and_names_are_for_people(page):
    assert page.text.index("Unseen prompts") < page.text.index("Seen prompts")
    assert "Without random conditioning" in page.text and "With random conditioning" in page.text


def test_numbers_intervals_and_differences_are_in_it(page):
    assert "95 %" in page.text and "90.2 to 99.8 %" in page.text
    assert "+93 points" in page.text and "86 to 98 points" in page.text
    assert "5.90 M" in page.text and "68 % of the teacher" in page.text and "310 ms" in page.text
    assert "sigmoid (k 20, centre 0.7)" in page.text


def test_prompts_notes_and_recipe_are_escaped(page, text):
    assert EVIL in page.text and EVIL not in text
    assert "lr: the best of three tried <on> one seed" in page.text
    assert "without: {p_random: 0}" in page.text


def test_charts_are_well_formed_and_share_no_ids(text):
    charts = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    ids = [element.get("id") for svg in charts for element in ElementTree.fromstring(svg).iter() if element.get("id")]
    assert len(charts) == 4 and len(ids) == len(set(ids))
    for used in re.findall(r"url\(#([^)]+)\)", text):
        assert used in ids
    assert not re.search(r"#0a0b0[0-9]|#010203|#040506", text), "a colour of the charts was not replaced"


def test_the_same_run_gives_the_same_page(run_folder, tmp_path):
    pages = [report(run_folder, tmp_path / f"{k}.html").read_text(encoding="utf-8") for k in range(2)]
    without_date = [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", text) for text in pages]
    assert without_date[0] == without_date[1]


def test_notes_may_be_given(run_folder):
    shutil.rmtree(run_folder / "compare")
    assert "chosen on <two> seeds" in Page(report(run_folder, notes="chosen on <two> seeds").read_text()).text
    (run_folder / "notes.md").write_text("from a file")
    assert read_run(run_folder).notes == "from a file"


@pytest.mark.parametrize("missing", ["results.json", "log.jsonl", "samples", "recipe.yaml", "compare"])
def test_a_part_may_be_missing(run_folder, missing):
    path = run_folder / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert Page(report(run_folder).read_text(encoding="utf-8")).tags.count("h1") == 1


def test_a_run_that_was_killed_is_shown_as_far_as_it_came(run_folder):
    lines = (run_folder / "log.jsonl").read_text().splitlines()
    (run_folder / "log.jsonl").write_text("\n".join(lines[:30]) + "\n" + lines[30][:40])
    (run_folder / "results.json").unlink()
    arms = {arm.name: arm for arm in read_run(run_folder).arms}
    assert len(arms["with"].steps) == 29 and not arms["with"].end
    assert "not finished" in Page(report(run_folder).read_text(encoding="utf-8")).text


def test_a_picture_that_is_gone_leaves_a_gap(run_folder):
    (run_folder / "samples" / "with-unseen-000.png").unlink()
    assert Page(report(run_folder).read_text(encoding="utf-8")).tags.count("img") == 11


def test_runs_without_results_are_shown_by_their_logs(run_folder, tmp_path):
    (run_folder / "results.json").unlink()
    shutil.copytree(run_folder, tmp_path / "other")
    both = Page(report([run_folder, tmp_path / "other"], tmp_path / "both.html").read_text(encoding="utf-8"))
    assert both.tags.count("svg") == 2 * 3


def test_runs_side_by_side_share_tables_only_if_measured_alike(run_folder, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run_folder, other)
    alike = Page(report([run_folder, other], tmp_path / "both.html").read_text(encoding="utf-8"))
    assert "out / with" in alike.text and "other / with" in alike.text
    assert alike.text.count("Unseen prompts 80 images") == 1
    results = json.loads((other / "results.json").read_text())
    results["protocol"]["seeds"] = [2]
    (other / "results.json").write_text(json.dumps(results))
    apart = Page(report([run_folder, other], tmp_path / "both.html").read_text(encoding="utf-8"))
    assert apart.text.count("Unseen prompts 80 images") == 2 and "Measured alike: other" in apart.text


class TestMistakes:
    def test_no_folder(self, tmp_path):
        with pytest.raises(UserError, match="no such run folder"):
            report(tmp_path / "nothing")

    def test_nothing_in_the_folder(self, tmp_path):
        with pytest.raises(UserError, match="neither results"):
            report(tmp_path)

    def test_no_runs(self):
        with pytest.raises(UserError, match="no run folder"):
            report([])

    def test_damaged_results(self, run_folder):
        (run_folder / "results.json").write_text('{"schema": 1, "models"')
        with pytest.raises(UserError, match="not readable as JSON"):
            report(run_folder)

    @pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "recipe.yaml"])
    def test_index_that_points_elsewhere(self, run_folder, name):
        (run_folder / "secret.png").write_bytes(b"secret")
        index = json.loads((run_folder / "samples" / "index.json").read_text())
        index["models"]["with"]["unseen"] = [name]
        (run_folder / "samples" / "index.json").write_text(json.dumps(index))
        with pytest.raises(UserError, match="no picture of this folder"):
            report(run_folder)

    def test_recipe_that_is_not_utf8(self, run_folder):
        (run_folder / "recipe.yaml").write_bytes(b"name: \xff")
        with pytest.raises(UserError, match="not UTF-8"):
            report(run_folder)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium")
def test_a_browser_shows_it_without_complaint(run_folder):
    path = report(run_folder)
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    done = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert "With random conditioning" in done.stdout
    assert "CONSOLE" not in done.stderr


def test_validation_grids_are_a_strip_over_the_steps(run_folder):
    where = run_folder / "compare" / "without" / "validation"
    where.mkdir(parents=True)
    steps = [{"step": 10 * k, "file": f"step-{10 * k:06d}.png"} for k in range(1, 31)]
    for row in steps:
        Image.new("RGB", (8, 8), (row["step"] % 255, 0, 0)).save(where / row["file"])
    index = {"groups": {"seen": [EVIL], "unseen": ["a panda"]}, "students": [""], "steps": steps}
    (where / "index.json").write_text(json.dumps(index))
    text = report(run_folder).read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("img") == 2 * 2 * 3 + 12  # of many steps some, the first and the last among them
    assert "step 10" in page.text and "step 300" in page.text and "step 20" not in page.text
    assert EVIL not in text and f"seen: {EVIL}; unseen: a panda" in page.text
    (where / "step-000300.png").unlink()
    assert "step 300" not in Page(report(run_folder).read_text(encoding="utf-8")).text
    index["steps"] = [{"step": 1, "file": "../../../recipe.yaml"}]
    (where / "index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="is no picture of this folder"):
        report(run_folder)
