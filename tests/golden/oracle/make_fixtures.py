"""Computes the expected values in this folder with PyTorch and transformers, on the CPU.

Usage: make_fixtures.py [greedy] [tokenizer] [llamas]     (default: all three; a few minutes)

Pinned: python 3.11, torch 2.15.0, transformers 5.23.0, tokenizers 0.23.3, safetensors 0.8.0,
numpy 2.4.6. Another version is refused, because a fixture must be traceable to what made it.
Everything is seeded; two runs on one machine gave the same bytes. On a machine with another CPU the
last bits of logits may differ, which the tolerances in README.md cover; model weights do not.
"""

import importlib.metadata
import pathlib
import sys

import torch

import demo_greedy
import demo_tokenizer
import random_llamas

PINNED = {
    "torch": "2.15.0",
    "transformers": "5.23.0",
    "tokenizers": "0.23.3",
    "safetensors": "0.8.0",
    "numpy": "2.4.6",
}
HERE = pathlib.Path(__file__).resolve().parent
DEMO = HERE.parents[2] / "models" / "demo"


def check_versions() -> None:
    for package, wanted in PINNED.items():
        got = importlib.metadata.version(package).split("+")[0]
        if got != wanted:
            sys.exit(f"{package} is {got}, the fixtures are made with {wanted}")


def main(parts: list[str]) -> None:
    check_versions()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    makers = {
        "greedy": lambda: demo_greedy.make(DEMO, HERE, PINNED),
        "tokenizer": lambda: demo_tokenizer.make(DEMO, HERE, PINNED),
        "llamas": lambda: random_llamas.make(HERE),
    }
    for part in parts or list(makers):
        if part not in makers:
            sys.exit(f"unknown part {part}: choose from {', '.join(makers)}")
        makers[part]()


if __name__ == "__main__":
    main(sys.argv[1:])
