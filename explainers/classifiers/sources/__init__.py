"""Networks by name from other packages: EfficientNet-Lite0, timm's, transformers'."""

from explainers.classifiers.sources.efficientnet_lite import NAME as EFFICIENTNET_LITE0
from explainers.classifiers.sources.efficientnet_lite import load_efficientnet_lite0
from explainers.classifiers.sources.hf_networks import PREFIX as HF
from explainers.classifiers.sources.hf_networks import load_hf
from explainers.classifiers.sources.timm_networks import PREFIX as TIMM
from explainers.classifiers.sources.timm_networks import load_timm

__all__ = ["EFFICIENTNET_LITE0", "HF", "TIMM", "load_efficientnet_lite0", "load_hf", "load_timm"]
