"""Train a spiking network on scikit-learn's 8 × 8 digits with NumPy, and write it as a NIR file.

    python examples/digits/train.py

64 inputs, one hidden layer of leaky integrate-and-fire neurons, and 10 leaky integrators whose potentials after the last
step are the scores. With a = dt/τ, in every step, as Norse reads a NIR file (profile "norse"):

    v ← v + a ((W x + b) − v);  a hidden neuron spikes if v > 1 and then starts from 0.

Back-propagation through time with a surrogate for the spike's derivative, 1 / (1 + π |v − 1|)² (Zenke and Ganguli's
SuperSpike, Neural Computation 30, 2018, in its scaled form), the reset taken as constant; Adam; cross-entropy of the final
potentials. Images are moved by up to a pixel for training. No image of the test set is seen: every choice was made on
held-back shares of the training images (--validate holds back a fifth).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikeloom.host.digits import SPLIT_SEED, Digits, encode, load_digits

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Weights = dict[str, Floats]

HERE = Path(__file__).resolve().parent
STEPS, HIDDEN, SEED = 8, 96, 1
DT = 1e-3
#: dt/τ: τ is 8 steps for hidden neurons and 16 for readouts. Both gains are exact in 12 fraction bits.
HIDDEN_RATE, READOUT_RATE = 1 / 8, 1 / 16
EPOCHS, BATCH, RATE, DECAY = 300, 64, 1e-2, 1e-3
#: Scale of the scores in the cross-entropy.
SHARPNESS = 2.0


def initial(rng: np.random.Generator) -> Weights:
    """Weights that make hidden neurons spike from the start."""
    return {"w1": rng.normal(0.15, 0.5, (HIDDEN, 64)), "b1": np.zeros(HIDDEN),
            "w2": rng.normal(0, 0.3, (10, HIDDEN)), "b2": np.zeros(10)}


def forward(weights: Weights, spikes: Floats) -> tuple[Floats, Floats, Floats]:
    """Scores (n, 10), hidden potentials before the reset and hidden spikes, (steps, n, hidden), for (n, steps, 64)."""
    samples, steps = spikes.shape[:2]
    membrane, readout = np.zeros((samples, HIDDEN)), np.zeros((samples, 10))
    before, fired = np.zeros((steps, samples, HIDDEN)), np.zeros((steps, samples, HIDDEN))
    for step in range(steps):
        membrane = membrane + HIDDEN_RATE * (spikes[:, step] @ weights["w1"].T + weights["b1"] - membrane)
        before[step] = membrane
        fired[step] = membrane > 1
        membrane = membrane * (1 - fired[step])
        readout = readout + READOUT_RATE * (fired[step] @ weights["w2"].T + weights["b2"] - readout)
    return readout, before, fired


def gradients(weights: Weights, spikes: Floats, labels: Ints) -> Weights:
    """Gradient of the mean cross-entropy of the final potentials."""
    scores, before, fired = forward(weights, spikes)
    share = np.exp(SHARPNESS * (scores - scores.max(axis=1, keepdims=True)))
    share /= share.sum(axis=1, keepdims=True)
    share[np.arange(len(labels)), labels] -= 1
    down = SHARPNESS * share / len(labels)
    made = {name: np.zeros_like(value) for name, value in weights.items()}
    later = np.zeros_like(before[0])  # gradient by the potential after the reset
    for step in reversed(range(len(before))):
        drive = READOUT_RATE * down
        made["w2"] += drive.T @ fired[step]
        made["b2"] += drive.sum(axis=0)
        surrogate = 1 / (1 + np.pi * np.abs(before[step] - 1)) ** 2
        here = later * (1 - fired[step]) + (drive @ weights["w2"]) * surrogate
        made["w1"] += HIDDEN_RATE * here.T @ spikes[:, step]
        made["b1"] += HIDDEN_RATE * here.sum(axis=0)
        later = (1 - HIDDEN_RATE) * here
        down = (1 - READOUT_RATE) * down
    return made


def moved(images: Ints, rng: np.random.Generator) -> Ints:
    """Each image moved by −1, 0 or 1 pixel in both directions (no move half of the time)."""
    square = np.pad(images.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    moves = rng.integers(0, 3, (len(images), 2))
    moves[rng.random(len(images)) < 0.5] = 1
    rows, columns = (moves[:, i, None] + np.arange(8) for i in (0, 1))
    shifted: Ints = square[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]].reshape(-1, 64)
    return shifted


def train(data: Digits, seed: int = SEED, epochs: int = EPOCHS) -> Weights:
    """Adam with a rate that falls along a cosine; the same weights for the same seed."""
    rng = np.random.default_rng(seed)
    weights = initial(rng)
    first = {name: np.zeros_like(value) for name, value in weights.items()}
    second = {name: np.zeros_like(value) for name, value in weights.items()}
    turn, turns = 0, epochs * -(-len(data.labels) // BATCH)
    for epoch in range(epochs):
        spikes = encode(moved(data.images, rng), STEPS).astype(np.float64)
        for batch in np.array_split(rng.permutation(len(data.labels)), -(-len(data.labels) // BATCH)):
            turn += 1
            rate = RATE * (1 + np.cos(np.pi * turn / turns)) / 2
            for name, slope in gradients(weights, spikes[batch], data.labels[batch]).items():
                first[name] += 0.1 * (slope - first[name])
                second[name] += 0.001 * (slope**2 - second[name])
                step = first[name] / (1 - 0.9**turn) / (np.sqrt(second[name] / (1 - 0.999**turn)) + 1e-8)
                weights[name] = weights[name] - rate * (step + DECAY * weights[name])
        if (epoch + 1) % 20 == 0:
            print(f"epoch {epoch + 1}: {accuracy(weights, data):.2%} of the training images", flush=True)
    return weights


def accuracy(weights: Weights, data: Digits) -> float:
    """Share of the images whose highest score is their own."""
    scores = forward(weights, encode(data.images, STEPS).astype(np.float64))[0]
    return float(np.mean(scores.argmax(axis=1) == data.labels))


def write(weights: Weights, path: Path) -> None:
    """The network as a NIR file, in float32."""
    import nir

    def neurons(count: int, rate: float) -> dict[str, npt.NDArray[np.float32]]:
        ones = np.ones(count, np.float32)
        return {"tau": ones * np.float32(DT / rate), "r": ones, "v_leak": 0 * ones}

    w1, b1, w2, b2 = (weights[name].astype(np.float32) for name in ("w1", "b1", "w2", "b2"))
    one = np.ones(HIDDEN, np.float32)
    nir.write(path, nir.NIRGraph(
        nodes={"pixels": nir.Input(input_type={"input": np.array([64])}), "fc1": nir.Affine(w1, b1),
               "hidden": nir.LIF(**neurons(HIDDEN, HIDDEN_RATE), v_threshold=one, v_reset=0 * one),
               "fc2": nir.Affine(w2, b2), "scores": nir.LI(**neurons(10, READOUT_RATE)),
               "out": nir.Output(output_type={"output": np.array([10])})},
        edges=[("pixels", "fc1"), ("fc1", "hidden"), ("hidden", "fc2"), ("fc2", "scores"), ("scores", "out")]))


def main() -> None:
    """Train, write digits.nir and digits.json beside this file (or to --out), and print the accuracy."""
    parser = argparse.ArgumentParser(description="Train the digits example")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for digits.nir and digits.json")
    parser.add_argument("--validate", action="store_true", help="hold back 20 %% of the training images, write nothing")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()
    data, test = load_digits()
    if arguments.validate:
        cut = len(data.labels) * 4 // 5
        data, test = Digits(data.images[:cut], data.labels[:cut]), Digits(data.images[cut:], data.labels[cut:])
    weights = train(data, epochs=arguments.epochs)
    print(f"{accuracy(weights, test):.2%} of {len(test.labels)} {'held-back' if arguments.validate else 'test'} images")
    if not arguments.validate:
        write(weights, arguments.out / "digits.nir")
        about = {"profile": "norse", "dt": DT, "steps": STEPS, "split_seed": SPLIT_SEED, "training_seed": SEED,
                 "training_images": len(data.labels), "test_images": len(test.labels)}
        (arguments.out / "digits.json").write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
