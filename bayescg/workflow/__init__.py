"""The verbs of the package, shared by notebooks and the command line."""

from bayescg.workflow.assemble import to_inference_data
from bayescg.workflow.comparing import Comparison, compare
from bayescg.workflow.exporting import export, export_models
from bayescg.workflow.mapping import Mapped, map_trajectory
from bayescg.workflow.numbers import key_numbers
from bayescg.workflow.planning import Plan, plan
from bayescg.workflow.prediction import predict
from bayescg.workflow.referencing import reference_frames
from bayescg.workflow.registry import (
    load_model,
    make_system,
    mended_by_author,
    method_names,
    method_options,
    model_options,
    models,
    system,
)
from bayescg.workflow.repeating import Recorded, difference, recorded
from bayescg.workflow.verbs import fit, make_reference, observe

__all__ = [
    "Comparison",
    "Mapped",
    "Plan",
    "Recorded",
    "compare",
    "difference",
    "export",
    "export_models",
    "fit",
    "key_numbers",
    "load_model",
    "make_reference",
    "make_system",
    "map_trajectory",
    "mended_by_author",
    "method_names",
    "method_options",
    "model_options",
    "models",
    "observe",
    "plan",
    "predict",
    "recorded",
    "reference_frames",
    "system",
    "to_inference_data",
]
