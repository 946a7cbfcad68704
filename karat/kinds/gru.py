"""A gated recurrent unit network (lighter than an LSTM) over sequences of the latest rows, with document 001's
defaults. It adds to a linear model on the newest row: see karat/kinds/_recurrent.py."""

from __future__ import annotations

from karat.kinds._recurrent import Recurrent


class GRU(Recurrent):
    cell = "gru"
    sequences = True
    tasks = frozenset({"regression", "forecast", "binary"})
    defaults = {
        "sequence_length": None,  # the last so many steps of what the lookups bring; all of them
        "hidden_size": 64,
        "num_layers": 2,
        "dropout": 0.2,
        "learning_rate": 0.001,
        "batch_size": 32,
        "epochs": 50,
        "patience": 8,  # epochs without a gain on the rows set aside; 0 trains every epoch
        "validation_fraction": 0.1,
        "weight_decay": 0.0,
        "gradient_clip": 1.0,
        "skip": True,  # the linear model on the newest row, to which the network adds
        "skip_alpha": 1.0,
        "n_jobs": 1,
    }
