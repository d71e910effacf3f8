"""Export parameters as pickles and Python, read other people's pickles, and verify with stock lime.

``pickles`` writes, reads and checks pickles; ``restricted_pickle`` reads untrusted files as data;
``plain_parameters`` converts parameters to JSON, ``python_code`` to Python; ``verification`` runs
``stock_lime`` in a fresh process.
"""

from studies.export.pickles import (
    Complaint,
    check_kwargs,
    explained_class,
    export_pickle,
    pickled,
    read_pickle,
    settings_digest,
    ungraded,
)
from studies.export.plain_parameters import parameters_digest, plain_kwargs, stock_kwargs
from studies.export.python_code import argument_code, parameter_code, pickle_code
from studies.export.restricted_pickle import load_restricted
from studies.export.stock_lime import explain_with_stock_lime, stock_faithfulness
from studies.export.verification import (
    FIRST_FRESH_SEED,
    ImageVerdict,
    VerificationCase,
    summary,
    verify_image,
)

__all__ = [
    "FIRST_FRESH_SEED", "Complaint", "ImageVerdict", "VerificationCase", "argument_code",
    "check_kwargs", "explain_with_stock_lime", "explained_class", "export_pickle",
    "load_restricted", "parameter_code", "parameters_digest", "pickle_code", "pickled",
    "plain_kwargs", "read_pickle", "settings_digest", "stock_faithfulness", "stock_kwargs",
    "summary", "ungraded", "verify_image",
]  # fmt: skip
