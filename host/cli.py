"""The command `spikeloom`. Commands stand in host/commands; they need the extra ``cli`` (click, rich)."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; what a user can put right is one line on stderr and exit code 1."""
    try:
        from spikeloom.host.commands.group import run
    except ImportError as error:
        sys.exit(f"spikeloom: {error.name} is not installed: pip install 'spikeloom[cli]'")
    sys.exit(run())


if __name__ == "__main__":
    main()
