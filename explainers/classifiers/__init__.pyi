from .black_box import BlackBox
from .class_names import class_number, same_name
from .classifier import IMAGENET_MEAN, IMAGENET_STD, Classifier
from .map_layers import MapLayer, TokensToMap, find_map_layer
from .module_copies import copied
from .outputs import (
    LUMINANCE,
    Convention,
    OutputKind,
    UnusableOutput,
    as_probabilities,
    class_scores,
    map_scores,
)
from .user_code import import_torchvision
from .zoo import (
    DEMO_CLASS_NAMES,
    DemoNetwork,
    as_classifier,
    load_classifier,
    load_demo_network,
    pick_device,
)

__all__ = [
    "DEMO_CLASS_NAMES",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "LUMINANCE",
    "BlackBox",
    "Classifier",
    "Convention",
    "DemoNetwork",
    "MapLayer",
    "OutputKind",
    "TokensToMap",
    "UnusableOutput",
    "as_classifier",
    "as_probabilities",
    "class_number",
    "class_scores",
    "copied",
    "find_map_layer",
    "import_torchvision",
    "load_classifier",
    "load_demo_network",
    "map_scores",
    "pick_device",
    "same_name",
]
