"""A gated recurrent unit (GRU) network over sequences, added to a linear model on the newest row."""

from __future__ import annotations

from karat.kinds._recurrent import Recurrent


class GRU(Recurrent):
    """A gated recurrent unit (GRU) network; see ``karat/kinds/_recurrent.py``."""

    cell = "gru"
    sequences = True
    tasks = frozenset({"regression", "forecast", "binary"})
    rounds_parameter = "epochs"
    communicator = "torch"
    gpu = True
    defaults = {
        "sequence_length": None,  # how many of the latest steps to read; None reads all
        "hidden_size": 64,
        "num_layers": 2,
        "dropout": 0.2,
        "learning_rate": 0.001,
        "batch_size": 32,
        "epochs": 50,
        "patience": 8,  # epochs without a gain on the validation rows; 0 trains every epoch
        "validation_fraction": 0.1,
        "weight_decay": 0.0,
        "gradient_clip": 1.0,
        "skip": True,  # add the network to a linear model on the newest row
        "skip_alpha": 1.0,
        "mixed_precision": False,  # multiply matrices in 16 bits (bfloat16), which GPUs do much faster
        "n_jobs": 1,
    }
