"""torch.compile, torch.export and torch.jit.trace go through what takes the place of PyTorch's modules."""

import io

import pytest
from torch_modules import largest_difference, torch

import fusedlstm.torch as door

nn = torch.nn


class Tagger(nn.Module):
    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.head = getattr(nn, kind)(4, 3, 2, bidirectional=True, batch_first=True), nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


class Steps(nn.Module):
    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.cell = getattr(nn, kind)(4, 3)

    def forward(self, x):
        state = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return state


X = torch.linspace(-2, 2, 2 * 5 * 4).reshape(2, 5, 4)
MODELS = [
    lambda: Tagger("LSTM"),
    lambda: Tagger("GRU"),
    lambda: Tagger("RNN"),
    lambda: Steps("LSTMCell"),
    lambda: Steps("GRUCell"),
]
NAMES = ["LSTM", "GRU", "RNN", "LSTMCell", "GRUCell"]


@pytest.fixture(params=MODELS, ids=NAMES)
def model(request):
    return request.param().eval()


@pytest.fixture
def expected(model):
    with torch.no_grad():
        found = model(X)
    door.accelerate(model)
    return found


def test_compile(model, expected):
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert largest_difference(compiled(X), expected) <= 1e-6
        for one in model.parameters():
            one.mul_(0.5)
        assert largest_difference(compiled(X), door.restore(model)(X)) <= 1e-6


def test_compile_leaves_training_to_pytorch():
    model = door.accelerate(Tagger("LSTM"))
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager")
    for mode in (True, False):
        model.train(mode)
        model.zero_grad()
        compiled(X).sum().backward()
        found = model.rnn.weight_hh_l0.grad.clone()
        model.zero_grad()
        model(X).sum().backward()
        assert largest_difference(found, model.rnn.weight_hh_l0.grad) <= 1e-6


@pytest.mark.parametrize("grad", [False, True])
def test_export(model, expected, grad):
    sizes = {0: torch.export.Dim("batch", min=2), 1: torch.export.Dim("time", min=2)}
    with torch.set_grad_enabled(grad):
        program = torch.export.export(model, (X,), dynamic_shapes=(sizes,) if isinstance(model, Tagger) else None)
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert called & {"fusedlstm.run_lstm.default", "fusedlstm.run_rnn.default"}
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    with torch.no_grad():
        assert largest_difference(loaded(X), expected) <= 1e-6
        if isinstance(model, Tagger):
            longer = torch.cat([X, X], 1)
            assert largest_difference(loaded(longer), door.restore(model)(longer)) <= 1e-6


def test_trace(model, expected):
    traced = torch.jit.trace(model, (X,))
    assert "fusedlstm::run_" in str(traced.inlined_graph)
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    with torch.no_grad():
        assert largest_difference(torch.jit.load(file)(X), expected) <= 1e-6


def test_gradients_of_a_program_are_pytorch_s(model):
    def gradients(one, run):
        x = X.clone().requires_grad_()
        one.zero_grad()
        made = run(x)
        (made if isinstance(made, torch.Tensor) else made[0]).square().sum().backward()
        return [x.grad, *(parameter.grad.clone() for parameter in one.parameters())]

    wanted = gradients(model, model)
    door.accelerate(model)
    assert largest_difference(gradients(model, torch.jit.trace(model, (X,))), wanted) <= 1e-5


def test_the_operator_alone():
    lstm = nn.LSTM(4, 3, 2, bidirectional=True).requires_grad_(False)
    states = torch.zeros(4, 5, 3), torch.ones(4, 5, 3)
    names = ",".join(lstm._flat_weights_names)
    arguments = (X, *states, list(lstm._flat_weights), names, False, "", "")
    y, h, c = torch.ops.fusedlstm.run_lstm(*arguments)
    assert largest_difference((y, (h, c)), lstm(X, states)) <= 1e-6
    torch.library.opcheck(
        torch.ops.fusedlstm.run_lstm.default, arguments, test_utils=("test_schema", "test_faketensor")
    )
