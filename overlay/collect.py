"""Collect what the notebooks need beside them: the bitstream, and the digits for its array.

    python overlay/collect.py build-pynq_z2/out --out notebooks-pynq_z2   # a folder to copy to the board, notebooks included
    python overlay/collect.py build-pynq_z2/out                           # into the package, before pip wheel --no-deps ./overlay

The folder is the one in which spikeloom build has left spikeloom.bit and spikeloom.hwh, for a board or (--virtual) the virtual one.
A board's Python reads neither NIR files nor scikit-learn's images, so the network is compiled here, for the array of the build,
and the images are turned into spikes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np

from spikeloom.errors import SpikeloomError
from spikeloom.host.compiler.compile import compile
from spikeloom.host.digits import encode, example_file, load_digits, settings
from spikeloom.host.importers.nir import from_nir
from spikeloom.ip import VLNV, array_params
from spikeloom.params import ArrayParams

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parent / "examples" / "notebooks"
#: Where the package has these files.
PACKAGE = HERE / "spikeloom_overlay" / "board"


def collect(built: Path, out: Path) -> None:
    """Put bitstream, network and images for the array in ``built`` into ``out``.

    SpikeloomError where the folder has no bitstream with its ``.hwh``, or the digits do not fit its array.
    """
    made = [built / name for name in ("spikeloom.bit", "spikeloom.hwh")]
    missing = [path for path in made if not path.is_file()]
    if missing:
        raise SpikeloomError(f"{missing[0]} is not there: spikeloom build makes it with Vivado, in the folder's out/, and spikeloom build "
                             f"--virtual without, for the virtual board")
    about = settings()
    image = compile(from_nir(example_file("digits.nir"), profile=about["profile"], dt=about["dt"]), params=array_in(made[1]),
                    weight_bits=8)
    test = load_digits(about["split_seed"])[1]
    out.mkdir(parents=True, exist_ok=True)
    for path in made:
        shutil.copy(path, out)
    image.save(out / "digits.slm")
    np.savez_compressed(out / "digits.npz", spikes=encode(test.images, about["steps"]), labels=test.labels)


def array_in(hwh: Path) -> ArrayParams:
    """The array of which a ``.hwh`` tells; SpikeloomError where it tells of none."""
    try:
        for module in Xml.parse(hwh).iter("MODULE"):
            if module.get("VLNV") == VLNV:
                return array_params({one.get("NAME"): str(one.get("VALUE")) for one in module.iter("PARAMETER")}["ARRAY"])
    except (Xml.ParseError, KeyError, ValueError) as error:
        raise SpikeloomError(f"{hwh} does not say which array it has ({error}): build it again") from error
    raise SpikeloomError(f"{hwh} has no {VLNV}: it is of another overlay, or of another release of Spikeloom")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("built", type=Path, help="the folder with spikeloom.bit and spikeloom.hwh")
    parser.add_argument("--out", type=Path, help="a folder for these files and the notebooks (default: into the package)")
    options = parser.parse_args()
    try:
        collect(options.built, options.out or PACKAGE)
    except SpikeloomError as error:
        sys.exit(f"collect: {error}")
    if options.out is not None:
        for path in sorted(NOTEBOOKS.glob("*.ipynb")):
            shutil.copy(path, options.out)
    print(f"{options.out or PACKAGE} has what the notebooks need")


if __name__ == "__main__":
    main()
