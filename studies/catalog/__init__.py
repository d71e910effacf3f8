"""Catalogues: which images are studied, and where to get them."""

from studies.catalog.catalog import SHIPPED_CATALOGUES, Catalog, CatalogImage, load_catalog

__all__ = ["SHIPPED_CATALOGUES", "Catalog", "CatalogImage", "load_catalog"]
