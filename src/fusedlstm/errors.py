"""What is raised, and what is warned of, beside Python's own."""

from typing import Any


class FormatError(ValueError):
    """A weights file that is damaged, hostile, unsupported or not what it claims to be.

    The message names the file, the tensor, what was expected and what was found.
    """


class AssumptionWarning(UserWarning):
    """Something that a file does not say was taken to be so; the message names the argument that states it.

    Parameters
    ----------
    message : str
        What was assumed, and how to state it.
    argument : str
        The argument of `LSTM.load` that states it: ``"batch_first"`` or ``"config"``.
    """

    argument: str

    def __init__(self, message: str, argument: str = "") -> None:
        super().__init__(message)
        self.argument = argument


class Unfinished(RuntimeError):
    """A call of a pool on several machines that not all of its streams have run; what they are to do.

    Parameters
    ----------
    outputs : dict of id to array
        Of the streams that have run.
    repeat : dict of id to int
        Streams whose actor died: they go on from their last checkpoint, and this many steps are to be given again,
        those of this call included.
    refused : dict of id to Exception
        Streams whose input made no sense; their states are as before.
    """

    def __init__(self, outputs: dict[int, Any], repeat: dict[int, int], refused: dict[int, Exception]) -> None:
        shown = [f"stream {id}: its actor died, {steps} steps are to be repeated" for id, steps in repeat.items()]
        shown += [f"stream {id}: {error}" for id, error in refused.items()]
        more = f"; and {len(shown) - 3} more" if len(shown) > 3 else ""
        super().__init__("; ".join(shown[:3]) + more)
        self.outputs, self.repeat, self.refused = outputs, repeat, refused

    def of(self, id: int) -> Any:
        """What a stream has got: its output, or the error that is its own."""
        if id in self.refused:
            return self.refused[id]
        if id in self.repeat:
            return Unfinished({}, {id: self.repeat[id]}, {})
        return self.outputs[id]

    def __reduce__(self) -> Any:
        return Unfinished, (self.outputs, self.repeat, self.refused)
