"""What machines without gateware share: the golden model and the engine."""

from __future__ import annotations

from spikeloom.calls import Calls
from spikeloom.errors import MachineError
from spikeloom.image import Image


class SoftwareMachine(Calls):
    """A machine that counts what it does itself."""

    _image: Image | None
    _counters: dict[str, int]

    def counters(self) -> dict[str, int]:
        """Ticks, synapse words read, and synaptic operations (non-zero cells added), over all runs since loading."""
        return dict(self._counters)

    def _loaded(self, verb: str) -> Image:
        if self._image is None:
            raise MachineError(f"No image is loaded: call load(image) before {verb}()")
        return self._image
