"""Masks as studies keep them."""

from __future__ import annotations

import numpy as np
import pytest

from explainers.errors import StorageError
from explainers.masks import mask_from_text, stored_coverage
from explainers.references import Reference


def test_coverage_of_what_is_stored() -> None:
    mask = np.zeros((4, 6), bool)
    mask[1:3, 1:4] = True
    assert Reference(mask, "masks").coverage == 0.25
    assert stored_coverage(Reference(mask, "masks").to_json()) == 0.25
    assert stored_coverage(Reference.none((4, 6)).to_json()) is None
    assert stored_coverage({"rule": "gradcam@0.3", "sha256": "a"}) is None
    assert stored_coverage(None) is None


@pytest.mark.parametrize("text", ["", "AAAA", "é", 7])
def test_a_damaged_mask(text: str) -> None:
    with pytest.raises(StorageError, match="stored mask of a study is damaged"):
        mask_from_text(text)
    assert stored_coverage({"rule": "masks", "mask_png": text}) is None  # shown, and not needed
