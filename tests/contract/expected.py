"""Pipelines that are refused, cuts that are, and what does not work yet: each with words of the message or a reason."""

from __future__ import annotations

# case -> what the teacher's refusal says
REFUSED: dict[str, str] = {
    "ddpm-unconditional": "nothing to swap",
    "sana-sprint": "SCMScheduler",
    "sana-sprint-img2img": "SCMScheduler",
    "flux2-klein-kv": "changes from step to step",
    "sd-latent-upscale": "no affine map",
    "z-image-controlnet-inpaint": "is the scheduler's sample",
    "amused": "AmusedScheduler",
    "amused-img2img": "AmusedScheduler",
    "amused-inpaint": "AmusedScheduler",
    "sd-attend-and-excite": "could not be run",
    "sd-paradigms": "could not be run",
}

_FED = "does not run"  # a ControlNet or a text encoder feeds every layer of the teacher, and a student has fewer
# case -> what the refusal of its student says
NOT_CUT: dict[str, str] = {
    "sd-controlnet": _FED,
    "sd-controlnet-img2img": _FED,
    "sd-controlnet-inpaint": _FED,
    "sd-controlnet-pag": _FED,
    "sd-controlnet-pag-inpaint": _FED,
    "sdxl-controlnet": _FED,
    "sdxl-controlnet-img2img": _FED,
    "sdxl-controlnet-inpaint": _FED,
    "sdxl-controlnet-pag": _FED,
    "sdxl-controlnet-pag-img2img": _FED,
    "sdxl-controlnet-union": _FED,
    "sdxl-controlnet-union-img2img": _FED,
    "sdxl-controlnet-union-inpaint": _FED,
    "hunyuan-dit-controlnet": "number of controls",
    "bria-fibo": _FED,
    "bria-fibo-edit": _FED,
    "sd-controlnet-xs": "cuts nothing",
}

# case -> why it does not go the whole way yet; the test fails as soon as it does
GAPS: dict[str, str] = {
    "sd-cycle": "its own sampler, started from a picture, gives latents that are not finite with random weights",
    "gligen": "the pipeline switches parts of the denoiser off during its loop, so teacher and student differ in state",
    "sdxl-adapter": "the denoiser itself answers differently in a batch: one picture's features are added to all rows",
}
