"""Rebuilds a Hugging Face tokenizer.json from a GGUF file's metadata."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

from ..errors import ExportError

Metadata = Mapping[str, Any]
Json = dict[str, Any]

# tokenizer.ggml.token_type
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

# Control tokens that end a turn where the metadata names only the end of the text.
_END_OF_TURN = ("<end_of_turn>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>")

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
           r"\s+(?!\S)|\s+")
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
           r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
           r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
# tokenizer.ggml.pre: the regular expression that cuts words, whether whole words in the vocabulary skip the merges,
# the normalizer. Those of which whole words skip the merges also begin texts with the BOS token unless told otherwise.
_PRE_TOKENIZERS: dict[str, tuple[str, bool, str | None]] = {
    "gpt-2": (_GPT2, False, None), "phi-2": (_GPT2, False, None), "default": (_GPT2, False, None),
    "llama-bpe": (_LLAMA3, True, None), "llama3": (_LLAMA3, True, None), "llama-v3": (_LLAMA3, True, None),
    "qwen2": (_QWEN2, False, "NFC"), "deepseek-r1-qwen": (_QWEN2, False, "NFC"),
    "tekken": (_TEKKEN, True, None),
}


def special_ids(metadata: Metadata) -> dict[str, Any]:
    """bos_token_id, eos_token_id (a list where several tokens end a text) and pad_token_id for config.json."""
    result: dict[str, Any] = {}
    for name, key in (("bos_token_id", "bos"), ("pad_token_id", "padding")):
        value = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(value, int):
            result[name] = value
    ends = [metadata.get(f"tokenizer.ggml.{key}_token_id") for key in ("eos", "eot", "eom")]
    ends = [value for value in dict.fromkeys(ends) if isinstance(value, int)]
    tokens, types = metadata.get("tokenizer.ggml.tokens", []), metadata.get("tokenizer.ggml.token_type", [])
    if isinstance(tokens, list):
        wanted = set(_END_OF_TURN)
        for index, (token, kind) in enumerate(zip(tokens, types)):
            if token in wanted and kind in (CONTROL, USER_DEFINED) and index not in ends:
                ends.append(index)
    if ends:
        result["eos_token_id"] = ends[0] if len(ends) == 1 else ends
    return result


def tokenizer_json(metadata: Metadata) -> Json | None:
    """The contents of tokenizer.json; None if the file has no tokenizer."""
    kind = metadata.get("tokenizer.ggml.model")
    if kind is None or kind == "none":
        return None
    tokens = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ExportError("the GGUF metadata lacks 'tokenizer.ggml.tokens'")
    types = metadata.get("tokenizer.ggml.token_type", [NORMAL] * len(tokens))
    if not isinstance(types, list) or len(types) != len(tokens):
        raise ExportError("the GGUF metadata's 'tokenizer.ggml.token_type' is not as long as 'tokenizer.ggml.tokens'")
    if kind == "llama":
        result = _sentencepiece(metadata, tokens, types)
    elif kind == "gpt2":
        result = _byte_level(metadata, tokens, types)
    else:
        raise ExportError(f"the GGUF tokenizer {kind!r} is not supported; supported are llama and gpt2")
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": _added_tokens(tokens, types), **result, "post_processor": _post_processor(metadata, tokens, kind),
    }


def _added_tokens(tokens: Sequence[str], types: Sequence[int]) -> list[Json]:
    """Tokens found in the text before anything else is done to it. Control tokens are special: not printed."""
    return [
        {"id": index, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": kind != USER_DEFINED}
        for index, (token, kind) in enumerate(zip(tokens, types)) if kind in (CONTROL, USER_DEFINED, UNKNOWN) and token
    ]


def _sentencepiece(metadata: Metadata, tokens: list[str], types: list[int]) -> Json:
    scores = metadata.get("tokenizer.ggml.scores")
    if not isinstance(scores, list) or len(scores) != len(tokens):
        raise ExportError("the GGUF metadata's 'tokenizer.ggml.scores' is not as long as 'tokenizer.ggml.tokens'")
    prefix = metadata.get("tokenizer.ggml.add_space_prefix", True)
    unknown = metadata.get("tokenizer.ggml.unknown_token_id", 0)
    vocabulary: dict[str, int] = {}
    for index, token in enumerate(tokens):
        vocabulary.setdefault(token, index)
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    decoders: list[Json] = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
    if prefix:
        normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]}
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    else:
        normalizer = replace
    return {
        "normalizer": normalizer,
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": tokens[unknown] if 0 <= unknown < len(tokens) else None,
            "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
            "byte_fallback": BYTE in types, "ignore_merges": False, "vocab": vocabulary,
            "merges": _merges_of_scores(tokens, types, scores),
        },
    }


def _merges_of_scores(tokens: Sequence[str], types: Sequence[int], scores: Sequence[float]) -> list[list[str]]:
    """SentencePiece joins the two neighbours whose union has the highest score; as a list of merges in that order.

    Every way to cut a normal piece into two normal pieces is a merge. Pieces of one score, as different cuts of one
    piece, are ordered by the ids of their parts.
    """
    ids = {token: index for index, (token, kind) in enumerate(zip(tokens, types)) if kind == NORMAL}
    merges: list[tuple[float, int, int, int]] = []
    for token, index in ids.items():
        for cut in range(1, len(token)):
            left = ids.get(token[:cut])
            if left is None:
                continue
            right = ids.get(token[cut:])
            if right is not None:
                merges.append((-scores[index], index, left, right))
    merges.sort()
    return [[tokens[left], tokens[right]] for _, _, left, right in merges]


def _byte_level(metadata: Metadata, tokens: list[str], types: list[int]) -> Json:
    merges = metadata.get("tokenizer.ggml.merges")
    if not isinstance(merges, list) or not all(isinstance(merge, str) for merge in merges):
        raise ExportError("the GGUF metadata lacks 'tokenizer.ggml.merges'")
    pre = metadata.get("tokenizer.ggml.pre", "default")
    if pre not in _PRE_TOKENIZERS:
        raise ExportError(f"the GGUF pre-tokenizer {pre!r} is not supported; supported are {', '.join(_PRE_TOKENIZERS)}")
    pattern, ignore_merges, normalizer = _PRE_TOKENIZERS[pre]
    byte_level = {"type": "ByteLevel", "add_prefix_space": bool(metadata.get("tokenizer.ggml.add_space_prefix", False)),
                  "trim_offsets": False, "use_regex": False}
    vocabulary: dict[str, int] = {}
    for index, token in enumerate(tokens):
        vocabulary.setdefault(token, index)
    return {
        "normalizer": {"type": normalizer} if normalizer else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}, byte_level]},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": ignore_merges,
            "vocab": vocabulary, "merges": [list(_split_merge(merge)) for merge in merges],
        },
    }


def _split_merge(merge: str) -> Iterable[str]:
    left, separator, right = merge.partition(" ")
    if not separator or not left or not right:
        raise ExportError(f"the GGUF metadata has the merge {merge!r}, expected two pieces")
    return left, right


def _post_processor(metadata: Metadata, tokens: Sequence[str], kind: str) -> Json | None:
    """Puts the tokens around a text that the metadata asks for."""
    def wanted(name: str, default: bool) -> int | None:
        index = metadata.get(f"tokenizer.ggml.{name}_token_id")
        add = metadata.get(f"tokenizer.ggml.add_{name}_token", default)
        return index if add and isinstance(index, int) and 0 <= index < len(tokens) else None

    whole_words = _PRE_TOKENIZERS.get(metadata.get("tokenizer.ggml.pre", "default"), ("", False, None))[1]
    bos, eos = wanted("bos", kind == "llama" or whole_words), wanted("eos", False)
    if bos is None and eos is None:
        return None

    def template(*letters: str) -> list[Json]:
        steps: list[Json] = []
        for type_id, letter in enumerate(letters):
            if bos is not None:
                steps.append({"SpecialToken": {"id": tokens[bos], "type_id": type_id}})
            steps.append({"Sequence": {"id": letter, "type_id": type_id}})
            if eos is not None:
                steps.append({"SpecialToken": {"id": tokens[eos], "type_id": type_id}})
        return steps

    return {
        "type": "TemplateProcessing", "single": template("A"), "pair": template("A", "B"),
        "special_tokens": {tokens[index]: {"id": tokens[index], "ids": [index], "tokens": [tokens[index]]}
                           for index in (bos, eos) if index is not None},
    }
