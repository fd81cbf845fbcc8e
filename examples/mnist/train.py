"""Train a layer of 576 spiking neurons on MNIST in the integers of the array, and write it as a file.

    python examples/mnist/train.py --data FOLDER      FOLDER has t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz

One image is one tick: a bitmap of 2,028 inputs (``spikeloom.host.mnist``), 576 neurons without memory (β = 0) that spike if
their sum reaches the threshold, weights ±1, ±3, ±5, ±7 (4 bits, none of them 0). Each neuron votes with its spike for two
classes; the class with the most votes wins. So a stream of images runs through the array at an image a tick.

Data: 8,000 of MNIST's 10,000 test images, drawn by a fixed seed, which are moved, turned, sheared and bent a little, anew in every
epoch. The other 2,000 are the test set; a training looks at them once, at its end, and they are never altered. Every choice
(widths, rates, the code of votes, epochs) was made on 1,000 images held back from the 8,000 (--validate).

Loss: cross-entropy of the votes, plus a penalty on the mean firing rate above ``RATE``, for spikes cost time on their way out.
Gradients: straight through the weights' quantisation, fast sigmoid for the spike (``spikeloom.host.train``). Adam.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

import spikeloom as sl
from spikeloom.host.mnist import INPUTS, LEVELS, NEURONS, OUTPUT, Mnist, bitmaps, code, decide, load_mnist, split

HERE = Path(__file__).resolve().parent
SEED, EPOCHS, BATCH, LEARNING_RATE = 1, 120, 256, 2e-2
#: Held back from the training images by --validate.
VALIDATION = 1000
#: Distance from the threshold at which the surrogate is a quarter, in weight steps.
WIDTH = 25.0
#: Scale of the votes in the cross-entropy, mean firing rate that costs nothing, and what a rate above costs.
SHARPNESS, RATE, RATE_COST = 0.2, 0.15, 3.0
#: Standard deviations: angle in radians, stretch, shear, shift in half images, and bending.
ANGLE, STRETCH, SHEAR, SHIFT, BEND = 0.06, 0.035, 0.075, 0.04, 0.035


def moved(images: Tensor, random: torch.Generator) -> Tensor:
    """Images (n, 1, 28, 28), each turned, stretched, sheared, shifted and bent by random amounts."""
    n = len(images)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    angle, shear = draw(n) * ANGLE, draw(n) * SHEAR
    wide = 1 + draw(n) * STRETCH
    high = wide * (1 + draw(n) * STRETCH)
    turn = torch.stack([torch.stack([angle.cos() * wide, (shear - angle.sin()) * wide, draw(n) * SHIFT], 1),
                        torch.stack([angle.sin() * high, angle.cos() * high, draw(n) * SHIFT], 1)], 1)
    grid = functional.affine_grid(turn, list(images.shape), align_corners=False)
    bend = functional.interpolate(draw(n, 2, 5, 5) * BEND, size=images.shape[2:], mode="bicubic", align_corners=True)
    return functional.grid_sample(images, grid + bend.permute(0, 2, 3, 1), align_corners=False)


def spikes_of(images: Tensor) -> Tensor:
    """The bitmaps of images with values 0 to 1: (n, 1, 28, 28) to one step, float32 (n, 1, inputs), as ``bitmaps``."""
    inner = images[:, 0, 1:-1, 1:-1].flatten(1) * 255
    return torch.cat([inner > level for level in LEVELS], 1).float()[:, None]


def train(data: Mnist, epochs: int = EPOCHS, seed: int = SEED, held: Mnist | None = None) -> Any:
    """The trained model; the same for the same seed and version of torch. Prints as it goes."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    layer = sl.train.Layer(INPUTS, NEURONS, weight_bits=4, levels="odd", threshold=1, reset="zero", width=WIDTH, name=OUTPUT)
    model = sl.train.Sequential(layer)
    pixels = torch.from_numpy(data.images)[:, None].float() / 255
    labels = torch.from_numpy(data.labels)
    votes = torch.from_numpy(code()).float()
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    turns = -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * turns)
    start = time.monotonic()
    for epoch in range(1, epochs + 1):
        right = 0
        for batch in torch.randperm(len(labels), generator=random).split(BATCH):
            fired = model(spikes_of(moved(pixels[batch], random)))[:, 0]
            scores = fired @ votes
            loss = functional.cross_entropy(SHARPNESS * scores, labels[batch]) + RATE_COST * (fired.mean() - RATE).clamp(min=0)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            model.clip_()
            right += int((scores.argmax(1) == labels[batch]).sum())
        if epoch % 10 == 0:
            held_back = f", {accuracy(model, held):.2%} of those held back" if held is not None else ""
            print(f"epoch {epoch}, {time.monotonic() - start:.0f} s: {right / len(labels):.2%} of the moved training images"
                  f"{held_back}", flush=True)
    return model


def outputs(model: Any, data: Mnist) -> npt.NDArray[np.bool_]:
    """Spikes of all images, bool (images, neurons)."""
    with torch.no_grad():
        fired: npt.NDArray[np.bool_] = model(torch.from_numpy(bitmaps(data.images))[:, None])[:, 0].numpy() > 0
    return fired


def accuracy(model: Any, data: Mnist) -> float:
    """Share of the images that the votes decide rightly."""
    return float(np.mean(decide(outputs(model, data)) == data.labels))


def write(model: Any, path: Path) -> None:
    """The integers of the network: weights int8 (neurons, inputs), bias int32 (neurons,), threshold."""
    layer = model.layers[0]
    np.savez_compressed(path, weights=layer.weights().detach().numpy().astype(np.int8),
                        bias=layer.biases().detach().numpy().astype(np.int32), threshold=np.int32(layer.threshold))


def cross_validate(data: Mnist, folds: int, epochs: int, seed: int) -> None:
    """Train ``folds`` networks, each on all images but its share of them, and count what each decides of that share: every image is
    tested once, by a network that never saw it. Settings stay as they are. (Stone, J. R. Stat. Soc. B 36, 1974.)"""
    order = np.random.default_rng(seed).permutation(len(data.labels))
    right = tested = 0
    for number, share in enumerate(np.array_split(order, folds), 1):
        model = train(data.subset(np.setdiff1d(order, share)), epochs, seed)
        held = data.subset(share)
        right += int((decide(outputs(model, held)) == held.labels).sum())
        tested += len(share)
        print(f"fold {number} of {folds}: {accuracy(model, held):.2%} of {len(share)} images; so far {right:,} of {tested:,}, "
              f"{right / tested:.2%} ± {1.96 * (right / tested * (1 - right / tested) / tested) ** 0.5:.2%}", flush=True)


def main() -> None:
    """Train, write mnist.npz beside this file (or to --out), and print the accuracy."""
    parser = argparse.ArgumentParser(description="Train the MNIST example")
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's test images and labels")
    parser.add_argument("--out", type=Path, default=HERE / "mnist.npz")
    parser.add_argument("--validate", action="store_true", help="hold back 1,000 of the training images, write nothing")
    parser.add_argument("--folds", type=int, help="cross-validate over all images with so many networks, write nothing")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--threads", type=int, default=1, help="torch's threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = load_mnist(arguments.data)
    chosen, test = split()
    if arguments.folds:
        cross_validate(images, arguments.folds, arguments.epochs, arguments.seed)
        return
    if arguments.validate:
        held = images.subset(chosen[:VALIDATION])
        train(images.subset(chosen[VALIDATION:]), arguments.epochs, arguments.seed, held)
        return
    model = train(images.subset(chosen), arguments.epochs, arguments.seed)
    write(model, arguments.out)
    tested = images.subset(test)
    print(f"{accuracy(model, tested):.2%} of {len(test)} test images; firing rate {outputs(model, tested).mean():.1%}")


if __name__ == "__main__":
    main()
