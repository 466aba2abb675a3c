"""Clusters of Ray: whole data sets through `Predictor`, live streams over actors through `StreamService`.

>>> import fusedlstm.ray
>>> model = "model.safetensors"
>>> data = data.map_batches(fusedlstm.ray.Predictor, fn_constructor_args=(model,), num_cpus=1)      # doctest: +SKIP
>>> with fusedlstm.ray.StreamService(model, actors=8) as service:                                   # doctest: +SKIP
...     id = service.open()
...     y = service.step([id], x)

`fusedlstm.ray.serve` has a Ray Serve deployment with a WebSocket route.
"""

from ..errors import Unfinished
from .predictor import Predictor
from .service import StreamService

__all__ = ["Predictor", "StreamService", "Unfinished"]
