"""From a board and an array to a folder that Vivado builds, and to the ``.hwh`` that pynq reads."""
