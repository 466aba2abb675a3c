"""200,000 sequences from Parquet to Parquet, on all CPUs of a cluster of Ray: python offline.py [--address auto]

    pip install "fusedlstm[ray]"

Makes the sequences where there are none (5 to 200 steps of 16 numbers, as flat lists of float32), runs an LSTM on
each, and writes what its last step gives beside their ids. Progress is Ray's. The last line compares with one process
that does nothing but compute.
"""

import argparse
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data

import fusedlstm as fl
import fusedlstm.ray

INPUTS, HIDDEN, LONGEST = 16, 128, 200


def make_model(path):
    rng = np.random.default_rng(0)

    def uniform(*shape):
        return rng.uniform(-0.1, 0.1, shape).astype(np.float32)

    direction = fl.DirectionWeights(uniform(4 * HIDDEN, INPUTS), uniform(4 * HIDDEN, HIDDEN), uniform(4 * HIDDEN))
    fl.LSTM(fl.LSTMWeights([[direction]])).save(path)


def make_sequences(folder, count, files=16):
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True)
    for k in range(files):
        ids = np.arange(k, count, files)
        sizes = rng.integers(5, LONGEST + 1, ids.size) * INPUTS
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        x = pa.LargeListArray.from_arrays(offsets, rng.standard_normal(offsets[-1], np.float32))
        pq.write_table(pa.table({"id": ids, "x": x}), folder / f"{k:02}.parquet")


def steps_a_second_alone(model, folder):
    """Of one thread of one process: a file's sequences through a Predictor, read before."""
    table = pq.read_table(sorted(folder.iterdir())[0])[:4096].combine_chunks()
    x = np.empty(len(table), object)
    for k, row in enumerate(table["x"]):
        x[k] = row.values.to_numpy()
    fl.set_num_threads(1)
    predict = fusedlstm.ray.Predictor(model, column="x", last=True)
    best = float("inf")
    for _ in range(3):
        start = perf_counter()
        for k in range(0, len(x), 1024):
            predict({"x": x[k : k + 1024]})
        best = min(best, perf_counter() - start)
    return sum(map(len, x)) / INPUTS / best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", help="of a cluster; default: one on this machine")
    parser.add_argument("--folder", type=Path, help="on a disk that all machines see")
    parser.add_argument("--sequences", type=int, default=200_000)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    model, source, target = folder / "model.safetensors", folder / "sequences", folder / "outputs"
    if not source.exists():
        make_sequences(source, given.sequences)
        make_model(model)
    alone = steps_a_second_alone(model, source)
    if not ray.is_initialized():
        ray.init(address=given.address, include_dashboard=False)
    cpus = int(ray.cluster_resources()["CPU"])
    start = perf_counter()
    data = ray.data.read_parquet(str(source)).map_batches(
        fusedlstm.ray.Predictor,
        fn_constructor_args=(str(model),),
        fn_constructor_kwargs={"column": "x", "last": True, "keep": ["id"]},
        batch_size=1024,
        compute=ray.data.ActorPoolStrategy(size=cpus),
        num_cpus=(cpus - 1) / cpus,  # an actor for each CPU, and one CPU that Ray may give to reading and writing
    )
    data.write_parquet(str(target))
    seconds = perf_counter() - start
    steps = sum(len(x) for x in pq.read_table(source)["x"]) // INPUTS
    rows = pq.read_table(target, columns=["id"]).num_rows
    print(f"{rows:,} sequences, {steps:,} steps in {seconds:.1f} s: {steps / seconds:,.0f} steps a second")
    print(f"one process alone: {alone:,.0f}; {steps / seconds / (cpus * alone):.2f} of {cpus} times that")


if __name__ == "__main__":
    main()
