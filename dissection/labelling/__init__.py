"""How units are labelled, and how sure the labels are."""

from __future__ import annotations

from dissection.labelling.describing import Labelling, class_truth, describe_layer
from dissection.labelling.significance import false_discovery_rates, p_values

__all__ = ["Labelling", "class_truth", "describe_layer", "false_discovery_rates", "p_values"]
