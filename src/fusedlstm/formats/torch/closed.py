"""What to say of objects that a pickle holds and nobody here opens, and the way out that fits each."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..containers.pickle import Box
from .objects import RESAVE

_ARRAYS = (
    "if weights are in it, save them alone where it was made: numpy.savez(path, **arrays) with their names, or "
    "torch.save(model.state_dict(), path) of a PyTorch model"
)


class Place(NamedTuple):
    """An object of a class that is known by name alone, and the keys under which it lies."""

    path: tuple[str, ...]
    box: Any


def words(place: Place) -> str:
    """What such an object is, and how to save what is in it."""
    box: Box = place.box
    kind = box.kind[:100]
    room = kind.partition(".")[0]
    keys = "".join(f"[{int(key) if key.isdecimal() else key!r}]" for key in place.path)
    if room in ("keras", "tf_keras", "tensorflow"):
        return (
            f"a pickled Keras model ({kind!r}), not opened because that runs code; where it was made: "
            f'pickle.load(open(path, "rb")){keys}.save("model.keras")'
        )
    if room in ("jax", "jaxlib", "flax", "haiku", "equinox", "optax"):
        return (
            f"a pickled object of JAX ({kind!r}), not opened because that runs code; where it was made: "
            f'fusedlstm.LSTM.from_flax(pickle.load(open(path, "rb")){keys}), or save its arrays by their names: '
            'numpy.savez("arrays.npz", **{jax.tree_util.keystr(path): leaf for path, leaf in '
            "jax.tree_util.tree_leaves_with_path(params)})"
        )
    if "_modules" in box.values or "_parameters" in box.values or room in ("cloudpickle", "dill"):
        return (
            f"a whole pickled module ({kind!r}), not opened because that runs code; where its classes can be imported: "
            f"torch.save(torch.load(path, weights_only=False){keys}.state_dict(), new_path)"
        )
    if box.items and place.path:
        return (
            f"an object of an unknown class ({kind!r}), not opened because that runs code; where that class can be "
            f"imported: torch.save(dict(torch.load(path, weights_only=False){keys}), new_path)"
        )
    way = RESAVE if room == "torch" else _ARRAYS
    return f"an object of an unknown class ({kind!r}), not opened because that runs code; {way}"
