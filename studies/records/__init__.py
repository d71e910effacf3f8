"""Our own tables in the storage's database, beside Optuna's.

They hold verifications, comparisons, submissions, grades, calibrations of grading servers, the
service's jobs, and dissections, which the package ``dissection`` reads and writes.
"""

from __future__ import annotations

from studies.records.calibrations import (
    add_calibration,
    calibration_names,
    latest_calibration,
)
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
from studies.records.submissions import Submitted, add_submission, submissions
from studies.records.tables import VerificationRow
from studies.records.verifications import (
    VerifiedImage,
    add_verification,
    latest_verification,
    verified_images,
)

__all__ = [
    "SCHEMA_VERSION", "ComparedImage", "ComparisonRun", "Submitted", "VerificationRow",
    "VerifiedImage", "add_calibration", "add_compared_image", "add_comparison", "add_submission",
    "add_verification", "begin_comparison", "calibration_names", "compared_images",
    "finish_comparison", "latest_calibration", "latest_comparison", "latest_verification",
    "records", "submissions", "verified_images",
]  # fmt: skip
