"""Catalogues of images, stored studies, exported parameters, reports, and the web servers."""
