"""The version of this package and of the model files that it writes."""

VERSION = "0.1.0"
MODEL_FORMAT = 1
