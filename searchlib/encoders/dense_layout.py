"""How a model folder makes dense vectors: pooling, projections, normalisation, prompts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import UnsupportedModel
from .layout import (
    Transformer,
    class_name,
    digest_of,
    read_modules,
    read_prompts,
    read_size,
    read_transformer,
)
from .weights import Weights, read_json, sense

Pool = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
POOLS: tuple[Pool, ...] = (
    "cls",
    "max",
    "mean",
    "mean_sqrt_len_tokens",
    "weightedmean",
    "lasttoken",
)
_OLD_POOLS: dict[str, Pool] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU")


@dataclass(frozen=True)
class Projection:
    """A linear layer after pooling, then an activation named as in torch.nn."""

    path: Path
    activation: str

    @property
    def linear(self) -> bool:
        """Whether it only multiplies by a matrix."""
        return self.activation == "Identity" and "linear.bias" not in Weights(self.path)


@dataclass(frozen=True)
class Normalize:
    """Vectors are scaled to length 1."""


@dataclass(frozen=True)
class Truncate:
    """Of vectors the first `size` numbers are kept (Matryoshka), whatever their length is then."""

    size: int


Step = Projection | Normalize | Truncate


@dataclass(frozen=True)
class DenseLayout:
    """A dense encoder: transformer, pooling (several are concatenated), then `steps`."""

    transformer: Transformer
    pooling: tuple[Pool, ...] = ("mean",)
    include_prompt: bool = True  # whether the prompt's tokens are pooled
    steps: tuple[Step, ...] = ()
    query_prompt: str = ""
    document_prompt: str = ""

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that are read, special ones included."""
        return self.transformer.max_tokens

    def digest(self) -> str:
        """Hash of all that its vectors depend on, but for the number of tokens."""
        steps = [_digest(step) for step in self.steps]
        prompts = (self.query_prompt, self.document_prompt, self.include_prompt)
        return digest_of(self.transformer.digest(), self.pooling, steps, prompts)

    @property
    def unit(self) -> bool:
        """Whether pooled states are scaled to length 1, and besides only mapped and cut."""
        linear = (not isinstance(step, Projection) or step.linear for step in self.steps)
        return Normalize() in self.steps and all(linear)

    def plain(self) -> tuple[DenseLayout, DenseLayout] | None:
        """(without its last map, that map alone), where vectors of the one give its own.

        None for a model without a linear map at the end.
        """
        normal = self.steps[-1:] if self.steps[-1:] == (Normalize(),) else ()
        rest = self.steps[: len(self.steps) - len(normal)]
        if not rest or not isinstance(rest[-1], Projection) or not rest[-1].linear:
            return None
        before, after = (*rest[:-1], *normal), (rest[-1], *normal)
        return replace(self, steps=before), replace(self, steps=after)


def _digest(step: Step) -> object:
    """JSON of all that a step's results depend on."""
    match step:
        case Projection():
            return step.activation, Weights(step.path).digest().hex()
        case Normalize():
            return "normalize"
        case Truncate():
            return "truncate", step.size


def read_dense(folder: Path) -> DenseLayout:
    """How `folder` makes dense vectors; a plain Hugging Face encoder gets mean pooling."""
    with sense(folder):
        return _read(folder)


def _read(folder: Path) -> DenseLayout:
    query, document = read_prompts(folder)
    if not (folder / "modules.json").is_file():
        transformer = read_transformer(folder)
        return DenseLayout(transformer, query_prompt=query, document_prompt=document)
    modules = read_modules(folder)
    if not modules or modules[0][0] != "Transformer":
        first = modules[0][0] if modules else "nothing"
        raise UnsupportedModel(f"{folder} starts with {first}, not with a Transformer")
    pooling: tuple[Pool, ...] = ()
    include_prompt = True
    steps: list[Step] = []
    for kind, path in modules[1:]:
        if kind == "Pooling" and not pooling:
            pooling, include_prompt = _pooling(path)
        elif kind == "Normalize" and pooling:
            steps.append(Normalize())
        elif kind == "Dense" and pooling:
            steps.append(_projection(path))
        elif kind != "Dropout":
            hint = "; use it as a sparse encoder" if kind == "SpladePooling" else ""
            raise UnsupportedModel(
                f"{folder} has a module {kind} that a dense encoder cannot have here "
                f"(Transformer, Pooling, Dense, Normalize){hint}"
            )
    if not pooling:
        raise UnsupportedModel(f"{folder} has no Pooling module: it makes no dense vectors")
    if size := read_size(folder):
        steps.append(Truncate(size))
    transformer = read_transformer(modules[0][1])
    return DenseLayout(transformer, pooling, include_prompt, tuple(steps), query, document)


def _pooling(path: Path) -> tuple[tuple[Pool, ...], bool]:
    config = read_json(path / "config.json")
    mode = config.get("pooling_mode")
    names: list[Any] = [mode] if isinstance(mode, str) else list(mode or ())
    if mode is None:
        names = [new for old, new in _OLD_POOLS.items() if config.get(old)]
    names = names or ["mean"]
    if unknown := [name for name in names if name not in POOLS]:
        raise UnsupportedModel(f"{path} pools by {unknown[0]!r}; known are {', '.join(POOLS)}")
    return tuple(names), bool(config.get("include_prompt", True))


def _projection(path: Path) -> Projection:
    config = read_json(path / "config.json")
    activation = class_name(config.get("activation_function") or "torch.nn.Tanh")
    if activation not in _ACTIVATIONS or config.get("use_residual"):
        raise UnsupportedModel(
            f"{path} has a Dense module with {activation} or a residual; "
            f"known activations are {', '.join(_ACTIVATIONS)}"
        )
    if config.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        raise UnsupportedModel(f"{path} has a Dense module on tokens, which is unknown here")
    return Projection(path, activation)
