"""What is searched (catalogues), what is kept (storage) and what leaves the house (pickles)."""
