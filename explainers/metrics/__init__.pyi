from .comparison import (
    CAMS,
    LIME_DEFAULT,
    LIME_TUNED,
    Comparison,
    Measured,
    PictureFacts,
    compare,
    picture_facts,
)
from .explanation import Explanation, Surrogate, explain_by_cam, explain_by_lime, lime_explanation
from .faithfulness import Faithfulness
from .fidelity import Curve, deletion_curve, held_out_r2, insertion_curve, locality, superpixel_map
from .localisation import background_reliance, centre_distance, energy_inside, pointing_game
from .measures import (
    MEASURES,
    Measure,
    agreement,
    mask_stability,
    measure,
    measure_surrogate,
    rank_stability,
    surrogate_r2,
)

__all__ = [
    "CAMS",
    "LIME_DEFAULT",
    "LIME_TUNED",
    "MEASURES",
    "Comparison",
    "Curve",
    "Explanation",
    "Faithfulness",
    "Measure",
    "Measured",
    "PictureFacts",
    "Surrogate",
    "agreement",
    "background_reliance",
    "centre_distance",
    "compare",
    "deletion_curve",
    "energy_inside",
    "explain_by_cam",
    "explain_by_lime",
    "held_out_r2",
    "insertion_curve",
    "lime_explanation",
    "locality",
    "mask_stability",
    "measure",
    "measure_surrogate",
    "picture_facts",
    "pointing_game",
    "rank_stability",
    "superpixel_map",
    "surrogate_r2",
]
