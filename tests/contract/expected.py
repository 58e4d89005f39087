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
    "ltx-latent-upsample": "no denoising loop",
}

# case -> what the refusal of its student says
NOT_CUT: dict[str, str] = {
    "hunyuan-dit-controlnet": "number of controls",
    "sd-controlnet-xs": "cuts nothing",
}

# case -> why it does not go the whole way yet; the test fails as soon as it does
GAPS: dict[str, str] = {
    "sd-cycle": "its own sampler, started from a picture, gives latents that are not finite with random weights",
    "gligen": "the pipeline switches parts of the denoiser off during its loop, so teacher and student differ in state",
    "sdxl-adapter": "the denoiser itself answers differently in a batch: one picture's features are added to all rows",
}
