"""demo_tokenizer.json: ids and texts of the demo model's tokenizer as Hugging Face computes them.

Two implementations must agree before anything is written: transformers' AutoTokenizer and the
tokenizers library on tokenizer.json alone.
"""

import pathlib
import random

from tokenizers import Tokenizer
from transformers import AutoTokenizer

import fixture_json

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

PLAIN = [
    "", " ", "  ", "   ", "a", "A", " a", "a ", " a ", "cat", " cat", "Cat", "CAT", "cats",
    "the cat", "The happy dog eats an apple in the garden.", "What is PagedAttention?",
    "hello world", "antidisestablishmentarianism", "PagedAttentionPagedAttention", "x" * 64,
    "camelCaseWord", "snake_case_word", "kebab-case-word", "e.g. this, that; and: more!",
    "don't", "DON'T", "it's", "we'll they've I'm he'd you're", "O'Neill's", "'s", "'", "''",
    '"', '"quoted"', "(a) [b] {c} <d>", "a/b\\c", "C:\\path\\file.txt", "/usr/lib/file.so.1",
    "https://example.org/a?b=c&d=%20#e", "name@example.org", "#!/bin/sh", "$x = @y;", "a=b",
    "a == b", "...", "......", "!?!?", "--", "---", "<|", "|>", "<||>", "~`^", "*_*", "1", "12",
    "123", "1234567890", "3.14159", "1,000,000", "-42", "+42", "17 + 25 = 42", "76 - 38 =",
    "0x1F", "1e-5", "v1.2.3", "2026-11-23T05:08:00Z", "abc123def", "1st 2nd 3rd", "50%",
    "$9.99",
]  # fmt: skip
SPACES = [
    "\n", "\n\n", "\n\n\n", "\r\n", "\r", "\r\n\r\n", "\t", "\t\t", "a\tb", "a\nb", "a\n\nb",
    "a \n b", "a\r\nb", "\n a", "a\n", "a  b", "a   b", "a    b     c", "  leading",
    "trailing  ", " \n ", "\n \n", "\t\n\t", "if x:\n    return y\n", "{\n  \"k\": [1, 2]\n}\n",
    "a\u00a0b", "a\u2003b", "a\u200bb", "a\u2028b", "a\u3000b", "\ufeffa", "a\x0bb", "a\x0cb",
    "a\x00b", "\x00", "\x01\x02\x7f", "\x1b[0m", ".\n", "!\n\n", "a.\nB", "a,\r\nb",
]  # fmt: skip
UNICODE = [
    "é", "e\u0301", "É", "café", "cafe\u0301", "œuf", "L'œuf est dans la boîte.",
    "garçon à l'école", "naïve façade", "ﬁ", "Å", "A\u030a", "\u212b", "ñ", "n\u0303", "Straße",
    "ÜBER", "Yaoundé", "Brasília", "привет мир", "Γειά σου Κόσμε", "שלום עולם", "مرحبا بالعالم",
    "नमस्ते दुनिया", "สวัสดีชาวโลก", "你好,世界", "你好,世界!", "こんにちは世界", "カタカナ", "안녕하세요 세계",
    "\u1112\u1161\u11ab", "漢字とかな", "١٢٣", "१२३", "Ⅷ", "²", "½", "①", "𝒳", "𐍈", "x²+y²",
    "→ ⇒ ∀x∈ℝ", "€100", "£5 ¥7", "“quotes” ‘here’", "a–b—c…", "•", "\u0301",
    "a\u0300\u0301\u0302", "z\u0335\u0322", "\ufffd", "\U0010ffff", "\ue000",
]  # fmt: skip
EMOJI = [
    "😀", "😀😀", "a😀b", " 😀 ", "👍🏽", "👨‍👩‍👧‍👦", "🇫🇷", "🇫🇷🇩🇪", "❤️", "❤", "☃", "🏳️‍🌈", "1️⃣",
    "🧑🏿‍🚀 in space", "cat 🐱 dog 🐶\n", "🦊" * 20,
]  # fmt: skip
CHATS = [
    "<|im_start|>user\nWhat is 17 plus 25?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi!<|im_end|>\n",
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_end|><|im_end|>",
    "<|im_start|><|im_end|>\n", "a<|im_end|>b", "a <|im_end|> b", "<|im_end|>\n",
    "\n<|im_end|>", "  <|endoftext|>  ", "<|im_start|", "|im_start|>", "<|IM_START|>",
    "<|im_start |>", "<|im_<|im_end|>start|>", "<<|im_end|>>", "<|unknown|>",
    "é<|im_end|>e\u0301", "😀<|endoftext|>😀", "<|im_end|>'s",
    "1<|im_start|>2<|im_end|>3<|endoftext|>4", "<s>[INST] hi [/INST]</s>",
    "<|begin_of_text|>hi",
]  # fmt: skip
LONG = [
    "word " * 400, "a" * 2000, " " * 300, "\n" * 300, "0123456789" * 60, "😀é漢 " * 120,
    "The happy dog eats an apple in the garden. " * 60, "<|im_end|>" * 100, "ab" * 700,
    "'s" * 200,
]  # fmt: skip


def random_strings(r: random.Random, count: int) -> list[str]:
    """Mixtures of scripts, spaces, digits and special tokens."""
    pieces = [
        " ", "  ", "\n", "\r\n", "\t", "7", "42", "'s", "'", ".", ",", "-", "the", " cat", "É",
        "é", "e\u0301", "œ", "ß", "漢", "か", "한", "م", "न", "😀", "👍🏽", "\u200d", "🇫🇷", "\u00a0",
        "<|", "|>", "story", " PagedAttention", "\x00", "𐍈", *SPECIAL,
    ]  # fmt: skip
    return ["".join(r.choices(pieces, k=r.randint(2, 40))) for _ in range(count)]


def id_lists(r: random.Random, encode, used: int, rows: int) -> list[list[int]]:
    """Token ids whose text is not simply a string: cut characters, any ids, ids without a token."""
    lists = [[], [0], [used - 1], [rows - 1], [used, rows - 1], [0, used, 1]]
    for text in ("😀", "👨‍👩‍👧‍👦", "漢字", "e\u0301é", "a😀b<|im_end|>"):
        ids = encode(text)
        lists += [ids[:n] for n in range(1, len(ids))] + [ids[1:], ids[::-1]]
    lists += [[r.randrange(used) for _ in range(r.randint(1, 30))] for _ in range(40)]
    return lists + [[r.randrange(256) for _ in range(24)] for _ in range(20)]


def make(demo: pathlib.Path, out: pathlib.Path, versions: dict[str, str]) -> None:
    auto = AutoTokenizer.from_pretrained(demo)
    alone = Tokenizer.from_file(str(demo / "tokenizer.json"))

    def encode(text: str) -> list[int]:
        ids = auto(text)["input_ids"]
        assert ids == alone.encode(text).ids, text
        return ids

    def case(ids: list[int]) -> dict:
        skip, keep = (auto.decode(ids, skip_special_tokens=s) for s in (True, False))
        assert skip == alone.decode(ids, skip_special_tokens=True), ids
        assert keep == alone.decode(ids, skip_special_tokens=False), ids
        return {"ids": ids, "decoded": skip, "decoded_with_special": keep}

    r = random.Random(2026)
    strings = PLAIN + SPACES + UNICODE + EMOJI + CHATS + LONG + random_strings(r, 60)
    assert len(strings) == len(set(strings)), "a string appears twice"
    texts = [{"text": s} | case(encode(s)) for s in strings]
    # The model has more rows than the tokenizer has tokens; such an id decodes to nothing.
    ids = [case(i) for i in id_lists(r, encode, used=len(auto), rows=2048)]
    header = {"format": 1, "versions": versions, "tokenizer": "models/demo/tokenizer.json"}
    fixture_json.write(out / "demo_tokenizer.json", header, texts=texts, ids=ids)
    print(f"demo_tokenizer.json: {len(texts)} texts, {len(ids)} id lists")
