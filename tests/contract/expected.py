"""Pipelines that are refused, and cuts that are: each with words of the message."""

from __future__ import annotations

# case -> what the teacher's refusal says
REFUSED: dict[str, str] = {
    "ddpm-unconditional": "nothing to swap",
    "dance-diffusion": "IPNDMScheduler",
    "ddim-unconditional": "nothing to swap",
    "pndm-unconditional": "nothing to swap",
    "ldm-unconditional": "nothing to swap",
    "score-sde-ve": "ScoreSdeVeScheduler",
    "karras-ve": "KarrasVeScheduler",
    "repaint": "RePaintScheduler",
    "leditspp": "could not be run",
    "versatile": "nothing to swap",
    "vq-diffusion": "VQDiffusionScheduler",
    "flux-redux": "no denoising loop",
    "flux2-klein-kv": "called at one time only",
    "amused": "AmusedScheduler",
    "anyflow-far": "FlowMapEulerDiscreteScheduler",
    "amused-img2img": "AmusedScheduler",
    "amused-inpaint": "AmusedScheduler",
    "sd-attend-and-excite": "by gradients through its unet",
    "sd-paradigms": "did not call unet in a sampling loop",
    "unidiffuser": "no argument of UniDiffuserModel is the scheduler's sample",
    "own-ratio": "is no affine map of the scheduler's time",
    "easy-animate-control": "could not be run",
    "chroma-inpaint": "could not be run.*no attribute 'guidance_embeds'",
    "ltx2-latent-upsample": "no denoising loop",
    "ltx-latent-upsample": "no denoising loop",
    "musicldm": "could not be run",
    "gligen-by-itself": "sets .*fuser.enabled. of its unet another way at some steps",
    "helios-pyramid": "sample in stages of growing size",
}

_OLD = "does not run with the releases in constraints.txt"
# pipelines that diffusers exports and that have no case -> why
WITHOUT: dict[str, str] = {
    "AudioDiffusionPipeline": "wants librosa",
    "SpectrogramDiffusionPipeline": "wants note_seq",
    "ConsisIDPipeline": "wants OpenCV",
    "BlipDiffusionPipeline": _OLD,
    "BlipDiffusionControlNetPipeline": _OLD,
    "VersatileDiffusionDualGuidedPipeline": _OLD,
    "StableDiffusionPix2PixZeroPipeline": "edits by gradients through the denoiser, in two loops",
    "LEditsPPPipelineStableDiffusionXL": "edits what its invert has kept, as leditspp",
    "Kandinsky6SRPipeline": "its denoiser is told nothing: no key",
    "DiffusionGemmaPipeline": "writes text: discrete",
    "LLaDA2Pipeline": "writes text: discrete",
    "RFD4ProteinaPipeline": "its network recycles a state from step to step",
    "Cosmos3OmniPipeline": "not tried",
    "Cosmos2_5_TransferPipeline": "not tried",
    "LTX2DFRTemporalRefinePipeline": "not tried",
    "LTX2VideoDiffusionDecodePipeline": "not tried",
    "OnnxStableDiffusionPipeline": "no network of torch in it",
    "OnnxStableDiffusionImg2ImgPipeline": "no network of torch in it",
    "OnnxStableDiffusionInpaintPipeline": "no network of torch in it",
    "OnnxStableDiffusionInpaintPipelineLegacy": "no network of torch in it",
    "OnnxStableDiffusionUpscalePipeline": "no network of torch in it",
    "StableDiffusionOnnxPipeline": "no network of torch in it",
}

# case -> what the refusal of its student says
NOT_CUT: dict[str, str] = {
    "sd-controlnet-xs": "cuts nothing",
    "sd-latent-upscale": "has no counterpart",  # the last layer of its up blocks has another number of channels
}

_OWN = "has no class"
# case -> what plain diffusers says when it loads what it has saved itself: these pipelines have networks of their own
NOT_LOADED: dict[str, str] = {
    "wuerstchen-prior": _OWN,
    "wuerstchen-decoder": _OWN,
    "wuerstchen": _OWN,
    "cascade-decoder": _OWN,
    "cascade": _OWN,
    "unclip-prior": _OWN,
    "unclip-decoder": _OWN,
    "unclip-variation": _OWN,
    "paint-by-example": _OWN,
    "alt": _OWN,
    "alt-img2img": _OWN,
    "versatile-text": _OWN,
    "omnigen": "OmniGenMultiModalProcessor",  # diffusers has it with torchvision only
    "own": "no attribute OwnPipeline",  # diffusers loads a user's class with custom_pipeline=
    "z-image-omni-pictures": "should be the same",  # its autoencoder has to be in bfloat16, and is loaded in float32
    "text-to-video-zero": "but only",  # it does not save what it was given as None, and then misses it
}
