"""Catalogues of the images to study, and the loading of those images."""

from studies.catalog.catalog import SHIPPED_CATALOGUES, Catalog, CatalogImage, load_catalog

__all__ = ["SHIPPED_CATALOGUES", "Catalog", "CatalogImage", "load_catalog"]
