"""Labelling units, with the significance and stability of the labels."""

from __future__ import annotations

from dissection.labelling.describing import Labelling, describe_layer
from dissection.labelling.significance import false_discovery_rates, p_values

__all__ = ["Labelling", "describe_layer", "false_discovery_rates", "p_values"]
