from .annotations import fill_polygons
from .coco import CocoMasks, read_coco, run_lengths_to_mask
from .decisions import Decisions, decisions_logged
from .heat_map_rules import NAMED_RULES, HeatMapRule, parse_heat_map_rule
from .labelme import read_labelme
from .mask_files import Photograph, coco_mask, given_mask, load_mask
from .mask_folder import MaskFolder
from .reference import CamReference, Reference, parse_reference
from .reliability import DOUBTFUL, Reliability, estimate_reliability
from .upper_bound import UpperBound, overlap_counts, reachable_iou

__all__ = [
    "DOUBTFUL",
    "NAMED_RULES",
    "CamReference",
    "CocoMasks",
    "Decisions",
    "HeatMapRule",
    "MaskFolder",
    "Photograph",
    "Reference",
    "Reliability",
    "UpperBound",
    "coco_mask",
    "decisions_logged",
    "estimate_reliability",
    "fill_polygons",
    "given_mask",
    "load_mask",
    "overlap_counts",
    "parse_heat_map_rule",
    "parse_reference",
    "reachable_iou",
    "read_coco",
    "read_labelme",
    "run_lengths_to_mask",
]
