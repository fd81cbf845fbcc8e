"""The errors of Spikeloom: one base class, so that a user can catch them all."""


class SpikeloomError(Exception):
    """Something that a user can put right; the message says what, where, and how."""


class NetworkError(SpikeloomError):
    """A network, a file or an array of numbers that cannot be understood or is contradictory."""


class CompileError(SpikeloomError):
    """A sound network that does not fit the array, or that the array cannot compute exactly as asked."""


class ImageError(SpikeloomError):
    """An image that is damaged, of another version, or made for other array parameters."""


class InputError(SpikeloomError):
    """Input spikes or options of a run that do not suit the loaded image."""


class MachineError(SpikeloomError):
    """A machine that did not answer, answered wrongly, or reported an error of its own."""
