"""Train the demo model's byte-level BPE and write the tokenizer files of a Hugging Face directory.

Usage: train_tokenizer.py OUT_DIR [VOCAB_SIZE]

Needs the `regex` package. The result depends on nothing but the corpus: `OUT_DIR 2048` gives the
shipped tokenizer.json byte for byte. Training stops early once every word of the corpus is one
token.
"""

import collections
import itertools
import json
import pathlib
import sys

import regex

import corpus

SPECIAL = [corpus.EOT, corpus.IM_START, corpus.IM_END]
DOCUMENTS = 30000
# Words keep their leading space, every digit stands alone.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' "
    "+ message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_alphabet() -> dict[int, str]:
    """The printable stand-in for each byte used by byte-level BPE vocabularies."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in printable}
    spare = itertools.count(256)
    for b in range(256):
        if b not in table:
            table[b] = chr(next(spare))
    return table


def merge(pieces: list[str], pair: tuple[str, str]) -> None:
    """Joins every occurrence of `pair` in `pieces`, left to right, in place."""
    i = 0
    while i + 1 < len(pieces):
        if (pieces[i], pieces[i + 1]) == pair:
            pieces[i : i + 2] = ["".join(pair)]
        i += 1


def train(
    words: collections.Counter, vocab_size: int
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Returns the vocabulary (special tokens last) and the merges in order of rank."""
    alphabet = byte_alphabet()
    vocab = {c: i for i, c in enumerate(sorted(alphabet.values()))}
    pieces = {w: [alphabet[b] for b in w.encode()] for w in words}
    merges = []
    while len(vocab) + len(SPECIAL) < vocab_size:
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(pieces[word], pieces[word][1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        vocab["".join(best)] = len(vocab)
        for p in pieces.values():
            merge(p, best)
    for s in SPECIAL:
        vocab[s] = len(vocab)
    return vocab, merges


def count_words() -> collections.Counter:
    words = collections.Counter()
    for doc in itertools.islice(corpus.documents(0), DOCUMENTS):
        for special in SPECIAL:
            doc = doc.replace(special, "\0")
        for text in doc.split("\0"):
            words.update(regex.findall(SPLIT, text))
    return words


def tokenizer_json(vocab: dict[str, int], merges: list[tuple[str, str]]) -> dict:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    byte_level = {
        "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False,
    }
    split = {
        "type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": vocab[s], "content": s} | flags | {"special": True} for s in SPECIAL
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": False, "vocab": vocab, "merges": [" ".join(m) for m in merges],
        },
    }


TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "add_bos_token": False,
    "bos_token": None,
    "eos_token": corpus.IM_END,
    "pad_token": corpus.EOT,
    "unk_token": None,
    "model_max_length": 1024,
    "clean_up_tokenization_spaces": False,
    "chat_template": CHAT_TEMPLATE,
}


def main(out: pathlib.Path, vocab_size: int) -> None:
    words = count_words()
    vocab, merges = train(words, vocab_size)
    print(len(words), "distinct words,", len(merges), "merges,", len(vocab), "tokens")
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = json.dumps(tokenizer_json(vocab, merges), ensure_ascii=False, indent=1)
    (out / "tokenizer.json").write_text(tokenizer)
    (out / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG, indent=1))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2048)
