"""What diffusers cannot save is said before anything is trained for it."""

from __future__ import annotations

import pytest
from diffusers.models import SD3MultiControlNetModel

from condistill import UserError
from condistill.teacher.saving import check_savable
from tests.tiny.mmdits import sd3


def test_a_pipeline_with_a_network_that_has_no_config_is_refused() -> None:
    pipeline = sd3("StableDiffusion3ControlNetPipeline", control=0)
    check_savable(pipeline)
    pipeline.register_modules(controlnet=SD3MultiControlNetModel([pipeline.controlnet]))
    with pytest.raises(UserError, match=r"cannot save the controlnet of .*give the pipeline a single one"):
        check_savable(pipeline)
