"""PyTorch models, in place and faster: their recurrent modules run here, everything else stays as it is.

>>> import fusedlstm.torch
>>> model = fusedlstm.torch.accelerate(model.eval())        # doctest: +SKIP
>>> with torch.no_grad():                                   # doctest: +SKIP
...     y, (h, c) = model.rnn(x)
>>> print(fusedlstm.torch.report(model))                    # doctest: +SKIP
"""

from .._swapped import Entry, Report
from .swap import accelerate, refresh, report, restore

__all__ = ["Entry", "Report", "accelerate", "refresh", "report", "restore"]
