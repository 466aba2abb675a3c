"""Clusters of Ray: whole data sets through `Predictor`, live streams over actors through `StreamService`.

>>> import fusedlstm.ray
>>> data.map_batches(fusedlstm.ray.Predictor, fn_constructor_args=("model.safetensors",), concurrency=8)  # doctest: +SKIP
>>> with fusedlstm.ray.StreamService("model.safetensors", actors=8) as service:                           # doctest: +SKIP
...     id = service.open()
...     y = service.step([id], x)

`fusedlstm.ray.serve` has a Ray Serve deployment with a WebSocket route.
"""

from .predictor import Predictor

__all__ = ["Predictor"]
