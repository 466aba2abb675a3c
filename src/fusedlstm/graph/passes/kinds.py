"""Which operators are computed before a model runs."""

NEVER = frozenset(
    (
        *("LSTM", "GRU", "RNN", "fusedlstm.LSTM", "fusedlstm.ConvLSTM", "fusedlstm.Conv", "fusedlstm.Dense"),
        *("fusedlstm.Running", "fusedlstm.Scan", "Attention", "Einsum", "Det"),
        *("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "MaxPool", "AveragePool", "LpPool", "Resize"),
    )
)
"""Not these: work that their sizes do not bound well, and that exporters do not leave to be done."""

EXACT = frozenset(
    (
        *("Abs", "Add", "And", "ArgMax", "ArgMin", "Cast", "Ceil", "Clip", "Concat", "ConstantOfShape", "Div", "Equal"),
        *("Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual", "IsInf"),
        *("IsNaN", "Less", "LessOrEqual", "Max", "Min", "Mul", "Neg", "NonZero", "Not", "OneHot", "Or", "Pad", "Range"),
        *(
            "ReduceMax",
            "ReduceMin",
            "Relu",
            "Reshape",
            "Round",
            "ScatterElements",
            "ScatterND",
            "Shape",
            "Sign",
            "Size",
        ),
        *(
            "Slice",
            "Split",
            "Sqrt",
            "Squeeze",
            "Sub",
            "Tile",
            "TopK",
            "Transpose",
            "Trilu",
            "Unsqueeze",
            "Where",
            "Xor",
        ),
    )
)
"""What has the same bits in NumPy and in the engine."""
