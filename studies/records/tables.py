"""Our tables, in the version of the newest migration. Times are UTC."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, Float, ForeignKey, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

__all__ = [
    "Base", "CalibrationRow", "ComparisonRow", "DissectedLayerRow", "DissectionRow", "EvidenceRow",
    "ExplanationRow", "GradeRow", "ImageRow", "JobRow", "OtherClassRow", "ReferenceMaskRow",
    "RunRow",
    "SubmissionRow", "UnitRow", "VerificationRow",
]  # fmt: skip

_REAL = Float(53)  # double precision in every database
_PICTURE = LargeBinary(2**24 - 1)  # MariaDB's plain BLOB ends at 64 KB


class Base(DeclarativeBase):
    """Base class of all our tables."""


class VerificationRow(Base):
    """One run of ``verify``.

    ``settings`` is a JSON object of ``studies.export.settings_digest`` by image; NULL in rows from
    before schema version 0003. ``result_json`` is the document of ``verify --json``.
    """

    __tablename__ = "lime_tuner_verifications"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime())
    pickle_sha256: Mapped[str] = mapped_column(String(64), index=True)
    catalog: Mapped[str] = mapped_column(String(255))
    classifier_sha256: Mapped[str] = mapped_column(String(64))
    reference: Mapped[str] = mapped_column(String(500))
    seeds: Mapped[int]
    avg_iou: Mapped[float] = mapped_column(_REAL)
    avg_time: Mapped[float] = mapped_column(_REAL)
    result_json: Mapped[str] = mapped_column(Text())
    settings: Mapped[str | None] = mapped_column(Text())


class RunRow(Base):
    """One run of ``compare``.

    ``arguments`` and ``package_versions`` are JSON objects. A run that is not ``finished`` was
    interrupted, or is still running; the same command continues it.
    """

    __tablename__ = "lime_tuner_runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime())
    command: Mapped[str] = mapped_column(String(40))
    catalog: Mapped[str] = mapped_column(String(255))
    study: Mapped[str] = mapped_column(String(255), index=True)
    classifier: Mapped[str] = mapped_column(String(255))
    classifier_sha256: Mapped[str] = mapped_column(String(64))
    device: Mapped[str] = mapped_column(String(40))
    seed: Mapped[int]
    arguments: Mapped[str] = mapped_column(Text())
    package_versions: Mapped[str] = mapped_column(Text())
    finished: Mapped[bool]
    images: Mapped[list[ImageRow]] = relationship(
        back_populates="run", order_by="ImageRow.position", cascade="all, delete-orphan"
    )


class ImageRow(Base):
    """A picture in the classifier's geometry.

    ``top_classes`` is a JSON list of [name, class index, probability].
    """

    __tablename__ = "lime_tuner_images"
    __table_args__ = (UniqueConstraint("run_id", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("lime_tuner_runs.id"), index=True)
    position: Mapped[int]
    key: Mapped[str] = mapped_column(String(200))
    type: Mapped[str | None] = mapped_column(String(40))
    catalog_class: Mapped[str | None] = mapped_column(String(255))
    sha256: Mapped[str] = mapped_column(String(64))
    picture_png: Mapped[bytes] = mapped_column(_PICTURE)
    class_index: Mapped[int]
    class_name: Mapped[str] = mapped_column(String(255))
    top_classes: Mapped[str] = mapped_column(Text())
    edge_density: Mapped[float] = mapped_column(_REAL)
    entropy: Mapped[float] = mapped_column(_REAL)
    superpixels: Mapped[int]
    run: Mapped[RunRow] = relationship(back_populates="images")
    reference: Mapped[ReferenceMaskRow] = relationship(
        back_populates="image", cascade="all, delete-orphan"
    )
    explanations: Mapped[list[ExplanationRow]] = relationship(
        back_populates="image", order_by="ExplanationRow.id", cascade="all, delete-orphan"
    )
    other_classes: Mapped[list[OtherClassRow]] = relationship(
        back_populates="image", order_by="OtherClassRow.id", cascade="all, delete-orphan"
    )
    comparisons: Mapped[list[ComparisonRow]] = relationship(
        back_populates="image", order_by="ComparisonRow.id", cascade="all, delete-orphan"
    )


class ReferenceMaskRow(Base):
    """The reference mask that explanations of a picture were scored against."""

    __tablename__ = "lime_tuner_reference_masks"

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("lime_tuner_images.id"), unique=True)
    rule: Mapped[str] = mapped_column(String(500))
    sha256: Mapped[str] = mapped_column(String(64))
    mask_png: Mapped[bytes] = mapped_column(_PICTURE)
    reliability: Mapped[float | None] = mapped_column(_REAL)
    doubt: Mapped[str] = mapped_column(Text())
    image: Mapped[ImageRow] = relationship(back_populates="reference")


class _ExplanationColumns:
    """One method's explanation of one class of a picture.

    Heat maps have ``map_png`` (8 bits); LIME has ``segments_png`` (16 bits), ``weights`` (a JSON
    object of the intercept, and the weights by superpixel), ``parameters`` and ``seed``.
    """

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("lime_tuner_images.id"), index=True)
    method: Mapped[str] = mapped_column(String(60))
    parameters: Mapped[str | None] = mapped_column(Text())
    seed: Mapped[int | None]
    mask_png: Mapped[bytes] = mapped_column(_PICTURE)
    map_png: Mapped[bytes | None] = mapped_column(_PICTURE)
    segments_png: Mapped[bytes | None] = mapped_column(_PICTURE)
    weights: Mapped[str | None] = mapped_column(Text())


class ExplanationRow(_ExplanationColumns, Base):
    """An explanation of a picture's class, with its measures; a measure without a value is NULL."""

    __tablename__ = "lime_tuner_explanations"
    __table_args__ = (UniqueConstraint("image_id", "method"),)

    deletion: Mapped[float | None] = mapped_column(_REAL)
    insertion: Mapped[float | None] = mapped_column(_REAL)
    iou: Mapped[float | None] = mapped_column(_REAL)
    pointing: Mapped[float | None] = mapped_column(_REAL)
    energy: Mapped[float | None] = mapped_column(_REAL)
    background: Mapped[float | None] = mapped_column(_REAL)
    centre_distance: Mapped[float | None] = mapped_column(_REAL)
    seconds: Mapped[float | None] = mapped_column(_REAL)
    r2: Mapped[float | None] = mapped_column(_REAL)
    mask_stability: Mapped[float | None] = mapped_column(_REAL)
    rank_stability: Mapped[float | None] = mapped_column(_REAL)
    image: Mapped[ImageRow] = relationship(back_populates="explanations")


class OtherClassRow(_ExplanationColumns, Base):
    """An explanation of another likely class of the picture."""

    __tablename__ = "lime_tuner_other_classes"
    __table_args__ = (UniqueConstraint("image_id", "class_index", "method"),)

    class_index: Mapped[int]
    image: Mapped[ImageRow] = relationship(back_populates="other_classes")


class ComparisonRow(Base):
    """IoU of the masks of two methods for a picture."""

    __tablename__ = "lime_tuner_comparisons"
    __table_args__ = (UniqueConstraint("image_id", "first", "second"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("lime_tuner_images.id"), index=True)
    first: Mapped[str] = mapped_column(String(60))
    second: Mapped[str] = mapped_column(String(60))
    iou: Mapped[float] = mapped_column(_REAL)
    image: Mapped[ImageRow] = relationship(back_populates="comparisons")


class DissectionRow(Base):
    """One network dissected by one run of ``dissect``.

    ``settings`` and ``package_versions`` are JSON objects. Dissections imported from another
    program have no ``classifier_sha256``, ``probe_sha256`` and ``images``.
    """

    __tablename__ = "lime_tuner_dissections"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime())
    model: Mapped[str] = mapped_column(String(255), index=True)
    classifier_sha256: Mapped[str | None] = mapped_column(String(64))
    probe: Mapped[str] = mapped_column(String(255))
    probe_sha256: Mapped[str | None] = mapped_column(String(64))
    images: Mapped[int | None]
    concept_list: Mapped[str] = mapped_column(String(255))
    concepts: Mapped[int | None]
    similarity: Mapped[str] = mapped_column(String(60))
    settings: Mapped[str] = mapped_column(Text())
    package_versions: Mapped[str] = mapped_column(Text())
    layers: Mapped[list[DissectedLayerRow]] = relationship(
        back_populates="dissection",
        order_by="DissectedLayerRow.position",
        cascade="all, delete-orphan",
    )


class DissectedLayerRow(Base):
    """A layer of a dissected network.

    ``level`` is the false discovery rate at which a unit's label ``survives``. ``by_size`` is a
    JSON list of [number of probing images, share of the final labels that they already give].
    ``truth`` is a JSON object: how well the labels of a classifying layer's units match the names
    of their classes.
    """

    __tablename__ = "lime_tuner_dissected_layers"
    __table_args__ = (UniqueConstraint("dissection_id", "layer"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    dissection_id: Mapped[int] = mapped_column(ForeignKey("lime_tuner_dissections.id"), index=True)
    position: Mapped[int]
    layer: Mapped[str] = mapped_column(String(200))
    level: Mapped[float] = mapped_column(_REAL)
    by_size: Mapped[str | None] = mapped_column(Text())
    truth: Mapped[str | None] = mapped_column(Text())
    dissection: Mapped[DissectionRow] = relationship(back_populates="layers")
    units: Mapped[list[UnitRow]] = relationship(
        back_populates="layer", order_by="UnitRow.unit", cascade="all, delete-orphan"
    )
    evidence: Mapped[list[EvidenceRow]] = relationship(
        back_populates="layer", order_by="EvidenceRow.id", cascade="all, delete-orphan"
    )


class UnitRow(Base):
    """A unit of a layer with its label ``concept``, which is NULL for a dead unit.

    ``concepts`` is a JSON list of [concept, score], best first; ``sheet_jpeg`` shows the images
    that activate it most, and only some units have one.
    """

    __tablename__ = "lime_tuner_units"
    __table_args__ = (UniqueConstraint("layer_id", "unit"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("lime_tuner_dissected_layers.id"), index=True)
    unit: Mapped[int]
    concept: Mapped[str | None] = mapped_column(String(255), index=True)
    similarity: Mapped[float | None] = mapped_column(_REAL)
    gap: Mapped[float | None] = mapped_column(_REAL)
    p: Mapped[float | None] = mapped_column(_REAL)
    q: Mapped[float | None] = mapped_column(_REAL)
    stability: Mapped[float | None] = mapped_column(_REAL)
    survives: Mapped[bool | None]
    concepts: Mapped[str] = mapped_column(Text())
    sheet_jpeg: Mapped[bytes | None] = mapped_column(_PICTURE)
    layer: Mapped[DissectedLayerRow] = relationship(back_populates="units")


class EvidenceRow(Base):
    """Evidence of a layer's units for a class inside the mask of an image's tuned explanation.

    ``concepts`` is a JSON object: share of the evidence for the class that lies inside the mask, by
    concept. ``units`` is a JSON list of the units with the largest contrast: [unit, concept,
    inside, outside, effect, evidence inside, evidence outside].
    """

    __tablename__ = "lime_tuner_evidence"
    __table_args__ = (UniqueConstraint("layer_id", "image_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    layer_id: Mapped[int] = mapped_column(ForeignKey("lime_tuner_dissected_layers.id"), index=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("lime_tuner_images.id"), index=True)
    inside_share: Mapped[float] = mapped_column(_REAL)
    sentence: Mapped[str] = mapped_column(Text())
    concepts: Mapped[str] = mapped_column(Text())
    units: Mapped[str] = mapped_column(Text())
    layer: Mapped[DissectedLayerRow] = relationship(back_populates="evidence")
    image: Mapped[ImageRow] = relationship()


class SubmissionRow(Base):
    """A submission to a grading server, with its result.

    ``url`` has no password, and tokens are never stored. ``parameters`` is a JSON object by image,
    in the form of ``studies.export.plain_kwargs``. The predicted values are NULL where the studies
    had no trial with these parameters.
    """

    __tablename__ = "lime_tuner_submissions"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime())
    url: Mapped[str] = mapped_column(String(500), index=True)
    parameters_sha256: Mapped[str] = mapped_column(String(64))
    parameters: Mapped[str] = mapped_column(Text())
    study: Mapped[str | None] = mapped_column(String(255))
    predicted_iou: Mapped[float | None] = mapped_column(_REAL)
    predicted_time: Mapped[float | None] = mapped_column(_REAL)
    avg_iou: Mapped[float] = mapped_column(_REAL)
    avg_time: Mapped[float] = mapped_column(_REAL)


class GradeRow(Base):
    """A grade that our grading server gave to a team; the score board shows each team's newest.

    ``exam`` is a JSON object: ``studies.web.evaluator.GradingTask.facts``. ``result_json`` has IoU
    and seconds by image.
    """

    __tablename__ = "lime_tuner_grades"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime())
    team: Mapped[str] = mapped_column(String(100), index=True)
    upload_sha256: Mapped[str] = mapped_column(String(64))
    parameters: Mapped[str] = mapped_column(Text())
    exam: Mapped[str] = mapped_column(Text())
    avg_iou: Mapped[float] = mapped_column(_REAL)
    avg_time: Mapped[float] = mapped_column(_REAL)
    result_json: Mapped[str] = mapped_column(Text())


class CalibrationRow(Base):
    """A calibration by ``calibrate`` from a server's answers; the newest of a name is used.

    ``document`` is the JSON object of ``tuner.server.calibration.Calibration``.
    """

    __tablename__ = "lime_tuner_calibrations"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime())
    name: Mapped[str] = mapped_column(String(100), index=True)
    document: Mapped[str] = mapped_column(Text())


class JobRow(Base):
    """An image that the service was asked to tune in the Optuna study ``STUDY/IMAGE_KEY``.

    ``settings`` is the JSON object of :class:`studies.records.jobs.JobSettings`. ``seconds`` is
    what was spent on it so far; ``attempts`` how often a worker began to prepare it. Only while one
    does there is a heartbeat.
    """

    __tablename__ = "lime_tuner_jobs"
    __table_args__ = (UniqueConstraint("study", "position"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study: Mapped[str] = mapped_column(String(64))
    position: Mapped[int]
    image_key: Mapped[str] = mapped_column(String(200))
    settings: Mapped[str] = mapped_column(Text())
    state: Mapped[str] = mapped_column(String(20), index=True)
    reason: Mapped[str] = mapped_column(Text())
    worker: Mapped[str | None] = mapped_column(String(100))
    attempts: Mapped[int]
    seconds: Mapped[float] = mapped_column(_REAL)
    created_at: Mapped[datetime] = mapped_column(DateTime())
    started_at: Mapped[datetime | None] = mapped_column(DateTime())
    heartbeat_at: Mapped[datetime | None] = mapped_column(DateTime())
    ended_at: Mapped[datetime | None] = mapped_column(DateTime())
    finished: Mapped[bool]
