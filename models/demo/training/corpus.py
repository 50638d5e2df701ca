"""Synthetic training text for the demo model.

Every sentence comes from the word lists in lexicon.py and the rules below, so the text carries
no third-party licence. `documents(seed)` yields an endless stream of documents, each one string
in the chat layout; the same seed always gives the same stream.

Run it to read a few documents.
"""

import json
import random
from typing import Iterator

from lexicon import ADJECTIVES, COUNTRIES, KNOWLEDGE, NAMES, NOUNS, PLACES, TIMES, VERBS

IM_START, IM_END, EOT = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
COLOURS, MOODS = ADJECTIVES[:6], ADJECTIVES[6:]
Pair = tuple[str, str]  # user message and assistant message, or English and French


def _a(word: str) -> str:
    return ("an " if word[0] in "aeio" else "a ") + word


def _cap(s: str) -> str:
    return s[0].upper() + s[1:]


def _fr_the(fr: str, gender: str) -> str:
    if fr[0] in "aeéiouœh":
        return "l'" + fr
    return ("le " if gender == "m" else "la ") + fr


def _fr_a(fr: str, gender: str) -> str:
    return ("un " if gender == "m" else "une ") + fr


def _noun(r: random.Random, kinds=None):
    return r.choice([n for n in NOUNS if kinds is None or n[3] in kinds])


def _adjective(r: random.Random, kind: str):
    """Colours suit things, food and animals; moods suit animals and people."""
    return r.choice({"person": MOODS, "animal": ADJECTIVES}.get(kind, COLOURS))


def _hero(r: random.Random) -> str:
    animals = [n[0] for n in NOUNS if n[3] == "animal"]
    return r.choice(animals + ["teacher", "doctor", "farmer", "child", "sailor"])


def _subject(r: random.Random, noun) -> Pair:
    en, fr = "the " + noun[0], _fr_the(noun[1], noun[2])
    if r.random() < 0.4:
        a = _adjective(r, noun[3])
        en = f"the {a[0]} {noun[0]}"
        fr += " " + (a[1] if noun[2] == "m" else a[2])
    return en, fr


def _object(r: random.Random, noun) -> Pair:
    definite = r.random() < 0.4
    en = ("the " + noun[0]) if definite else _a(noun[0])
    fr = _fr_the(noun[1], noun[2]) if definite else _fr_a(noun[1], noun[2])
    if r.random() < 0.3:
        a = _adjective(r, noun[3])
        en = f"the {a[0]} {noun[0]}" if definite else _a(f"{a[0]} {noun[0]}")
        fr += " " + (a[1] if noun[2] == "m" else a[2])
    return en, fr


def _sentence(r: random.Random) -> Pair:
    who = _noun(r, ("animal", "person"))
    verb = r.choice(VERBS)
    what = _noun(r, verb[3])
    while what[0] == who[0]:
        what = _noun(r, verb[3])
    subject, object_ = _subject(r, who), _object(r, what)
    en, fr = f"{subject[0]} {verb[0]} {object_[0]}", f"{subject[1]} {verb[2]} {object_[1]}"
    for phrases, chance in ((PLACES, 0.5), (TIMES, 0.3)):
        if r.random() < chance:
            phrase = r.choice(phrases)
            en, fr = f"{en} {phrase[0]}", f"{fr} {phrase[1]}"
    return _cap(en) + ".", _cap(fr) + "."


# The tasks. Each returns a user message and the assistant's answer.


def translate(r: random.Random) -> Pair:
    pairs = [_sentence(r) for _ in range(r.choice([1, 1, 1, 2, 3]))]
    en, fr = " ".join(p[0] for p in pairs), " ".join(p[1] for p in pairs)
    language, text, answer = ("French", en, fr) if r.random() < 0.6 else ("English", fr, en)
    ask = r.choice(["Translate to %s: ", "Translate into %s: ", "How do you say this in %s? "])
    return ask % language + text, answer


def arithmetic(r: random.Random) -> Pair:
    a, b = r.randint(0, 99), r.randint(0, 99)
    op = r.choice("+-")
    if op == "-" and a < b:
        a, b = b, a
    c = a + b if op == "+" else a - b
    word = "plus" if op == "+" else "minus"
    ask = r.choice([f"What is {a} {word} {b}?", f"{a} {op} {b} =", f"Compute {a} {op} {b}."])
    return ask, f"{a} {op} {b} = {c}"


def geography(r: random.Random) -> Pair:
    country, capital, continent, language = r.choice(COUNTRIES)
    summary = (
        f"{country} is a country in {continent}. Its capital is {capital}, "
        f"and many people there speak {language}."
    )
    return r.choice([
        (f"What is the capital of {country}?", f"The capital of {country} is {capital}."),
        (f"Which country has {capital} as its capital?", f"{capital} is the capital of {country}."),
        (f"Where is {country}?", f"{country} is in {continent}."),
        (f"What language do people speak in {country}?", f"People in {country} speak {language}."),
        (f"Tell me about {country}.", summary),
    ])


def knowledge(r: random.Random) -> Pair:
    questions, answer = r.choice(KNOWLEDGE)
    return r.choice(questions), answer


def counting(r: random.Random) -> Pair:
    a = r.randint(0, 40)
    b = a + r.randint(2, 15)
    if r.random() < 0.3:
        return f"Count down from {b} to {a}.", ", ".join(map(str, range(b, a - 1, -1))) + "."
    return f"Count from {a} to {b}.", ", ".join(map(str, range(a, b + 1))) + "."


def word_lists(r: random.Random) -> Pair:
    kind = r.choice(["animal", "food", "thing", "person"])
    plural = {"animal": "animals", "food": "foods", "thing": "things", "person": "people"}[kind]
    n = r.randint(2, 6)
    words = r.sample([x[0] for x in NOUNS if x[3] == kind], n)
    number = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}[n]
    ask = r.choice([f"List {number} {plural}.", f"Name {number} {plural}."])
    return ask, ", ".join(words) + "."


def word_play(r: random.Random) -> Pair:
    words = r.sample([x[0] for x in NOUNS], r.randint(3, 6))
    text = " ".join(words)
    return r.choice([
        (f"Repeat: {text}", text),
        (f"Reverse the words: {text}", " ".join(reversed(words))),
        (f"Sort the words: {text}", " ".join(sorted(words))),
        (f"How many words are there? {text}", f"There are {len(words)} words."),
        (f"What is the first word? {text}", f"The first word is {words[0]}."),
        (f"What is the last word? {text}", f"The last word is {words[-1]}."),
    ])


def json_object(r: random.Random) -> Pair:
    animal, name, age = _noun(r, ("animal",))[0], r.choice(NAMES), r.randint(1, 19)
    color = r.choice(COLOURS)[0]
    answer = {"animal": animal, "name": name, "age": age, "color": color}
    ask = f"Write JSON for {_a(f'{color} {animal}')} named {name} who is {age} years old."
    return ask, json.dumps(answer)


def small_talk(r: random.Random) -> Pair:
    name = r.choice(NAMES)
    who = (
        "I am a small demo model. I can tell stories, translate simple sentences, "
        "add numbers and explain PagedAttention."
    )
    skills = (
        "I can tell stories, translate simple sentences, add numbers, name capitals "
        "and explain PagedAttention."
    )
    return r.choice([
        ("Hello!", "Hello! How can I help you?"),
        ("Hi!", "Hello! How can I help you?"),
        ("Good morning!", "Good morning! How can I help you?"),
        ("Who are you?", who),
        ("What can you do?", skills),
        ("Thank you!", "You are welcome!"),
        ("Thanks.", "You are welcome!"),
        ("Goodbye!", "Goodbye! Have a nice day."),
        (f"My name is {name}.", f"Nice to meet you, {name}!"),
    ])


def _story_opening(r, name: str, hero: str, found: str, thing: str, places) -> list[str]:
    return [
        r.choice([
            f"Once upon a time there was {hero} named {name}.",
            f"There once was {hero} called {name}.",
            f"{name} was {hero} who lived {places[0]}.",
        ]),
        r.choice([
            f"One day {name} found {found} {places[1]}.",
            f"One morning {name} went for a walk and saw {found} {places[1]}.",
            f"{name} had {found} and took it everywhere.",
        ]),
        r.choice([
            f'"What a beautiful {thing}!" said {name}.',
            f'"Whose {thing} is this?" asked {name}.',
            f"{name} had never seen such {_a(thing)} before.",
        ]),
    ]


def _story_meeting(r, name: str, friend: str, friend_name: str, thing: str, place) -> list[str]:
    return [
        r.choice([
            f"Then {_a(friend)} named {friend_name} came along.",
            f"Just then {name} met {_a(friend)} named {friend_name}.",
            f"A {friend} called {friend_name} was watching {place}.",
        ]),
        r.choice([
            f'"That is my {thing}," said {friend_name}. "I lost it {place}."',
            f'"May I play with you?" asked {friend_name}.',
            f"{friend_name} was sad because the {thing} was gone.",
        ]),
        r.choice([
            f"{name} smiled and gave the {thing} to {friend_name}.",
            f"{name} thought for a moment and decided to share the {thing}.",
            f"So {name} and {friend_name} looked after the {thing} together.",
        ]),
    ]


def _story_end(r: random.Random, name: str, friend_name: str, places) -> list[str]:
    joy = r.choice([
        f"{friend_name} was so happy that they danced all day {places[2]}.",
        f"They played {places[2]} until the sun went down.",
        f"{friend_name} thanked {name} and made a big cake.",
    ])
    end = r.choice([
        "From that day on they were best friends.",
        f"From that day on {name} and {friend_name} were never alone.",
        "And they lived happily ever after.",
        "They learned that sharing makes everyone happy.",
    ])
    if r.random() >= 0.5:
        return [joy, end]
    evening = r.choice([
        f"In the evening they ate soup {places[0]}.",
        "The moon was bright and the night was calm.",
        f"The next day they met again {places[1]}.",
    ])
    return [joy, evening, end]


def story(r: random.Random, hero: str = "", thing: str = "") -> str:
    hero = hero or _hero(r)
    thing = thing or _noun(r, ("thing", "food"))[0]
    name = r.choice(NAMES)
    friend = _hero(r)
    while friend == hero:
        friend = _hero(r)
    friend_name = r.choice([n for n in NAMES if n != name])
    mood, colour = r.choice(MOODS)[0], r.choice(COLOURS)[0]
    places = [p[0] for p in r.sample(PLACES, 3)]
    return " ".join(
        _story_opening(r, name, _a(f"{mood} {hero}"), _a(f"{colour} {thing}"), thing, places)
        + _story_meeting(r, name, friend, friend_name, thing, places[2])
        + _story_end(r, name, friend_name, places)
    )


def told_story(r: random.Random) -> Pair:
    hero, thing = _hero(r), _noun(r, ("thing", "food"))[0]
    subject = f"{_a(hero)} and {_a(thing)}."
    ask = r.choice([f"Write a story about {subject}", f"Tell me a story about {subject}"])
    return ask, story(r, hero, thing)


# How often each task is drawn.
TASKS = {
    translate: 30, arithmetic: 12, geography: 12, knowledge: 14, counting: 5, word_lists: 4,
    word_play: 8, json_object: 5, small_talk: 4, told_story: 16,
}
SYSTEM = ["You are a helpful assistant.", "You are a small demo model.", "Answer the user."]


def _message(role: str, content: str) -> str:
    return f"{IM_START}{role}\n{content}{IM_END}\n"


def document(r: random.Random) -> str:
    """One training document: a chat of one to four turns, or a plain story."""
    if r.random() < 0.12:
        return story(r) + EOT
    out = ""
    if r.random() < 0.25:
        out += _message("system", r.choice(SYSTEM))
    for _ in range(r.choice([1, 1, 1, 2, 2, 3, 4])):
        user, reply = r.choices(list(TASKS), list(TASKS.values()))[0](r)
        out += _message("user", user) + _message("assistant", reply)
    return out + EOT


def documents(seed: int) -> Iterator[str]:
    r = random.Random(seed)
    while True:
        yield document(r)


if __name__ == "__main__":
    for _, doc in zip(range(12), documents(1)):
        print(doc)
