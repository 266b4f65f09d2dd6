"""A network that remembers which rows it was shown, and updates of it for the suites."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from renewal.models.layers import Tuning
from renewal.models.torch_inputs import Reading
from renewal.models.torch_model import TorchModel
from renewal.testing.recording import birth, note
from renewal.testing.updating import TAPE, Case, racing, snapshot

TRUST = ("renewal.testing.torch_recording.RecordingNet",)


class RecordingNet(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """Two linear layers over all numbers but the first, which names the row.

    Parameters
    ----------
    tape : str
        Name of the tape; see `renewal.testing.recording`.
    """

    def __init__(self, tape: str = "") -> None:
        super().__init__()
        self.tape = tape
        self.register_buffer("born", torch.tensor(birth()))
        self.body = nn.Linear(2, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return logits, and note the rows: fitted while it trains, else scored."""
        ids = numbers[:, 0].tolist()
        note(self.tape, ids, is_fit=self.training, born=int(self.born))
        found: Tensor = self.head(self.body(numbers[:, 1:]).relu())
        return found


def layered_cases() -> tuple[Case, ...]:
    """Return updates of a recording network, for strategies that need layers."""
    net = TorchModel(
        RecordingNet,
        {"tape": TAPE},
        how=Tuning(epochs=3, batch=128, lr=1e-2, patience=None),
        reading=Reading(standardize=False),
    )
    timed, timeless = snapshot("timed", "binary"), snapshot("timeless", "binary")
    return racing(net, timed, timeless, TRUST)
