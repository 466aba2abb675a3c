"""What is raised beside Python's own errors."""


class FormatError(ValueError):
    """A weights file that is damaged, hostile, unsupported or not what it claims to be.

    The message names the file, the tensor, what was expected and what was found.
    """
