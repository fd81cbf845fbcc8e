"""The folder in which pynq looks for ``spikeloom.bit`` (entry point ``pynq.overlays``). ``overlay/collect.py`` fills it."""
