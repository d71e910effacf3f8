"""The service: photographs in, tuned LIME parameters out, over HTTP and as a page."""
