"""The N-MNIST recordings and network that tests share.

Orchard et al., Converting static image datasets to spiking neuromorphic datasets using saccades, Frontiers in Neuroscience
9:437 (2015): saccades of about 100 ms each, three a recording, before a sensor of 34 × 34 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from spikeloom.host.importers.nir import from_nir
from spikeloom.host.networks.network import Network
from tests.data import shared_data

#: Steps of a recording, and the shape of one step: polarity (off, on), row, column.
STEPS, SHAPE = 300, (2, 34, 34)


def recordings(chosen: Sequence[int] | slice = slice(None)) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Spikes, bool (recordings, STEPS, 2·34·34), and labels (recordings,) of the chosen ones of 300 recordings.

    Bins of 1 ms from the recording's zero; what comes later than STEPS (recordings last up to 315 ms) is left out;
    events of the same pixel in one bin are one spike.
    """
    data = np.load(shared_data("nmnist", "nmnist_train_300.npz"), allow_pickle=False)
    columns = {key: data[key].astype(np.int64) for key in ("x", "y", "p", "t_us", "offset", "label")}
    picked = np.arange(len(columns["label"]))[chosen]
    spikes = np.zeros((len(picked), STEPS, *SHAPE), bool)
    for i, recording in enumerate(picked):
        part = slice(columns["offset"][recording], columns["offset"][recording + 1])
        x, y, p, time = (columns[key][part] for key in ("x", "y", "p", "t_us"))
        step = time // 1000
        seen = step < STEPS
        spikes[i, step[seen], p[seen], y[seen], x[seen]] = True
    return spikes.reshape(len(picked), STEPS, -1), columns["label"][picked]


def network() -> Network:
    """The convolutional network of the NIR paper. sinabs made it by ``from_torch``, so that its membranes stop at −θ."""
    return from_nir(shared_data("nir_paper", "02_cnn", "cnn_sinabs.nir"), profile="sinabs", floor=True)
