"""The runtime model: predicts the seconds of an explanation; measured on this machine."""
