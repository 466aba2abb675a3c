"""``python -m fusedlstm``: the command line."""

from .cli import main

main()
