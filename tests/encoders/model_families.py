"""Tiny random models of every family, made on the spot, with tokenizers of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_LINES = (
    "the a of to in on and cat cats dog dogs house home river bank stone light dark quick",
    "slow red blue paper letter write read run runs running walk tree leaf rain sun moon star",
    "near far over under open close door window city town street money price cheap dear old new",
    "young music song dance bread water milk salt sugar",
)
WORDS = " ".join(_LINES).split()

TEXTS = [
    "the quick red dog runs over the river",
    "Cats near the OLD house",
    "money",
    "",
    "a letter to the bank on the paper street, and the moon and the sun and a star near a tree",
    "unknownwordish zzz [MASK] Ünïcode \u96e8 \U0001f600",
    " leading and trailing spaces ",
    "rain " * 60,
]

# family: (class prefix in transformers, sizes under its own names)
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", {}),
    "distilbert": (
        "DistilBert",
        {"dim": 16, "n_heads": 2, "n_layers": 2, "hidden_dim": 32, "pad_token_id": 0},
    ),
    "roberta": ("Roberta", {"max_position_embeddings": 50, "type_vocab_size": 1}),
    "xlm-roberta": ("XLMRoberta", {"max_position_embeddings": 50, "type_vocab_size": 1}),
    "camembert": ("Camembert", {"max_position_embeddings": 50, "type_vocab_size": 1}),
    "albert": ("Albert", {"embedding_size": 8}),
    "electra": ("Electra", {"embedding_size": 8}),
    "mpnet": ("MPNet", {"max_position_embeddings": 50}),
    "modernbert": ("ModernBert", {"global_attn_every_n_layers": 2, "local_attention": 8}),
}
BYTE_LEVEL = ("roberta", "modernbert")


def make_tokenizer(folder: Path, byte_level: bool = False, max_length: int = 48) -> int:
    """Write tokenizer.json and tokenizer_config.json; returns the size of the vocabulary."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    if byte_level:
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        merges = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("a", "n"), ("an", "d")]
        tokens = special + alphabet + ["".join(pair) for pair in merges]
        vocabulary = {token: i for i, token in enumerate(tokens)}
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    else:
        letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
        tokens = [*special, *WORDS, *letters[1:], *(f"##{c}" for c in letters), ",", "."]
        vocabulary = {token: i for i, token in enumerate(tokens)}
        tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=20)  # as in some published files: must not matter
    tokenizer.enable_truncation(10)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_length,
        **{f"{token.strip('[]').lower()}_token": token for token in special},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(vocabulary)


def make_model(
    folder: Path, family: str = "bert", masked: bool = True, seed: int = 0, padding: int = 3
) -> Path:
    """Save a random model of `family` with its tokenizer; `padding` columns have no token."""
    import torch
    import transformers

    size = make_tokenizer(folder, family in BYTE_LEVEL)
    name, sizes = FAMILIES[family]
    common = {
        "vocab_size": size + padding,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 48,
        "pad_token_id": 0,
    }
    if family in ("roberta", "xlm-roberta", "camembert"):
        common["pad_token_id"] = 1
    if family == "distilbert":
        del common["hidden_size"], common["num_hidden_layers"]
        del common["num_attention_heads"], common["intermediate_size"]
    if family == "modernbert":
        sizes = {**sizes, "cls_token_id": 2, "sep_token_id": 3, "eos_token_id": 3}
        sizes |= {"bos_token_id": 2}
    config = getattr(transformers, f"{name}Config")(**{**common, **sizes})
    torch.manual_seed(seed)
    kind = "ForMaskedLM" if masked else "Model"
    model = getattr(transformers, name + kind)(config)
    with torch.no_grad():  # larger than the usual initialisation, so that differences show
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    model.eval()
    model.save_pretrained(folder)
    return folder


def save_modules(folder: Path, modules: list[tuple[str, str, dict[str, Any] | None]]) -> None:
    """Write modules.json from (class name, subfolder, its config)."""
    entries = []
    for index, (name, path, config) in enumerate(modules):
        kind = f"sentence_transformers.models.{name}"
        entries.append({"idx": index, "name": str(index), "path": path, "type": kind})
        if config is not None:
            (folder / path).mkdir(exist_ok=True)
            (folder / path / "config.json").write_text(json.dumps(config))
    (folder / "modules.json").write_text(json.dumps(entries))


def add_tokens(folder: Path) -> int:
    """Give a model's tokenizer two tokens more than the model has embeddings; how many it has.

    The last token is <extra{n}>, its number n.
    """
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    rows: int = json.loads((folder / "config.json").read_text())["vocab_size"]
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    for id in range(len(tokenizer["model"]["vocab"]), rows + 2):
        tokenizer["added_tokens"].append(
            {**added, "id": id, "content": f"<extra{id}>", "special": False}
        )
    path.write_text(json.dumps(tokenizer))
    return rows
