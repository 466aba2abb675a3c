"""Random Keras models as converters write them: TFLiteConverter against LiteRT, tf2onnx against ONNX Runtime.

Of Keras 3 where TensorFlow is behind it (KERAS_BACKEND=tensorflow), of Keras 2 always.
"""

import keras_random
import numpy as np
import pytest
from tflite_files import LITERT

import fusedlstm as fl

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
tf = pytest.importorskip("tensorflow")
COUNT = 100


@pytest.fixture(params=["keras", "tf_keras"])
def keras(request):
    found = pytest.importorskip(request.param)
    if request.param == "keras" and found.backend.backend() != "tensorflow":
        pytest.skip("needs Keras with TensorFlow behind it")
    return found


def close(found, wanted):
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * max(1.0, np.abs(theirs).max(initial=0)))


def feed(model, keras_model, given):
    """Arrays by the names that a converter gave the inputs: Keras's names are a part of them."""
    left, found = sorted(zip(keras_model.inputs, given), key=lambda one: -len(one[0].name)), {}
    for name, spec in model.inputs.items():
        k = next((k for k, (one, _) in enumerate(left) if one.name.partition(":")[0] in name), 0)
        found[name] = left.pop(k)[1].astype(spec.dtype)
    return found


def lite(model, lower):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    converter._experimental_lower_tensor_list_ops = lower
    return converter.convert()


def interpreted(data, inputs):
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=data)
    details = runner.get_input_details()
    for one in details:
        runner.resize_tensor_input(one["index"], inputs[one["name"]].shape)
    runner.allocate_tensors()
    for one in details:
        runner.set_tensor(one["index"], inputs[one["name"]])
    runner.invoke()
    return {one["name"]: runner.get_tensor(one["index"]) for one in runner.get_output_details()}


@pytest.mark.skipif(not LITERT, reason="needs LiteRT")
@pytest.mark.parametrize("batch", [None, 1, 2])
def test_tflite(keras, batch):
    """Files with operators of TensorFlow's own (Flex) load; LiteRT runs the others.

    A few are refused by name: masks of attentions through operators of TensorFlow's own, and zeros that begin two layers
    but become one tensor, which a fused operator keeps as its state, so that the other layer would begin where it ended.
    """
    compared, refused, failed = 0, [], []
    for k, model, given in keras_random.models(keras, COUNT, 10, batch=batch):
        try:
            data = lite(model, lower=bool(k % 3))
        except Exception:
            continue
        try:
            ours = fl.Model.load(data)
            inputs = feed(ours, model, given)
            found = ours.run(inputs)
            try:
                wanted = interpreted(data, inputs)
            except RuntimeError:
                continue
            close([found[name] for name in wanted], wanted.values())
        except Exception as error:
            if isinstance(error, fl.FormatError):
                refused.append(f"model {k}: {error}")
                continue
            failed.append(f"model {k}: {[type(one).__name__ for one in model.layers]}: {error!r}")
        compared += 1
    assert not failed, "\n".join(failed)
    assert compared > COUNT / 5 and len(refused) <= COUNT / 16, "\n".join(refused)
    print(f"{compared} models were compared")


def test_onnx(keras):
    """A loop of tf2onnx around a layer's steps may count what shapes do not say; then it is refused.

    Keras 2's SimpleRNNs of free length and its masked layers all do (docs/models.md).
    """
    tf2onnx = pytest.importorskip("tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    compared, refused, failed = 0, [], []
    for k, model, given in keras_random.models(keras, COUNT, 20):
        spec = [tf.TensorSpec(one.shape, one.dtype, f"in{k}") for k, one in enumerate(model.inputs)]

        def call(*x, model=model):
            return model(list(x) if len(x) > 1 else x[0], training=False)

        try:
            proto, _ = tf2onnx.convert.from_function(
                tf.function(call, input_signature=spec), input_signature=spec, opset=(13, 15, 17, 18)[k % 4]
            )
            session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
            inputs = {one.name: given[int(one.name[2:].partition(":")[0])] for one in session.get_inputs()}
            wanted = session.run(None, inputs)
        except Exception:
            continue
        try:
            ours = fl.Model.load(proto.SerializeToString())
            found = ours.run({name: value.astype(ours.inputs[name].dtype) for name, value in inputs.items()})
            close([found[one.name] for one in session.get_outputs()], wanted)
        except Exception as error:
            if "is supported where shapes say how often it runs" in str(error):
                refused.append(f"model {k}: {error}")
                continue
            failed.append(f"model {k}: {[type(one).__name__ for one in model.layers]}: {error!r}")
        compared += 1
    assert not failed, "\n".join(failed)
    most = COUNT / (16 if keras.__name__ == "keras" else 4)
    assert compared > COUNT / 2 and len(refused) <= most, "\n".join(refused)
    print(f"{compared} models were compared")
