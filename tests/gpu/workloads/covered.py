"""Training in one process, inference that may be shown in another, on one chip."""

from dataclasses import replace
from typing import Final

from tests.gpu.workloads.inference import DECODE
from tests.gpu.workloads.training import PRETRAINING, Training

WORKLOADS: Final = (
    Training(
        "covered",
        "training, while another process answers",
        {**PRETRAINING, "full": replace(PRETRAINING["full"], batch=4)},
        beside=(DECODE.name,),
        disguises="training",
    ),
)
