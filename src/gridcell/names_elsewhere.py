"""What settings are called in other tools, so that who comes from there is told our name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gridcell.errors import did_you_mean

ELSEWHERE: dict[str, str] = {
    "augment": "aug augmentation augmentations data_augmentation transforms",
    "batch_size": "bs batch",
    "budget": "max_time time_budget time_limit timeout",
    "class_weights": "class_weight weights",
    "delimiter": "sep separator",
    "device": "accelerator cuda gpu gpus",
    "epochs": "epoch max_epochs n_epochs nb_epoch num_epochs",
    "folds": "cv k_fold kfold n_folds num_folds",
    "group": "group_column groups",
    "horizon": "forecast_horizon output_chunk_length pred_len prediction_length steps_ahead",
    "id_column": "id series_id unique_id",
    "image_size": "image_dim img_size imgsz input_size resize size",
    "inputs": "columns feature_columns features input_columns input_features",
    "longest_text": "max_len max_length",
    "members": "ensemble n_models",
    "net": "arch architecture backbone model network",
    "optimizer": "opt optim",
    "out": "output output_dir output_directory project run_name save_dir",
    "past": "context_length input_chunk_length input_length lookback seq_len window_size",
    "patience": "early_stop early_stopping",
    "precision": "amp bf16 fp16 half mixed_precision",
    "rate": "base_lr learning_rate lr lr0 lr_max",
    "seed": "random_seed random_state",
    "target": "label label_column labels output_column output_features target_column y",
    "test": "test_pct test_size test_split",
    "text_column": "text",
    "time_column": "date date_column datetime time timestamp",
    "valid": "val val_size val_split valid_pct valid_size validation validation_split",
    "vectors": "embeddings glove pretrained_vectors",
    "weight_decay": "l2 wd",
}
WITHOUT = {
    "dropout": "Dropout is written into the network, as in --net 'lstm(64) last dropout(0.5)'.",
    "freq": "How far steps lie apart is found from their times.",
    "num_classes": "How many classes there are is found from the data.",
    "workers": "How many threads read is chosen by itself.",
}
"""Settings of other tools for which nothing needs to be set here."""
LIKEWISE = {
    "dropout_rate": "dropout",
    "frequency": "freq",
    "n_classes": "num_classes",
    "nc": "num_classes",
    "n_jobs": "workers",
    "num_workers": "workers",
}
OURS = {other: ours for ours, others in ELSEWHERE.items() for other in others.split()}


def meant(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean X?` for what another tool's setting is called here, or the nearest.

    `name` and `known` are settings, or options of the command line.

    >>> meant("learning_rate", ["rate", "sample_rate"])
    ' Did you mean rate?'
    >>> meant("--learning-rate", ["--rate", "--sample-rate"])
    ' Did you mean --rate?'
    >>> meant("num_workers", ["rate"])
    ' How many threads read is chosen by itself.'
    """
    known = list(known)
    plain = re.sub("-", "_", name.partition("=")[0].lstrip("-").lower())
    if (of := LIKEWISE.get(plain, plain)) in WITHOUT:
        return f" {WITHOUT[of]}"
    ours = OURS.get(plain, "")
    for each in (ours, f"--{ours.replace('_', '-')}"):
        if each in known:
            return f" Did you mean {each}?"
    return did_you_mean(name, known)
