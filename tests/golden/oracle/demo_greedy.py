"""demo_greedy.json: what the demo model says in f32 under greedy decoding."""

import pathlib

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import fixture_json

NEW_TOKENS = 200
GAP = 1e-3  # a smaller distance between the two best logits may fall either way
MIN_COMPARED = 4000

# One user message each.
QUESTIONS = [
    "What is PagedAttention?",
    "Explain the KV cache.",
    "What does a block table do?",
    "Why does memory fragmentation matter?",
    "What is continuous batching?",
    "How does beam search work?",
    "How does parallel sampling share memory?",
    "When is a block copied?",
    "What happens when memory runs out?",
    "What is tensor parallelism?",
    "How are shared prefixes reused?",
    "What did Orca introduce?",
    "What is FasterTransformer good at?",
    "Where do swapped blocks go?",
    "What is the prefill phase?",
    "Explain decode.",
    "What is 17 plus 25?",
    "What is 58 minus 23?",
    "Compute 42 + 57.",
    "76 - 38 =",
    "What is the capital of Cameroon?",
    "Which country has Vienna as its capital?",
    "Where is Peru?",
    "What language do people speak in Vietnam?",
    "Tell me about Kenya.",
    "Translate to French: The happy dog eats an apple in the garden.",
    "Translate into French: The cat sees the red ball. The queen wants a lamp by the sea.",
    "How do you say this in French? The farmer carries a green box at the market on Monday.",
    "Translate to English: Le chat noir voit un oiseau sur le pont.",
    "How do you say this in English? La fille aime le gâteau dans la cuisine chaque matin.",
    "Count from 7 to 15.",
    "Count from 30 to 45.",
    "Count down from 12 to 3.",
    "List five animals.",
    "Name three foods.",
    "Sort the words: horse apple map cat",
    "Reverse the words: boat cat egg lamp",
    "Repeat: queen drum fox soup table",
    "How many words are there? dog hat pear",
    "What is the last word? lion key cheese book",
    "Write JSON for a blue cat named Mia who is 7 years old.",
    "Write JSON for a green turtle named Omar who is 15 years old.",
    "Write a story about a fox and a clock.",
    "Tell me a story about a frog and an apple.",
    "Write a story about a teacher and a flower.",
    "Who are you?",
    "My name is Zoe.",
    "Thank you!",
]
# Several turns, with and without a system message: (role, content) with s, u, a for the roles.
CHATS = [
    [("s", "You are a helpful assistant."), ("u", "What is the capital of Japan?")],
    [("s", "You are a small demo model."), ("u", "Tell me a story about a cat and an orange.")],
    [("u", "Hello!"), ("a", "Hello! How can I help you?"), ("u", "What is prefix caching?")],
    [
        ("s", "Answer the user."), ("u", "What is 20 plus 22?"), ("a", "20 + 22 = 42"),
        ("u", "Where is Ghana?"), ("a", "Ghana is in Africa."),
        ("u", "Count from 0 to 9."), ("a", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9."),
        ("u", "What is copy-on-write?"),
    ],
]
# Outside the chat layout: the model tells a story from its first words, or meets what it never saw.
RAW = [
    "Once upon a time",
    "Nora was a calm rabbit who lived near the river. "
    "Nora had a blue letter and took it everywhere.",
    "x",
    "0 1 2 3 4 5 6 7 8 9 " * 30,
]
ROLES = {"s": "system", "u": "user", "a": "assistant"}


def prompts(tokenizer) -> list[str]:
    def chat(turns):
        messages = [{"role": ROLES[role], "content": content} for role, content in turns]
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    return [chat([("u", q)]) for q in QUESTIONS] + [chat(turns) for turns in CHATS] + RAW


def generate(model, ids: list[int]) -> tuple[list[int], list[float]]:
    """Greedy decoding with a KV cache, past every stop token; the top-2 gap of each step."""
    output, gaps, cache, feed = [], [], None, ids
    for _ in range(NEW_TOKENS):
        step = model(torch.tensor([feed]), past_key_values=cache, use_cache=True)
        cache = step.past_key_values
        best = torch.topk(step.logits[0, -1], 2)
        output.append(int(best.indices[0]))
        gaps.append(float(best.values[0] - best.values[1]))
        feed = output[-1:]
    return output, gaps


def check_exact(exact, ids: list[int], output: list[int], compared: int) -> None:
    """One pass without a cache, with float64 weights and linears, agrees where we compare."""
    logits = exact(torch.tensor([ids + output[:-1]])).logits[0, len(ids) - 1 :]
    assert logits.argmax(-1).tolist()[:compared] == output[:compared]


def make(demo: pathlib.Path, out: pathlib.Path, versions: dict[str, str]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(demo)
    options = {"attn_implementation": "eager"}
    model = AutoModelForCausalLM.from_pretrained(demo, dtype=torch.float32, **options).eval()
    exact = AutoModelForCausalLM.from_pretrained(demo, dtype=torch.float64, **options).eval()
    cases, compared = [], 0
    for text in prompts(tokenizer):
        ids = tokenizer(text)["input_ids"]
        assert len(ids) + NEW_TOKENS <= model.config.max_position_embeddings, text
        output, gaps = generate(model, ids)
        first = next((i for i, gap in enumerate(gaps) if gap < GAP), NEW_TOKENS)
        check_exact(exact, ids, output, first)
        compared += first
        cases.append({"prompt": text, "prompt_ids": ids, "output_ids": output, "first_gap": first})
    assert compared >= MIN_COMPARED, compared
    header = {"format": 1, "versions": versions, "model": "models/demo", "dtype": "float32"}
    header |= {"gap": GAP, "new_tokens": NEW_TOKENS, "compared": compared}
    fixture_json.write(out / "demo_greedy.json", header, cases=cases)
    print(f"demo_greedy.json: {len(cases)} prompts, {compared} tokens before the first gap")
