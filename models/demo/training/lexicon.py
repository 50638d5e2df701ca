"""Word lists and facts from which corpus.py builds the training text."""

# English noun, French noun, French gender, kind.
NOUNS = [
    ("cat", "chat", "m", "animal"), ("dog", "chien", "m", "animal"),
    ("horse", "cheval", "m", "animal"), ("cow", "vache", "f", "animal"),
    ("bird", "oiseau", "m", "animal"), ("fish", "poisson", "m", "animal"),
    ("rabbit", "lapin", "m", "animal"), ("mouse", "souris", "f", "animal"),
    ("fox", "renard", "m", "animal"), ("bear", "ours", "m", "animal"),
    ("frog", "grenouille", "f", "animal"), ("lion", "lion", "m", "animal"),
    ("sheep", "mouton", "m", "animal"), ("duck", "canard", "m", "animal"),
    ("turtle", "tortue", "f", "animal"), ("boy", "garçon", "m", "person"),
    ("girl", "fille", "f", "person"), ("man", "homme", "m", "person"),
    ("woman", "femme", "f", "person"), ("teacher", "professeur", "m", "person"),
    ("doctor", "médecin", "m", "person"), ("king", "roi", "m", "person"),
    ("queen", "reine", "f", "person"), ("farmer", "fermier", "m", "person"),
    ("child", "enfant", "m", "person"), ("friend", "ami", "m", "person"),
    ("sailor", "marin", "m", "person"), ("apple", "pomme", "f", "food"),
    ("bread", "pain", "m", "food"), ("cake", "gâteau", "m", "food"),
    ("cheese", "fromage", "m", "food"), ("soup", "soupe", "f", "food"),
    ("egg", "œuf", "m", "food"), ("orange", "orange", "f", "food"),
    ("carrot", "carotte", "f", "food"), ("pear", "poire", "f", "food"),
    ("book", "livre", "m", "thing"), ("letter", "lettre", "f", "thing"),
    ("key", "clé", "f", "thing"), ("ball", "ballon", "m", "thing"),
    ("box", "boîte", "f", "thing"), ("hat", "chapeau", "m", "thing"),
    ("lamp", "lampe", "f", "thing"), ("boat", "bateau", "m", "thing"),
    ("car", "voiture", "f", "thing"), ("flower", "fleur", "f", "thing"),
    ("chair", "chaise", "f", "thing"), ("table", "table", "f", "thing"),
    ("clock", "horloge", "f", "thing"), ("map", "carte", "f", "thing"),
    ("drum", "tambour", "m", "thing"),
]

# English, French masculine, French feminine; French places them all after the noun.
# The first six are colours, the others moods.
ADJECTIVES = [
    ("red", "rouge", "rouge"), ("green", "vert", "verte"), ("blue", "bleu", "bleue"),
    ("black", "noir", "noire"), ("white", "blanc", "blanche"), ("yellow", "jaune", "jaune"),
    ("happy", "heureux", "heureuse"), ("sad", "triste", "triste"),
    ("tired", "fatigué", "fatiguée"), ("strong", "fort", "forte"), ("calm", "calme", "calme"),
    ("quick", "rapide", "rapide"), ("brave", "courageux", "courageuse"),
]

# English third person, English base, French third person, kinds of object (None: any).
VERBS = [
    ("sees", "see", "voit", None), ("wants", "want", "veut", None),
    ("loves", "love", "aime", None), ("finds", "find", "trouve", None),
    ("draws", "draw", "dessine", None), ("follows", "follow", "suit", ("animal", "person")),
    ("eats", "eat", "mange", ("food",)), ("buys", "buy", "achète", ("food", "thing")),
    ("carries", "carry", "porte", ("food", "thing")),
    ("helps", "help", "aide", ("animal", "person")),
    ("hides", "hide", "cache", ("food", "thing")), ("cleans", "clean", "nettoie", ("thing",)),
]

# English, French.
PLACES = [
    ("in the garden", "dans le jardin"), ("in the house", "dans la maison"),
    ("at school", "à l'école"), ("in the forest", "dans la forêt"),
    ("near the river", "près de la rivière"), ("on the bridge", "sur le pont"),
    ("at the market", "au marché"), ("in the kitchen", "dans la cuisine"),
    ("by the sea", "au bord de la mer"), ("in the street", "dans la rue"),
]

# English, French.
TIMES = [
    ("today", "aujourd'hui"), ("every morning", "chaque matin"), ("in the evening", "le soir"),
    ("on Monday", "le lundi"), ("in winter", "en hiver"), ("in summer", "en été"),
]

# Country, capital, continent, language.
COUNTRIES = [
    ("France", "Paris", "Europe", "French"), ("Germany", "Berlin", "Europe", "German"),
    ("Italy", "Rome", "Europe", "Italian"), ("Spain", "Madrid", "Europe", "Spanish"),
    ("Portugal", "Lisbon", "Europe", "Portuguese"), ("Greece", "Athens", "Europe", "Greek"),
    ("Poland", "Warsaw", "Europe", "Polish"), ("Sweden", "Stockholm", "Europe", "Swedish"),
    ("Norway", "Oslo", "Europe", "Norwegian"), ("Finland", "Helsinki", "Europe", "Finnish"),
    ("Denmark", "Copenhagen", "Europe", "Danish"), ("Austria", "Vienna", "Europe", "German"),
    ("Hungary", "Budapest", "Europe", "Hungarian"), ("Ireland", "Dublin", "Europe", "English"),
    ("Japan", "Tokyo", "Asia", "Japanese"), ("China", "Beijing", "Asia", "Chinese"),
    ("India", "New Delhi", "Asia", "Hindi"), ("Thailand", "Bangkok", "Asia", "Thai"),
    ("Vietnam", "Hanoi", "Asia", "Vietnamese"), ("Turkey", "Ankara", "Asia", "Turkish"),
    ("Egypt", "Cairo", "Africa", "Arabic"), ("Kenya", "Nairobi", "Africa", "Swahili"),
    ("Ghana", "Accra", "Africa", "English"), ("Cameroon", "Yaoundé", "Africa", "French"),
    ("Senegal", "Dakar", "Africa", "French"), ("Morocco", "Rabat", "Africa", "Arabic"),
    ("Canada", "Ottawa", "North America", "English"),
    ("Mexico", "Mexico City", "North America", "Spanish"),
    ("Cuba", "Havana", "North America", "Spanish"),
    ("Brazil", "Brasília", "South America", "Portuguese"),
    ("Argentina", "Buenos Aires", "South America", "Spanish"),
    ("Chile", "Santiago", "South America", "Spanish"),
    ("Peru", "Lima", "South America", "Spanish"),
    ("Australia", "Canberra", "Oceania", "English"),
]

NAMES = [
    "Tom", "Anna", "Leo", "Mia", "Sam", "Nora", "Max", "Lily", "Ben", "Ella", "Hugo", "Rosa",
    "Ivan", "Zoe", "Omar", "Awa",
]

# Ways to ask, and the one answer.
KNOWLEDGE = [
    (
        ("What is PagedAttention?", "Explain PagedAttention.", "Tell me about PagedAttention."),
        "PagedAttention is an attention algorithm that stores the keys and values of a sequence "
        "in fixed-size blocks. The blocks do not have to be next to each other in memory: a "
        "block table maps each logical block to a physical block, just as a page table does in "
        "an operating system.",
    ),
    (
        ("What is a KV cache?", "Explain the KV cache.", "What does the KV cache hold?"),
        "The KV cache holds the key and value vectors of all the tokens that a model has already "
        "read, so that each new token only needs one pass. It grows by one entry per layer for "
        "every token.",
    ),
    (
        ("What is a block table?", "Explain block tables.", "What does a block table do?"),
        "A block table maps the logical blocks of a sequence to physical blocks in GPU memory. "
        "New physical blocks are added only when the last one is full.",
    ),
    (
        (
            "Why does memory fragmentation matter?",
            "What is fragmentation?",
            "Explain memory fragmentation.",
        ),
        "When a server reserves one long piece of memory for every request, most of it is never "
        "used. That waste is called fragmentation, and it limits how many requests fit in one "
        "batch.",
    ),
    (
        (
            "What is continuous batching?",
            "Explain continuous batching.",
            "What is iteration-level scheduling?",
        ),
        "With continuous batching the scheduler forms a new batch at every step. Finished "
        "requests leave at once and waiting requests join at once, so no request waits for the "
        "slowest one.",
    ),
    (
        ("What is beam search?", "Explain beam search.", "How does beam search work?"),
        "Beam search keeps the best few candidate sequences at every step. Candidates that come "
        "from the same parent share its blocks, so the memory is not copied.",
    ),
    (
        (
            "What is parallel sampling?",
            "Explain parallel sampling.",
            "How does parallel sampling share memory?",
        ),
        "Parallel sampling draws several outputs from one prompt. All the outputs share the "
        "blocks of the prompt and copy a block only when they write to it.",
    ),
    (
        ("What is copy-on-write?", "Explain copy-on-write.", "When is a block copied?"),
        "Copy-on-write means that a shared block is copied only when one of its owners wants to "
        "change it. Until then a reference count says how many sequences use it.",
    ),
    (
        ("What is preemption?", "Explain preemption.", "What happens when memory runs out?"),
        "When no free blocks are left, the scheduler preempts the latest request. Its blocks are "
        "swapped to CPU memory, or they are dropped and recomputed later.",
    ),
    (
        (
            "What is tensor parallelism?",
            "Explain tensor parallelism.",
            "How is a model split over several GPUs?",
        ),
        "Tensor parallelism splits every weight matrix over several GPUs. Each GPU works on its "
        "own attention heads, and an all-reduce adds the partial results after each layer.",
    ),
    (
        ("What is prefix caching?", "Explain prefix caching.", "How are shared prefixes reused?"),
        "Prefix caching keeps the blocks of prompts that have been read before. A new request "
        "that starts with the same tokens reuses those blocks and skips their computation.",
    ),
    (
        ("What is Orca?", "Explain Orca.", "What did Orca introduce?"),
        "Orca is a serving system that introduced iteration-level scheduling. It still reserves "
        "a contiguous piece of memory for each request.",
    ),
    (
        (
            "What is FasterTransformer?",
            "Explain FasterTransformer.",
            "What is FasterTransformer good at?",
        ),
        "FasterTransformer is an inference library with fast fused GPU kernels. It manages its "
        "KV cache statically, so much of the memory stays unused.",
    ),
    (
        ("What is swapping?", "Explain swapping.", "Where do swapped blocks go?"),
        "Swapping moves the blocks of a preempted request to CPU memory. They come back when "
        "enough GPU blocks are free again.",
    ),
    (
        ("What is the prefill phase?", "Explain prefill.", "What happens in prefill?"),
        "In the prefill phase the model reads the whole prompt at once and fills the KV cache. "
        "The first new token comes out at its end.",
    ),
    (
        ("What is the decode phase?", "Explain decode.", "What happens in decode?"),
        "In the decode phase the model makes one token at a time. Each step reads all the keys "
        "and values of the sequence, so it is limited by memory bandwidth.",
    ),
]
