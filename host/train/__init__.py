"""Training in the array's own integers, with PyTorch (extra ``train``).

The forward pass of these modules *is* the arithmetic of docs/semantics.md: spikes and potentials equal those of the golden
model bit for bit, so that nothing is left for quantisation to lose::

    import spikeloom as sl

    model = sl.train.Sequential(sl.train.Layer(784, 128, decay=0.9), sl.train.Layer(128, 10, weight_bits=8))
    loss = torch.nn.functional.cross_entropy(sl.train.votes(model(spikes), 10), labels)   # spikes: (samples, steps, 784)
    loss.backward()                                        # surrogate gradients; any optimiser of torch's
    image = sl.compile(model.to_network(), board="pynq_z2")

Importing this package imports torch; SpikeloomError says how to get it.
"""

from __future__ import annotations

from spikeloom.errors import SpikeloomError

try:
    import torch  # noqa: F401  # asked for here, so that its absence gives one message
except ImportError:
    raise SpikeloomError("Training needs PyTorch, which is not installed: pip install 'spikeloom[train]'") from None

from spikeloom.host.train.arithmetic import SURROGATES, rtz, saturate, spike, straight_through
from spikeloom.host.train.layer import Layer
from spikeloom.host.train.sequential import Sequential, Trace, votes
from spikeloom.host.train.weights import LEVELS, largest, quantise_weights

__all__ = ["LEVELS", "SURROGATES", "Layer", "Sequential", "Trace", "largest", "quantise_weights", "rtz", "saturate", "spike",
           "straight_through", "votes"]
