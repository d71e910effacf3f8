"""Our own tables in the storage's database, beside Optuna's: what was verified, compared and, with
the room ``dissection``, dissected."""

from __future__ import annotations

from studies.records.comparisons import (
    ComparedImage,
    ComparisonRun,
    add_compared_image,
    add_comparison,
    begin_comparison,
    compared_images,
    finish_comparison,
    latest_comparison,
)
from studies.records.schema import SCHEMA_VERSION, records
from studies.records.tables import VerificationRow
from studies.records.verifications import (
    VerifiedImage,
    add_verification,
    latest_verification,
    verified_images,
)

__all__ = [
    "SCHEMA_VERSION", "ComparedImage", "ComparisonRun", "VerificationRow", "VerifiedImage",
    "add_compared_image", "add_comparison", "add_verification", "begin_comparison",
    "compared_images", "finish_comparison", "latest_comparison", "latest_verification", "records",
    "verified_images",
]  # fmt: skip
