"""Copy studies, records and artifacts of one storage into another, and compare them.

``copying`` plans and orders the work. ``whole_studies`` reads and writes studies by Optuna's
storage interface, ``dashboard_paths`` changes row numbers in their notes to the new database's,
``our_records`` copies rows of our own tables, and ``artifact_files`` copies files.
"""

from __future__ import annotations

from studies.copying.artifact_files import CopiedFiles
from studies.copying.copying import Copied, CopiedStudy, copy_storage
from studies.copying.our_records import CopiedRows

__all__ = ["Copied", "CopiedFiles", "CopiedRows", "CopiedStudy", "copy_storage"]
