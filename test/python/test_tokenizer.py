"""The runtime's tokenizer gives the ids and texts of Hugging Face's tokenizers."""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

tokenizers = pytest.importorskip("tokenizers")
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = Path(__file__).resolve().parents[2]
TOOL = Path(os.environ.get("ELUTQ_BUILD_DIR", ROOT / "build/release")) / "bin/elutq-tokenizer-test"
LINES = 10_000

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

WORDS = (
    "the of and to in is that it was for on are as with his they at be this from I'm you'll don't We've it's LET'S "
    "hello World HELLO straße naïve café Łódź İstanbul ﬁnal ªº ℃ Ⅷ ½ ² 12345 1,000.50 3.14159 0x1F ٣٤٥ १२३ 〇一二 "
    "Москва привет Ελλάδα שלום مرحبا بالعالم नमस्ते दुनिया สวัสดี 你好世界 こんにちは 世界 안녕하세요 გამარჯობა አማርኛ ខ្មែរ ມື "
    "مُحَمَّد e\u0301 n\u0303 A\u030a \u1100\u1161\u11a8 \u0f40\u0fb5 👍 👍🏽 👩‍👩‍👧‍👦 🇫🇷 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 𝒳𝓎 𐍈 𠜎 "
    "foo_bar() {x} [y] <tag> </tag> a->b a::b # // /* */ $100 50% C++ @user #tag e.g. U.S.A. http://a.b/c?d=e&f=1 "
    "<bos> <eos> <s> </s> <|end|> <unused0> <0x41> ▁ ▁▁ Ġ Ċ"
).split()
SPACES = [" "] * 12 + ["  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n ", "\u00a0", "\u3000", "\u2028", "\u180e", "\u0085", "\u200b", "", ""]


def make_lines(count, seed=1):
    """Texts as bytes: words of many scripts, runs of white space, random characters, ill-formed UTF-8."""
    rng = random.Random(seed)
    lines = [b"", b" ", b"  ", b"\n", b"\t\t", b"a", b"\xff", b"\xe2\x96", b" leading", b"trailing ", b"x" * 3000, b" " * 500]
    while len(lines) < count:
        kind = rng.random()
        if kind < 0.7:
            text = "".join(rng.choice(WORDS) + rng.choice(SPACES) for _ in range(rng.randint(1, 12)))
            if rng.random() < 0.2:
                text = rng.choice(SPACES) + text
            data = text.encode()
        elif kind < 0.9:
            ranges = [(0, 0x7F), (0x80, 0x2FF), (0x300, 0x36F), (0x370, 0x1FFF), (0x2000, 0x2BFF), (0x3000, 0x9FFF), (0x1F300, 0x1FAFF)]
            text = "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(1, 20)))
            # The reference has the decompositions of Unicode 9, this character is younger.
            data = text.replace("\u32ff", "").encode()
        else:
            data = bytes(rng.choice([rng.randint(0, 255), rng.randint(32, 126)]) for _ in range(rng.randint(1, 24)))
        lines.append(data)
    return lines


def run_tool(path, mode, lines):
    result = subprocess.run([TOOL, path, mode], input="\n".join(lines) + "\n", capture_output=True, text=True)
    assert result.returncode == 0 and not result.stderr, result.stderr
    return result.stdout.split("\n")[:-1]


def train(tokenizer, size=3000, **options):
    corpus = [line.decode(errors="replace") for line in make_lines(3000, seed=2)]
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, **options)
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def byte_level(pattern=None, normalizer=None, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    if normalizer:
        tokenizer.normalizer = normalizer
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    split = [pre_tokenizers.Split(Regex(pattern), "isolated")] if pattern else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split + [level])
    tokenizer.decoder = decoders.ByteLevel()
    train(tokenizer, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.add_special_tokens(["<|end|>", "<bos>"])
    tokenizer.add_tokens([AddedToken("foo_bar", single_word=True), AddedToken("世界", lstrip=True, rstrip=True)])
    return tokenizer


def gpt2():
    tokenizer = byte_level()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.post_processor = processors.ByteLevel()
    return tokenizer


def llama3():
    tokenizer = byte_level(LLAMA3, ignore_merges=True)
    bos = tokenizer.token_to_id("<bos>")
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(), processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", bos)])]
    )
    return tokenizer


def qwen2():
    return byte_level(QWEN2, normalizers.NFC())


def sentencepiece(prepare, decoder):
    """A vocabulary with byte tokens, as converted from SentencePiece."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    prepare(tokenizer)
    train(tokenizer, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)], limit_alphabet=200)
    config = json.loads(tokenizer.to_str())
    config["model"]["byte_fallback"] = True
    config["added_tokens"] = [token for token in config["added_tokens"] if not token["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(config))
    tokenizer.decoder = decoder
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return tokenizer


def llama2():
    def prepare(tokenizer):
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])

    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    return sentencepiece(prepare, decoders.Sequence(parts))


def metaspace():
    def prepare(tokenizer):
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex("x{2,}"), " ")])
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace("▁", prepend_scheme="first"), pre_tokenizers.Digits(True), pre_tokenizers.Punctuation("contiguous")]
        )

    return sentencepiece(prepare, decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace("▁", prepend_scheme="first")]))


def words():
    """No byte fallback: unknown characters, and a decoder that joins with spaces."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return train(tokenizer, special_tokens=["[UNK]"], limit_alphabet=60)


def gemma():
    path = Path(os.environ.get("ELUTQ_MODEL_DIR", "")) / "tokenizer.json"
    if not os.environ.get("ELUTQ_MODEL_DIR") or not path.exists():
        pytest.skip("no exported model with a tokenizer.json")
    return Tokenizer.from_file(str(path))


@pytest.fixture(scope="module", params=[gpt2, llama3, qwen2, llama2, metaspace, words, gemma], ids=lambda make: make.__name__)
def pair(request, tmp_path_factory):
    tokenizer = request.param()
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return tokenizer, path


def test_encode(pair):
    tokenizer, path = pair
    lines = make_lines(LINES)
    actual = run_tool(path, "encode", [line.hex() for line in lines])
    assert len(actual) == len(lines)
    for line, ids in zip(lines, actual):
        text = line.decode(errors="replace")
        assert [int(i) for i in ids.split()] == tokenizer.encode(text).ids, repr(text)


def make_ids(tokenizer, count=3000):
    rng = random.Random(3)
    size = tokenizer.get_vocab_size()
    texts = [tokenizer.encode(line.decode(errors="replace")).ids for line in make_lines(count // 2)]
    return texts + [[rng.randrange(size) for _ in range(rng.randint(1, 12))] for _ in range(count // 2)]


def test_decode(pair):
    tokenizer, path = pair
    sequences = make_ids(tokenizer)
    actual = run_tool(path, "decode", [" ".join(map(str, ids)) for ids in sequences])
    for ids, text in zip(sequences, actual):
        assert bytes.fromhex(text).decode() == tokenizer.decode(ids), ids


def test_stream(pair):
    """A stream's parts are well-formed (checked by the tool), and together the text, but for ill-formed byte tokens."""
    tokenizer, path = pair
    sequences = make_ids(tokenizer)
    actual = run_tool(path, "stream", [" ".join(map(str, ids)) for ids in sequences])
    for ids, text in zip(sequences, actual):
        expected = tokenizer.decode(ids)
        if "\ufffd" not in expected:
            assert bytes.fromhex(text).decode() == expected, ids


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model": {"type": "WordPiece", "vocab": {}}}, "WordPiece, but only BPE is supported"),
        ({"model": {"type": "Unigram", "vocab": []}}, "Unigram, but only BPE is supported"),
        ({"normalizer": {"type": "Lowercase"}}, "the normalizer Lowercase is not supported"),
        ({"pre_tokenizer": {"type": "UnicodeScripts"}}, "the pre-tokenizer UnicodeScripts is not supported"),
        ({"decoder": {"type": "CTC"}}, "the decoder CTC is not supported"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}, "'b' is used, but not in the vocabulary"),
        ({"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}, "id"),
        ({"model": 3}, "not a valid tokenizer"),
        ({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "[a&&[b]]"}, "behavior": "Removed"}}, "combines character classes"),
        ({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Removed"}}, "cannot compile"),
    ],
)
def test_refusal(tmp_path, change, message):
    config = {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, **change}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(config))
    result = subprocess.run([TOOL, path, "encode"], input="", capture_output=True, text=True)
    assert result.returncode == 1
    assert message in result.stderr
