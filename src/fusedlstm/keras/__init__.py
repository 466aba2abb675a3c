"""Keras models, in place and faster: their recurrent layers run here in inference, everything else stays as it is.

Of Keras 3 on PyTorch, TensorFlow or JAX, and of tf_keras. Who only predicts may take `fusedlstm.Model.from_keras`.

>>> import fusedlstm.keras
>>> model = fusedlstm.keras.accelerate(model)               # doctest: +SKIP
>>> y = model.predict(x)                                    # doctest: +SKIP
>>> print(fusedlstm.keras.report(model))                    # doctest: +SKIP
"""

from .._swapped import Entry, Report
from .swap import accelerate, report, restore

__all__ = ["Entry", "Report", "accelerate", "report", "restore"]
