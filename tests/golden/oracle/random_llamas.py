"""llama_<name>/: tiny Llamas with random weights and the logits transformers computes for them.

Each directory is a complete Hugging Face model (without a tokenizer) plus expected.json and
expected.f32. Before one is written, three things are proven about it: a float64 pass agrees with
the f32 logits far within the tolerance, the first token matters to the last logits, and so does
RoPE scaling where there is any; a test against the fixture can therefore fail.
"""

import dataclasses
import json
import pathlib
import shutil
import zlib

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

LAYERS = 2
TOLERANCE = 1e-4  # times max(1, max |logit|)
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
# The three ways to write config.json: transformers 5, transformers 4, and the first Llama's, which
# leaves to defaults: head_dim, num_key_value_heads, rope_theta, attention_bias.
NEW, OLD, FIRST = "new", "old", "first"


@dataclasses.dataclass
class Spec:
    name: str
    spelling: str
    dtype: str
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vocab: int
    tied: bool
    tokens: int
    rope_theta: float = 10000.0
    rope_scaling: dict | None = None
    eps: float = 1e-5
    bias: bool = False
    shards: int = 1

    def seed(self) -> int:
        return zlib.crc32(self.name.encode())


BF16, F32 = "bfloat16", "float32"
SPECS = [
    Spec("tied_mha", NEW, F32, 64, 2, 2, 32, 96, 160, True, 48),
    Spec("untied_gqa4", OLD, BF16, 128, 4, 1, 32, 64, 128, False, 65, eps=1e-6),
    Spec("gqa8_llama3", NEW, BF16, 64, 8, 1, 32, 256, 160, True, 70, 500000.0, LLAMA3),
    Spec("untied_llama3", OLD, BF16, 64, 2, 1, 64, 64, 144, False, 64, 50000.0, LLAMA3),
    Spec("linear", NEW, BF16, 96, 3, 3, 32, 96, 128, True, 47,
         rope_scaling={"rope_type": "linear", "factor": 4.0}),
    Spec("linear_type", OLD, BF16, 128, 4, 2, 32, 64, 128, False, 63,
         rope_scaling={"type": "linear", "factor": 2.0}),
    Spec("head128", NEW, BF16, 64, 2, 1, 128, 128, 128, False, 66),
    Spec("bias", NEW, F32, 64, 2, 1, 32, 64, 128, False, 41, bias=True),
    Spec("sharded_gqa4", OLD, BF16, 64, 4, 1, 32, 160, 192, False, 50, shards=3),
    Spec("first", FIRST, F32, 64, 2, 2, 32, 88, 133, False, 57, eps=1e-6),
    Spec("long", NEW, BF16, 64, 4, 2, 64, 96, 128, True, 643),
]  # fmt: skip


def config(s: Spec) -> dict:
    """The contents of config.json in the spelling of `s`."""
    common = {
        "architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2,
        "hidden_act": "silu", "hidden_size": s.hidden, "initializer_range": 0.02,
        "intermediate_size": s.mlp, "max_position_embeddings": 1024, "model_type": "llama",
        "num_attention_heads": s.heads, "num_hidden_layers": LAYERS, "rms_norm_eps": s.eps,
        "tie_word_embeddings": s.tied, "use_cache": True, "vocab_size": s.vocab,
    }  # fmt: skip
    if s.spelling == FIRST:
        return common | {"torch_dtype": s.dtype, "transformers_version": "4.28.1"}
    common |= {"num_key_value_heads": s.kv_heads, "attention_bias": s.bias, "mlp_bias": False}
    common |= {"attention_dropout": 0.0, "pretraining_tp": 1}
    if s.head_dim * s.heads != s.hidden or s.spelling == NEW:
        common["head_dim"] = s.head_dim
    if s.spelling == OLD:
        rope = {"rope_theta": s.rope_theta, "rope_scaling": s.rope_scaling}
        return common | rope | {"torch_dtype": s.dtype, "transformers_version": "4.44.2"}
    rope = {"rope_theta": s.rope_theta} | (s.rope_scaling or {"rope_type": "default"})
    return common | {
        "rope_parameters": rope, "dtype": s.dtype, "transformers_version": "5.23.0",
    }  # fmt: skip


def weights(s: Spec) -> dict[str, torch.Tensor]:
    """Random weights, exact in the stored dtype, scaled so that logits spread by 1 to 3 and
    attention prefers some positions strongly."""
    random = np.random.default_rng(s.seed())

    def normal(*shape: int, std: float, mean: float = 0) -> torch.Tensor:
        values = torch.from_numpy(mean + std * random.standard_normal(shape))
        return values.to(getattr(torch, s.dtype)).contiguous()

    out = {"model.embed_tokens.weight": normal(s.vocab, s.hidden, std=2 / s.hidden**0.5)}
    heads, kv = s.heads * s.head_dim, s.kv_heads * s.head_dim
    attention = {"q": (heads, s.hidden, 1.5), "k": (kv, s.hidden, 1.5), "v": (kv, s.hidden, 1)}
    attention["o"] = (s.hidden, heads, 1)
    mlp = {"gate": (s.mlp, s.hidden, 1), "up": (s.mlp, s.hidden, 1), "down": (s.hidden, s.mlp, 1.5)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        for name in ("input_layernorm", "post_attention_layernorm"):
            out[f"{at}{name}.weight"] = normal(s.hidden, std=0.2, mean=1)
        for part, linears in (("self_attn", attention), ("mlp", mlp)):
            for name, (rows, cols, gain) in linears.items():
                key = f"{at}{part}.{name}_proj"
                out[f"{key}.weight"] = normal(rows, cols, std=gain / cols**0.5)
                if s.bias and part == "self_attn":
                    out[f"{key}.bias"] = normal(rows, std=0.3)
    out["model.norm.weight"] = normal(s.hidden, std=0.2, mean=1)
    if not s.tied:
        out["lm_head.weight"] = normal(s.vocab, s.hidden, std=2 / s.hidden**0.5)
    return out


def save_weights(s: Spec, tensors: dict[str, torch.Tensor], to: pathlib.Path) -> None:
    if s.shards == 1:
        save_file(tensors, to / "model.safetensors", {"format": "pt"})
        return
    names, files = list(tensors), {}
    for i in range(s.shards):
        file = f"model-{i + 1:05}-of-{s.shards:05}.safetensors"
        part = names[len(names) * i // s.shards : len(names) * (i + 1) // s.shards]
        save_file({n: tensors[n] for n in part}, to / file, {"format": "pt"})
        files |= {n: file for n in part}
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(files.items()))}
    (to / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def logits(where: pathlib.Path, ids: list[int], dtype=torch.float32, config=None) -> torch.Tensor:
    """[tokens, vocab] of one pass over all ids; `config` replaces the directory's own."""
    model = AutoModelForCausalLM.from_pretrained(
        where, dtype=dtype, config=config, attn_implementation="eager"
    )
    return model.eval()(torch.tensor([ids])).logits[0]


def check(s: Spec, where: pathlib.Path, ids: list[int], expected: torch.Tensor) -> None:
    allowed = TOLERANCE * max(1.0, float(expected.abs().max()))
    error = float((logits(where, ids, torch.float64) - expected).abs().max())
    assert error < allowed / 10, (s.name, error, allowed)
    assert 1 <= float(expected.std()) <= 3, (s.name, expected.std())
    other = [(ids[0] + 1) % s.vocab] + ids[1:]
    memory = float((logits(where, other)[-1] - expected[-1]).abs().max())
    assert memory > 100 * allowed, (s.name, memory, allowed)
    scaling, plain = 0.0, AutoConfig.from_pretrained(where)
    assert plain.rope_parameters["rope_theta"] == s.rope_theta, s.name
    if s.rope_scaling:
        plain.rope_parameters = {"rope_type": "default", "rope_theta": s.rope_theta}
        scaling = float((logits(where, ids, config=plain)[-1] - expected[-1]).abs().max())
        assert scaling > 1000 * allowed, (s.name, scaling, allowed)
    shares = [f"{x / allowed:.3g}" for x in (error, memory, scaling)]
    print(f"llama_{s.name}: of the tolerance: f64 {shares[0]}, first token {shares[1]}, "
          f"RoPE scaling {shares[2]}; std {float(expected.std()):.2f}")  # fmt: skip


def positions(s: Spec) -> list[int]:
    """All, or for a long input a sample: both sides of chunk borders, every 16th, the end."""
    if s.tokens <= 256:
        return list(range(s.tokens))
    borders = {b + d for b in range(0, s.tokens, 256) for d in (-2, -1, 0, 1, 2)}
    sample = borders | set(range(0, s.tokens, 16)) | set(range(s.tokens - 16, s.tokens))
    return sorted(p for p in sample if 0 <= p < s.tokens)


def make(out: pathlib.Path) -> None:
    for s in SPECS:
        where = out / f"llama_{s.name}"
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir()
        (where / "config.json").write_text(json.dumps(config(s), indent=2) + "\n")
        save_weights(s, weights(s), where)
        ids = np.random.default_rng(s.seed() + 1).integers(0, s.vocab, s.tokens).tolist()
        expected = logits(where, ids)
        check(s, where, ids, expected)
        at = positions(s)
        expected[at].numpy().astype("<f4").tofile(where / "expected.f32")
        header = {"format": 1, "computed_in": "float32", "tolerance": TOLERANCE}
        header |= {"vocab_size": s.vocab, "max_abs_logit": float(expected.abs().max())}
        lists = {"input_ids": ids, "positions": at}
        rows = [f'"{k}": {json.dumps(v)}' for k, v in (header | lists).items()]
        (where / "expected.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")
