"""The page itself: one form, every model's picture and its caption, and the reports, each behind a tab."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from condistill.errors import UserError
from condistill.web.studio import MAX_GUIDANCE, MAX_PROMPT, MAX_SEED, MAX_STEPS, Asked, Drawn, Studio

CSS = """
.gradio-container { width: 100%; max-width: 76rem !important; margin: 0 auto; }
.shown img { width: 100%; height: 100%; object-fit: contain; }
.caption { min-height: 1.5rem; font-variant-numeric: tabular-nums; }
iframe.report { width: 100%; height: 82vh; border: 0; background: white; }
"""
_FONT, _FONT_MONO = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")  # the machine's: nothing is fetched


def theme() -> gr.Theme:
    """Plain colours and the machine's own fonts."""
    return gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=_FONT, font_mono=_FONT_MONO)


def page(studio: Studio, folder: str) -> gr.Blocks:
    """The page of one studio.

    Args:
        studio: what is shown.
        folder: where pictures are kept for the browser to fetch.
    """
    with gr.Blocks(title="condistill", analytics_enabled=False, fill_width=True) as blocks:
        gr.Markdown("# condistill\nThe same prompt and seed for every model.")
        with gr.Tab("Draw"):
            _draw_tab(studio, folder)
        for number, (name, file) in enumerate(studio.reports()):
            if file.is_file():
                with gr.Tab(f"Report of {name}"):
                    gr.HTML(f'<iframe class="report" src="/report/{number}" title="report" sandbox></iframe>')
    return blocks


def _draw_tab(studio: Studio, folder: str) -> None:
    with gr.Row(equal_height=True):
        prompt = gr.Textbox(
            label="Prompt", placeholder="what is to be seen", max_length=MAX_PROMPT, scale=6, min_width=320,
            autofocus=True, elem_id="prompt",
        )  # fmt: skip
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=MAX_SEED - 1, min_width=100)
        steps = _number(studio, "num_inference_steps", label="Steps", precision=0, minimum=1, maximum=MAX_STEPS)
        guidance = _number(studio, "guidance_scale", label="Guidance", minimum=0, maximum=MAX_GUIDANCE, step=0.5)
    button = gr.Button("Draw", variant="primary", elem_id="draw")
    if prompts := studio.prompts():
        gr.Examples([[one] for one in prompts], [prompt], label="Prompts of the run")
    with gr.Row():
        places = [_place(model.name) for model in studio.models]

    def draw(text: Any, number: Any, num_steps: Any, scale: Any) -> Iterator[dict[Any, Any]]:
        asked = Asked(text, 0 if number is None else number, num_steps, scale)
        try:
            asked.check()
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None
        yield {caption: "" if k else "drawing ..." for k, (*_, caption) in enumerate(places)}
        first: Drawn | None = None
        for k, place in enumerate(places):
            shown, first = _shown(studio, k, asked, place, folder, first)
            if k + 1 < len(places):
                shown[places[k + 1][-1]] = "drawing ..."
            yield shown

    gr.on(
        [button.click, prompt.submit],
        draw,
        [prompt, seed, steps, guidance],
        {part for place in places for part in place},
        concurrency_limit=1,
        trigger_mode="once",
        api_visibility="private",
        show_progress="hidden",
    )


def _number(studio: Studio, argument: str, **field: Any) -> Any:
    """A field for an argument of the pipelines' call; nothing to see where they take none."""
    value = studio.begins_with(argument)
    return gr.State(None) if value is None else gr.Number(value, min_width=100, **field)


def _place(name: str) -> tuple[gr.Image, gr.Audio, gr.Markdown]:
    with gr.Column(min_width=260):
        picture = gr.Image(
            label=name, height=300, buttons=["download", "fullscreen"], interactive=False, elem_classes="shown"
        )
        sound = gr.Audio(label=name, buttons=["download"], interactive=False, visible=False)
        caption = gr.Markdown("", elem_classes="caption", sanitize_html=True)
    return picture, sound, caption


def _shown(
    studio: Studio, number: int, asked: Asked, place: tuple[Any, Any, Any], folder: str, first: Drawn | None
) -> tuple[dict[Any, Any], Drawn | None]:
    """What a model's place shows, and the first model that drew, with which the others are compared."""
    picture, sound, caption = place
    try:
        drawn = studio.draw(number, asked)
    except UserError as error:
        return {picture: gr.update(value=None), sound: gr.update(value=None), caption: _plain(str(error))}, first
    with tempfile.NamedTemporaryFile(suffix=f".{drawn.suffix}", dir=folder, delete=False) as file:
        file.write(drawn.content)
    is_sound = drawn.suffix == "wav"
    return {
        picture: gr.update(value=None if is_sound else Path(file.name), visible=not is_sound),
        sound: gr.update(value=file.name if is_sound else None, visible=is_sound),
        caption: drawn.caption(first),
    }, first or drawn


def _plain(text: str) -> str:
    """The text in Markdown, as it stands."""
    return "".join(f"&#{ord(one)};" if one in "<>&*_`[]()#!|~\\$" else one for one in text)
