"""Reference masks: ``METHOD@RULE`` from class activation maps, or files of the user's own."""

from __future__ import annotations

import functools
import hashlib
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explainers.cam import Progress, check_method, heat_map
from explainers.classifiers import Classifier
from explainers.errors import InvalidInput, UnusableReference
from explainers.images import AtScale, enlarged
from explainers.masks import check_reference, coverage, mask_from_text, mask_to_text
from explainers.messages import warn_once
from explainers.references.heat_map_rules import HeatMapRule, parse_heat_map_rule
from explainers.references.reliability import Reliability, estimate_reliability

_NONE = "none"
_OTHER_SHARE = 1.0  # in percent of the pixels
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Reference:
    """A mask that explanations are scored against, with the rule that made it.

    Attributes:
        mask: (H, W) bool, neither empty nor full.
        rule: ``gradcam@0.3``, ``masks``, or the path of a file; see :meth:`none`.
        reliability: of a mask from maps, if it was estimated; ``None`` for the user's own masks.
    """

    mask: NDArray[np.bool_]
    rule: str
    reliability: Reliability | None = None

    @classmethod
    def none(cls, shape: tuple[int, int]) -> Reference:
        """The reference of an image without one: an empty mask, never compared with."""
        return cls(np.zeros(shape, dtype=bool), _NONE)

    @property
    def exists(self) -> bool:
        """Whether there is a mask to agree with."""
        return self.rule != _NONE

    @property
    def coverage(self) -> float:
        """The share of the picture that the mask covers, in [0, 1]."""
        return coverage(self.mask)

    @property
    def sha256(self) -> str:
        """Hex digest over the shape and the bits of the mask."""
        header = f"{self.mask.shape}".encode()
        return hashlib.sha256(header + np.packbits(self.mask).tobytes()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """JSON values: the rule, the digest, the reliability if it was estimated, and the mask (as
        a PNG in base64)."""
        document: dict[str, Any] = {
            "rule": self.rule,
            "sha256": self.sha256,
            "mask_png": mask_to_text(self.mask),
        }
        if self.reliability is not None:
            document["reliability"] = self.reliability.to_json()
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Reference:
        """The inverse of :meth:`to_json`."""
        stored = document.get("reliability")
        reliability = None if stored is None else Reliability.from_json(stored)
        return cls(mask_from_text(document["mask_png"]), document["rule"], reliability)


@dataclass(frozen=True)
class CamReference:
    """A parsed ``METHOD@RULE``."""

    method: str
    rule: HeatMapRule

    @property
    def text(self) -> str:
        """``METHOD@RULE``."""
        return f"{self.method}@{self.rule.text}"

    def of(
        self,
        classifier: Classifier,
        image: NDArray[np.uint8],
        name: str,
        class_index: int | None = None,
        progress: Progress | None = None,
        at_scale: AtScale | None = None,
        with_reliability: bool = False,
    ) -> Reference:
        """The reference of an (H, W, 3) uint8 image called ``name``.

        Args:
            class_index, progress, at_scale: as in :func:`explainers.cam.heat_map`.
            with_reliability: find out how far it can be trusted; takes about half a second.

        Raises:
            UnusableReference: the map is zero everywhere, or the mask empty or full.
        """
        scaled = functools.cache(at_scale or enlarged(image))  # each scale is decoded once
        found = heat_map(classifier, image, self.method, class_index, progress, scaled)
        if not found.any():
            which = "the likeliest class" if class_index is None else f"class {class_index}"
            raise UnusableReference(
                f"the {self.method} map of {name} is zero everywhere: {which} has no positive "
                f"evidence in layer '{classifier.cam_layer}' of {classifier.name}, or the same in "
                "all its cells. Name another layer with --cam-layer, give masks with --reference, "
                "or use --objective faithful"
            )
        mask = self.rule(found, image)
        check_reference(mask, name)
        self._warn_of_other_share(mask, name)
        if not with_reliability:
            return Reference(mask, self.text)
        reliability = estimate_reliability(classifier, image, mask, scaled, class_index)
        return Reference(mask, self.text, reliability)

    def _warn_of_other_share(self, mask: NDArray[np.bool_], name: str) -> None:
        percent = self.rule.percent
        if percent is not None and abs(100 * mask.mean() - percent) > _OTHER_SHARE:
            warn_once(
                _logger,
                f"the reference mask of {name} has {mask.mean():.1%} of the pixels, not "
                f"{percent:g} %: so many have one value in the {self.method} map that no "
                "more can be told apart",
            )


def parse_reference(text: str) -> CamReference:
    """Parse ``METHOD@RULE``; ``METHOD`` alone means ``METHOD@0.3``.

    Raises:
        InvalidInput: unknown method or rule.
    """
    method, _, rule = text.partition("@")
    try:
        check_method(method)
    except InvalidInput as error:
        raise InvalidInput(
            f"reference '{text}' is neither METHOD@RULE, nor a folder of masks or a COCO file that "
            f"exists: {error}"
        ) from error
    return CamReference(method, parse_heat_map_rule(rule or "0.3"))
