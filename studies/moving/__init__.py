"""Studies, records and artifacts of one storage copied into another, and compared.

``row_trees`` reads, digests, writes and deletes rows that belong together; ``optuna_studies`` and
``study_writing`` know Optuna's tables, ``dashboard_paths`` the notes in them, ``our_records`` our
own, ``artifact_files`` the files; ``sides`` opens both databases, ``copying`` orders all that.
"""

from __future__ import annotations

from studies.moving.artifact_files import CopiedFiles
from studies.moving.copying import Copied, CopiedStudy, copy_storage
from studies.moving.our_records import CopiedRows

__all__ = ["Copied", "CopiedFiles", "CopiedRows", "CopiedStudy", "copy_storage"]
