"""Services over a fresh database, pictures to send to them, and a worker that makes results up."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from studies.records.jobs import Jobs
from studies.storage import open_storage
from studies.web.service import Service, ServiceLimits
from tests.studies.study_samples import random_studies

__all__ = ["Part", "form_body", "made_service", "photograph", "stored", "work_off"]

Part = tuple[str, str | None, bytes]
"""Field, file name (``None`` for text), content."""

_BOUNDARY = "boundary-of-the-test"


def made_service(folder: Path, **changes: Any) -> Service:
    """A service that has no studies yet."""
    url = f"sqlite:///{folder / 's.db'}"
    open_storage(url)
    defaults = {"limits": ServiceLimits(images=5, queue=50, image_mb=1.0, upload_mb=3.0)}
    return Service(url, folder / "uploads", "demo", **{**defaults, **changes})


def photograph(kind: str = "PNG", size: tuple[int, int] = (40, 30), colour: int = 90) -> bytes:
    """A small picture file."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (colour, 120, 30)).save(buffer, kind)
    return buffer.getvalue()


def form_body(parts: Sequence[Part]) -> dict[str, Any]:
    """Keyword arguments of a client's ``post``: a form whose names may be as odd as can be."""
    lines = []
    for field, name, content in parts:
        file = b"" if name is None else b'; filename="%s"' % name.encode()
        lines.append(
            b'--%s\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
            % (_BOUNDARY.encode(), field.encode(), file, content)
        )
    body = b"".join(lines) + f"--{_BOUNDARY}--\r\n".encode()
    return {
        "content": body,
        "headers": {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"},
    }


def work_off(service: Service, trials: int = 8) -> int:
    """Do all jobs that wait, as workers would, but out of thin air; how many there were."""
    jobs = Jobs(service.storage)
    count = 0
    while (job := jobs.claim("made up")) is not None:
        random_studies(service.storage, job.study, (job.key,), trials)
        jobs.end(job.id, "done")
        count += 1
    jobs.close()
    return count


def stored(service: Service) -> list[str]:
    """Whatever is left of requests: folders of uploads, and jobs."""
    jobs = Jobs(service.storage)
    rows = [job.study_name for job in jobs.everything()]
    jobs.close()
    folder = service.folder
    return rows + ([path.name for path in folder.iterdir()] if folder.exists() else [])
