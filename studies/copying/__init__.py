"""Studies, records and artifacts of one storage copied into another, and compared.

``whole_studies`` reads and writes studies by Optuna's storage interface, ``dashboard_paths`` gives
their notes the new database's numbers, ``our_records`` copies rows of our own tables, and
``artifact_files`` files; ``copying`` plans and orders all that.
"""

from __future__ import annotations

from studies.copying.artifact_files import CopiedFiles
from studies.copying.copying import Copied, CopiedStudy, copy_storage
from studies.copying.our_records import CopiedRows

__all__ = ["Copied", "CopiedFiles", "CopiedRows", "CopiedStudy", "copy_storage"]
