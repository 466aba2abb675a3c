"""What is raised, and what is warned of, beside Python's own."""


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
