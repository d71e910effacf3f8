"""Our own tables in the storage's database, beside Optuna's: what was verified and compared."""

from __future__ import annotations

from studies.records.comparisons import (
    ComparedImage,
    ComparisonRun,
    add_comparison,
    latest_comparison,
)
from studies.records.schema import SCHEMA_VERSION, records
from studies.records.tables import VerificationRow
from studies.records.verifications import add_verification, latest_verification

__all__ = [
    "SCHEMA_VERSION", "ComparedImage", "ComparisonRun", "VerificationRow", "add_comparison",
    "add_verification", "latest_comparison", "latest_verification", "records",
]  # fmt: skip
