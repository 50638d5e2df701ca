"""Train the demo model on the synthetic corpus and write a Hugging Face model directory.

Usage: train.py OUT_DIR MINUTES [SEQUENCE PEAK_LR]

OUT_DIR already holds tokenizer.json from train_tokenizer.py; if it holds model.safetensors too,
training goes on from those weights. The learning-rate schedule follows the clock, so two runs do
not give the same weights. Needs PyTorch and `regex`.
"""

import json
import math
import os
import pathlib
import struct
import sys
import time

import regex
import torch
import torch.nn.functional as F
from torch import nn

import corpus
from train_tokenizer import SPLIT, byte_alphabet

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 2048,
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "initializer_range": 0.02,
    "torch_dtype": "bfloat16",
}
TOKENS_PER_STEP, WARMUP = 6144, 100
QUESTIONS = (
    "What is PagedAttention?",
    "What is 17 plus 25?",
    "Write a story about a fox and a clock.",
    "What is the capital of Cameroon?",
)


class Encoder:
    """Byte-level BPE over the finished vocabulary, with a cache of words."""

    def __init__(self, path: pathlib.Path):
        t = json.loads(path.read_text())
        self.vocab = t["model"]["vocab"]
        self.rank = {tuple(m.split(" ")): i for i, m in enumerate(t["model"]["merges"])}
        self.special = {a["content"]: a["id"] for a in t["added_tokens"]}
        self.splitter = regex.compile("(" + "|".join(map(regex.escape, self.special)) + ")")
        self.words = regex.compile(SPLIT)
        self.alphabet, self.cache = byte_alphabet(), {}

    def word(self, w: str) -> list[int]:
        if w not in self.cache:
            p = [self.alphabet[b] for b in w.encode()]
            while len(p) > 1:
                ranks = [self.rank.get(pair, math.inf) for pair in zip(p, p[1:])]
                i = ranks.index(min(ranks))
                if ranks[i] == math.inf:
                    break
                p[i : i + 2] = [p[i] + p[i + 1]]
            self.cache[w] = [self.vocab[x] for x in p]
        return self.cache[w]

    def __call__(self, text: str) -> list[int]:
        ids = []
        for part in self.splitter.split(text):
            if part in self.special:
                ids.append(self.special[part])
            else:
                for w in self.words.findall(part):
                    ids += self.word(w)
        return ids

    def decode(self, ids: list[int]) -> str:
        name = {v: k for k, v in self.vocab.items()}
        byte = {c: b for b, c in self.alphabet.items()}
        raw = bytearray()
        for i in ids:
            s = name[i]
            raw += s.encode() if s in self.special else bytes(byte[c] for c in s)
        return raw.decode(errors="replace")


class RMSNorm(nn.Module):
    def __init__(self, n: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))

    def forward(self, x):
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + CONFIG["rms_norm_eps"])
        return x * scale * self.weight


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        h, self.d = CONFIG["hidden_size"], CONFIG["head_dim"]
        self.heads, self.kv_heads = CONFIG["num_attention_heads"], CONFIG["num_key_value_heads"]
        self.q_proj = nn.Linear(h, self.heads * self.d, bias=False)
        self.k_proj = nn.Linear(h, self.kv_heads * self.d, bias=False)
        self.v_proj = nn.Linear(h, self.kv_heads * self.d, bias=False)
        self.o_proj = nn.Linear(self.heads * self.d, h, bias=False)

    def forward(self, x, cos, sin, mask):
        b, t, _ = x.shape
        q = self.q_proj(x).view(b, t, self.heads, self.d).transpose(1, 2)
        k = self.k_proj(x).view(b, t, self.kv_heads, self.d).transpose(1, 2)
        v = self.v_proj(x).view(b, t, self.kv_heads, self.d).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        repeats = self.heads // self.kv_heads
        k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        scores = (q @ k.transpose(-1, -2)).float() / math.sqrt(self.d) + mask
        y = (scores.softmax(-1).to(v.dtype) @ v).transpose(1, 2).reshape(b, t, -1)
        return self.o_proj(y)


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        h, m = CONFIG["hidden_size"], CONFIG["intermediate_size"]
        self.gate_proj = nn.Linear(h, m, bias=False)
        self.up_proj = nn.Linear(h, m, bias=False)
        self.down_proj = nn.Linear(m, h, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        h = CONFIG["hidden_size"]
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(h), RMSNorm(h)
        self.self_attn, self.mlp = Attention(), Mlp()

    def forward(self, x, cos, sin, mask):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(CONFIG["vocab_size"], CONFIG["hidden_size"])
        self.layers = nn.ModuleList(Layer() for _ in range(CONFIG["num_hidden_layers"]))
        self.norm = RMSNorm(CONFIG["hidden_size"])
        for name, p in self.named_parameters():
            if p.dim() == 2:
                residual = "o_proj" in name or "down_proj" in name
                depth = (2 * len(self.layers)) ** 0.5 if residual else 1
                nn.init.normal_(p, std=CONFIG["initializer_range"] / depth)

    def forward(self, ids):
        t, d = ids.shape[1], CONFIG["head_dim"]
        inverse = CONFIG["rope_theta"] ** (-torch.arange(0, d, 2).float() / d)
        angle = torch.outer(torch.arange(t).float(), inverse).repeat(1, 2)
        mask = torch.full((t, t), float("-inf")).triu(1)
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, angle.cos(), angle.sin(), mask)
        return F.linear(self.norm(x), self.embed_tokens.weight)


def save(model: Llama, enc: Encoder, out: pathlib.Path) -> None:
    header, data, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, p in sorted(model.state_dict().items()):
        p = p.detach().to(torch.bfloat16).contiguous()
        raw = p.view(torch.int16).numpy().tobytes()
        span = [offset, offset + len(raw)]
        header["model." + name] = {"dtype": "BF16", "shape": list(p.shape), "data_offsets": span}
        data.append(raw)
        offset += len(raw)
    h = json.dumps(header).encode()
    h += b" " * (-len(h) % 8)
    (out / "model.safetensors").write_bytes(struct.pack("<Q", len(h)) + h + b"".join(data))
    eos = [enc.special[corpus.IM_END], enc.special[corpus.EOT]]
    stops = {"eos_token_id": eos, "bos_token_id": None, "pad_token_id": eos[1]}
    sampling = {"temperature": 0.7, "top_p": 0.95, "do_sample": True}
    generation = {"eos_token_id": eos, "pad_token_id": eos[1]} | sampling
    (out / "config.json").write_text(json.dumps(CONFIG | stops, indent=2))
    (out / "generation_config.json").write_text(json.dumps(generation, indent=2))


def load(model: Llama, path: pathlib.Path) -> None:
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header, state = json.loads(raw[8 : 8 + size]), {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + size + o for o in entry["data_offsets"])
            flat = torch.frombuffer(bytearray(raw[begin:end]), dtype=torch.bfloat16)
            state[name.removeprefix("model.")] = flat.float().view(entry["shape"])
    model.load_state_dict(state)


def batches(enc: Encoder, seed: int, sequence: int):
    stream, buffer = corpus.documents(seed), []
    while True:
        while len(buffer) < TOKENS_PER_STEP + 1:
            buffer += enc(next(stream))
        chunk = torch.tensor(buffer[: TOKENS_PER_STEP + 1])
        del buffer[:TOKENS_PER_STEP]
        yield chunk[:-1].view(-1, sequence), chunk[1:].view(-1, sequence)


@torch.no_grad()
def answer(model: Llama, enc: Encoder, question: str, limit: int = 200) -> str:
    ids = enc(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")
    for _ in range(limit):
        with torch.autocast("cpu", torch.bfloat16):
            ids.append(int(model(torch.tensor([ids]))[0, -1].float().argmax()))
        if ids[-1] == enc.special[corpus.IM_END]:
            break
    return enc.decode(ids)


def optimizer(model: Llama, lr: float) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.dim() == 2]
    rest = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95))


def train_step(model: Llama, opt: torch.optim.Optimizer, x, y, lr: float) -> float:
    for group in opt.param_groups:
        group["lr"] = lr
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(x)
    loss = F.cross_entropy(logits.float().view(-1, CONFIG["vocab_size"]), y.reshape(-1))
    opt.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    opt.step()
    return loss.item()


def main(out: pathlib.Path, minutes: float, sequence: int = 512, peak_lr: float = 2e-3) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(os.cpu_count())
    enc, model = Encoder(out / "tokenizer.json"), Llama()
    print(sum(p.numel() for p in model.parameters()) / 1e6, "M parameters", flush=True)
    warm = (out / "model.safetensors").exists()
    if warm:
        load(model, out / "model.safetensors")
    opt, start = optimizer(model, peak_lr), time.time()
    for step, (x, y) in enumerate(batches(enc, seed=2 if warm else 1, sequence=sequence), 1):
        done = (time.time() - start) / (minutes * 60)
        if done >= 1:
            break
        cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))
        loss = train_step(model, opt, x, y, peak_lr * min(1, step / WARMUP) * cosine)
        if step % 20 == 0:
            seen = step * TOKENS_PER_STEP
            rate = seen / (time.time() - start)
            print(f"step {step} {seen / 1e6:.2f}M tokens loss {loss:.4f} {rate:.0f}/s", flush=True)
        if step % 400 == 0:
            save(model, enc, out)
            print(answer(model, enc, QUESTIONS[0], 60), flush=True)
    save(model, enc, out)
    for question in QUESTIONS:
        print(answer(model, enc, question), flush=True)


if __name__ == "__main__":
    numbers = (convert(a) for convert, a in zip((float, int, float), sys.argv[2:]))
    main(pathlib.Path(sys.argv[1]), *numbers)
