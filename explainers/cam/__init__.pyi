from .activation_maps import CAM_METHODS, ActivationMaps
from .channel_weights import Progress
from .heat_maps import CONSENSUS_OF, HEAT_MAP_METHODS, check_method, heat_map
from .layers import finer_layer, layer_outputs, stage_names
from .multiscale import SCALES, multiscale_maps

__all__ = [
    "CAM_METHODS",
    "CONSENSUS_OF",
    "HEAT_MAP_METHODS",
    "SCALES",
    "ActivationMaps",
    "Progress",
    "check_method",
    "finer_layer",
    "heat_map",
    "layer_outputs",
    "multiscale_maps",
    "stage_names",
]
