"""Random BERT models small enough to make on the spot, in the layouts that users bring."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

VOCABULARY = """
[PAD] [UNK] [CLS] [SEP] [MASK] the a of in is and to blues band song music play record group
concert cat dog bird sleep roof night garden tree river boat fish bread dough yeast oven heat
water salt plant light leaf eat grow drive car engine wheel doctor medicine fever child school
teacher book read write letter code function thread timer text space remove ##s ##ing ##ed . ,
# 0 1 2
"""
WORDS = VOCABULARY.split()


def _tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True})
    )


def make_bert(folder: Path, *, masked: bool, seed: int = 0, max_tokens: int = 64) -> Path:
    """A random BERT of 2 layers and 32 dimensions: a masked-language model or a plain encoder."""
    import torch
    from transformers import BertConfig, BertForMaskedLM, BertModel

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=max_tokens,
        initializer_range=0.3,
    )
    model = BertForMaskedLM(config) if masked else BertModel(config)
    _tokenizer(folder)
    model.save_pretrained(folder, safe_serialization=True)
    return folder


def make_queries(folder: Path, dense: Path, **said: str) -> Path:
    """A table of random query vectors for a dense model of 32 dimensions."""
    import numpy as np
    from safetensors.numpy import save_file

    from searchlib.encoders.dense import DenseEncoder
    from searchlib.encoders.nibbles import Nibbles
    from searchlib.encoders.static_queries import vocabulary_hash

    tokenizer = DenseEncoder(dense).tokenizer
    matrix = np.random.default_rng(0).normal(size=(tokenizer.size, 32)).astype(np.float32)
    folder.mkdir()
    save_file(Nibbles.of(matrix).tensors, folder / "model.safetensors")
    config = {"dense": str(dense), "vocabulary": vocabulary_hash(tokenizer), "dimension": 32}
    (folder / "queries.json").write_text(json.dumps(config | said))
    return folder


def make_classifier(
    folder: Path, labels: Sequence[str] = ("LABEL_0",), *, seed: int = 0, max_tokens: int = 64
) -> Path:
    """A random BERT that classifies pairs of texts; a tokenizer that marks both as BERT's does."""
    import torch
    from tokenizers import Tokenizer, processors
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=max_tokens,
        initializer_range=0.3,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    _tokenizer(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    BertForSequenceClassification(config).save_pretrained(folder, safe_serialization=True)
    return folder
