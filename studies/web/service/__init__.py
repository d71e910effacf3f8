"""The service: it tunes LIME parameters for uploaded photographs, over HTTP and on a page."""

from studies.web.service.app import create_app
from studies.web.service.folder import ServiceFolder, service_folder
from studies.web.service.limits import ServiceLimits
from studies.web.service.study_service import Service
from studies.web.service.uploads import Defaults

__all__ = [
    "Defaults", "Service", "ServiceFolder", "ServiceLimits", "create_app", "service_folder",
]  # fmt: skip
