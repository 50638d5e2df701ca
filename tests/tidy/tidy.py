"""Checks the habits of the tree: layers, sizes, dead files, banned words, layout.

    tidy.py [--root DIR]             prints findings; fails unless they are those of ratchet.txt
    tidy.py [--root DIR] --update    lowers ratchet.txt to today's numbers (it never raises one)

A finding has a rule, a key (mostly a path) and a number: the size for sizes, else how often.
tests/tidy/ratchet.txt holds `rule key number` lines; a number there may only fall.
"""

import argparse
import ast
import collections
import fnmatch
import os
import posixpath
import re
import sys

CPP = (".h", ".cc", ".cu", ".cuh")
CODE = CPP + (".rs", ".py", ".sh", ".proto")
TEXT = CODE + (".md", ".cmake", ".toml", ".yml", ".yaml", "CMakeLists.txt", "Makefile")
BANNED, RATCHET = "tests/tidy/banned.txt", "tests/tidy/ratchet.txt"
MAX_COLUMNS = 100
MAX_FILE, MAX_P90, MAX_MEDIAN = 400, 300, 120
MAX_FUNCTION, MAX_KERNEL_FUNCTION = 40, 120
TEST_SHARE = 0.6
MEASURES = ("file-lines", "file-p90", "file-median", "function-lines", "test-lines")

# What a folder's targets may depend on, besides targets of the same folder. Longest match wins.
LAYERS = {
    "common": (),
    "proto": (),
    "kernels": ("common",),
    "worker": ("kernels", "proto", "common"),
    "coordinator": ("proto", "common"),
    "coordinator/core": ("common",),
    "client": ("proto", "common"),
}

Finding = collections.namedtuple("Finding", "rule key number message")
Target = collections.namedtuple("Target", "kind name folder files deps")


def within(path, folder):
    return path == folder or path.startswith(folder + "/")


def longest(path, folders):
    """The longest of the folders that holds path, or None."""
    return max((f for f in folders if within(path, f)), key=len, default=None)


def read_tree(root):
    """{path: text} of every file of ours, without what .gitignore names."""
    skip = {".git"}
    if os.path.exists(os.path.join(root, ".gitignore")):
        with open(os.path.join(root, ".gitignore"), encoding="utf-8") as f:
            skip |= {line.strip().rstrip("/") for line in f}
    tree = {}
    for folder, folders, names in os.walk(root):
        base = posixpath.normpath(posixpath.join("/", os.path.relpath(folder, root)))
        paths = {n: posixpath.join(base, n) for n in folders + names}
        folders[:] = [n for n in folders if not {n, paths[n]} & skip]
        for name in names:
            if name.endswith(TEXT) and not {name, paths[name]} & skip:
                with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as f:
                    tree[paths[name][1:]] = f.read()
    return dict(sorted(tree.items()))


NOT_CODE = re.compile(
    r'R"([^()\\\s]{0,16})\([\s\S]*?\)\1"|"(?:\\.|[^"\\\n])*"|\b\d[\w\']*'
    r"|'(?:\\.|[^'\\\n])+'|//[^\n]*|/\*[\s\S]*?\*/")


def strip_cpp(text):
    """C++ without comments and without what is inside literals; every line stays where it was."""

    def blank(match):
        lines = "\n" * match[0].count("\n")
        return match[0] if match[0][0].isdigit() else lines if match[0][0] == "/" else '""' + lines

    return NOT_CODE.sub(blank, text)


def cmake_commands(tree, path):
    """(command, words) of a CMakeLists.txt, with foreach(), set() and file(GLOB) expanded."""

    def unroll(m):
        words = ["${%s}" % m[3].strip()] if m[2] else m[3].split()
        return "".join(m[4].replace("${%s}" % m[1], word) for word in words)

    folder = posixpath.dirname(path)
    text = re.sub(r"foreach\s*\(\s*(\w+)\s+(IN LISTS\s+)?([^()]*)\)([\s\S]*?)endforeach\s*\(\)",
                  unroll, re.sub(r"#[^\n]*", "", tree[path]))
    known = {"CMAKE_CURRENT_SOURCE_DIR": ["/" + folder], "PROJECT_SOURCE_DIR": ["/"]}
    for command, body in re.findall(r"(\w+)\s*\(([^()]*)\)", text):
        words = []
        for word in re.findall(r'"[^"]*"|[^\s"]+', body):
            word = word.strip('"')
            if name := re.fullmatch(r"\$\{(\w+)\}", word):
                words += known.get(name[1], [word])
            else:
                words.append(re.sub(r"\$\{(\w+)\}", lambda m: (known.get(m[1]) or m)[0], word))
        if command == "set" and words:
            known[words[0]] = words[1:]
        if command == "file" and words[0] == "GLOB":
            known[words[1]] = ["/" + p for p in tree if posixpath.dirname(p) == folder
                               and in_scope(posixpath.basename(p), words[2:])]
        yield command, words


def read_targets(tree):
    """The targets, and the folders that take part in the build."""
    targets, reached = [], {""}
    for path in (p for p in tree if posixpath.basename(p) == "CMakeLists.txt"):
        here = posixpath.dirname(path)
        for command, words in cmake_commands(tree, path):
            if command == "add_subdirectory":
                reached.add(posixpath.join(here, words[0]))
            if command == "file" and words[0] == "GLOB_RECURSE" and words[-1] == "*/CMakeLists.txt":
                reached |= {posixpath.dirname(p) for p in tree if within(p, here)}
            kind = re.fullmatch(r"pagoda_(library|binary|test|proto)", command)
            if not kind:
                continue
            parts, part = collections.defaultdict(list), ""
            for word in words[1:]:
                if word in ("SRCS", "HDRS", "DEPS", "LINKS", "PROTOS", "LABELS", "TIMEOUT", "GRPC"):
                    part = word
                else:
                    parts[part].append(word)
            base = words[0] if kind[1] == "proto" else here
            files = [posixpath.normpath(posixpath.join("/" + base, f)).lstrip("/")
                     for f in parts["SRCS"] + parts["HDRS"] + parts["PROTOS"]]
            folder = words[0] if kind[1] in ("library", "proto") else here
            targets.append(Target(kind[1], words[0], folder, files, parts["DEPS"]))
    return targets, reached


def check_layers(tree, targets):
    for target in targets:
        layer = longest(target.folder, LAYERS)
        for dep in target.deps if layer else ():
            if not within(dep, layer) and not any(within(dep, f) for f in LAYERS[layer]):
                yield Finding("layer", target.folder, 1,
                              f"{target.name} depends on {dep}; {layer}/ may not")


INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', re.M)


def check_includes(tree, targets):
    libraries = {t.folder for t in targets if t.kind in ("library", "proto")}
    tops = {posixpath.dirname(p).split("/")[0] for p in tree} - {""}
    listed = collections.defaultdict(list)
    for target in targets:
        for path in target.files:
            listed[path].append(target)

    def owner(path):
        owners = {t.folder for t in listed[path] if t.kind in ("library", "proto")}
        return min(owners) if owners else longest(path, libraries)

    def targets_of(path):
        mine = listed[path] or [t for t in targets if t.folder == owner(path)]
        return mine or [t for t in targets if within(path, t.folder)]

    for path in (p for p in tree if p.endswith(CPP)):
        mine = targets_of(path)
        deps = {d for t in mine for d in t.deps} | {t.folder for t in mine if t.kind == "library"}
        for match in INCLUDE.finditer(tree[path]):
            header, line = match[1], tree[path].count("\n", 0, match.start()) + 1
            of = owner(re.sub(r"(\.grpc)?\.pb\.h$", ".proto", header))
            is_mine = of is None and any(within(header, t.folder) for t in mine)
            if header.split("/")[0] in tops and of not in deps and not is_mine:
                yield Finding("include", path, 1, f"{path}:{line}: {header} is of {of}, "
                              "which is not among the DEPS")


def check_dead(tree, targets, reached):
    listed = {f for t in targets for f in t.files}
    included = {m[1] for p in tree if p.endswith(CPP) for m in INCLUDE.finditer(tree[p])}
    for path in tree:
        if path.endswith((".cc", ".cu", ".proto")) and path not in listed:
            yield Finding("dead", path, 1, f"{path}: no CMakeLists.txt lists it")
        if path.endswith((".h", ".cuh")) and path not in listed | included:
            yield Finding("dead", path, 1, f"{path}: nobody includes or lists it")
        folder, name = posixpath.split(path)
        if name == "CMakeLists.txt" and folder not in reached:
            yield Finding("dead", path, 1, f"{path}: no add_subdirectory reaches it")


TYPE = re.compile(r"(?:(?:inline|static|typedef)\s+)*(namespace|class|struct|union|enum)\b")


def cpp_functions(text):
    """(name, line, length) of each function; length is counted as clang-tidy does, } less {."""
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: "\n" * m[0].count("\n"),
                  strip_cpp(text), flags=re.M)
    start, after_function, at, name = 0, False, 0, ""
    while match := re.compile(r"[{};]").search(code, at):
        at = match.end()
        if match[0] != "{":
            start, after_function = at, False
            continue
        head = function_head(code[start:match.start()])
        is_table = head.endswith("=")
        # In "C() : a_{1}, b_{2} {" each brace but the last holds a member's value.
        in_members = after_function and head[:1] in ("", ",")
        after_function = not is_table and not TYPE.match(head) and ("(" in head or in_members)
        if is_table or after_function:
            depth = 1
            while depth and (brace := re.compile(r"[{}]").search(code, at)):
                depth += 1 if brace[0] == "{" else -1
                at = brace.end()
        if after_function:
            name = name if in_members else function_name(head)
            yield (name, code.count("\n", 0, match.start()) + 1,
                   code.count("\n", match.start(), at))
        start = at


def function_head(head):
    """What stands before a brace, without labels, attributes and template<...>."""
    head = re.sub(r"\b(public|private|protected)\s*:(?!:)|\[\[.*?\]\]|__attribute__\s*\(\(.*?\)\)"
                  r"|__launch_bounds__\s*\([^)]*\)|alignas\s*\([^)]*\)", "", head).strip()
    while opening := re.match(r"template\s*<", head):
        depth, at = 1, opening.end()
        while depth and at < len(head):
            depth += {"<": 1, ">": -1}.get(head[at], 0)
            at += 1
        head = head[at:].strip()
    return head


def function_name(head):
    if test := re.match(r"\w*TEST\w*\(([^)]*)\)", head):
        return re.sub(r"\s", "", test[1]).replace(",", ".")
    name = re.search(r"([~\w:]+|operator\W+?)\s*\(", head)
    return re.sub(r"\s", "", name[1]) if name else "(unnamed)"


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno - node.lineno


def check_functions(tree):
    kinds = {".py": python_functions, **dict.fromkeys(CPP, cpp_functions)}
    for path, text in tree.items():
        limit = MAX_KERNEL_FUNCTION if within(path, "kernels") else MAX_FUNCTION
        for name, line, length in kinds.get(posixpath.splitext(path)[1], lambda _: ())(text):
            if length > limit:
                yield Finding("function-lines", f"{path}:{name}", length,
                              f"{path}:{line}: {name} has {length} lines; the limit is {limit}")


def check_sizes(tree):
    lines = {p: text.count("\n") for p, text in tree.items() if p.endswith(CODE)}
    for path, count in lines.items():
        if count > MAX_FILE:
            yield Finding("file-lines", path, count,
                          f"{path}: {count} lines; the limit is {MAX_FILE}")
    ordered = sorted(lines.values()) or [0]
    for rule, share, limit in (("file-p90", 0.9, MAX_P90), ("file-median", 0.5, MAX_MEDIAN)):
        value = ordered[int(share * (len(ordered) - 1))]
        if value > limit:
            yield Finding(rule, ".", value, f"{rule} is {value} lines; the limit is {limit}")
    test_files = {p for p in lines if within(p, "tests") or p.endswith("_test.rs")}
    tests = sum(lines[p] for p in test_files)
    source = sum(n for p, n in lines.items() if longest(p, LAYERS) and p not in test_files)
    missing = int(TEST_SHARE * source) - tests
    if missing > 0:
        yield Finding("test-lines", ".", missing, f"{missing} test lines are missing: {tests} of "
                      f"{TEST_SHARE} x {source} source lines")


def read_banned(path):
    """[(is_code, globs, regex, reason)] of banned.txt, whose columns are parted by tabs."""
    rows = [row.split("\t") for row in read_rows(path)]
    return [(kind == "code", tuple(globs.split()), re.compile(regex), reason)
            for kind, globs, regex, reason in rows]


def in_scope(path, globs):
    said = [g[:1] != "!" for g in globs if fnmatch.fnmatchcase(path, g.lstrip("!"))]
    return bool(said) and all(said)


def check_banned(tree, rules):
    for path, text in tree.items():
        if within(path, "tests/tidy"):
            continue  # the rules and their tests name what they forbid
        forms = (text, strip_cpp(text) if path.endswith(CPP) else text)
        for is_code, globs, regex, reason in rules:
            if in_scope(path, globs):
                for number, line in enumerate(forms[is_code].split("\n"), 1):
                    if found := regex.search(line):
                        yield Finding("banned", path, 1,
                                      f"{path}:{number}: '{found[0].strip()}': {reason}")


def check_layout(tree):
    for path, text in tree.items():
        is_makefile = posixpath.basename(path) == "Makefile"
        for number, line in enumerate(text.split("\n"), 1):
            for is_bad, fault in (
                    (len(line) > MAX_COLUMNS and not path.endswith(".md"), f"{len(line)} columns"),
                    (line != line.rstrip(), "trailing space"),
                    ("\t" in line and not is_makefile, "tab")):
                if is_bad:
                    yield Finding("layout", path, 1, f"{path}:{number}: {fault}")
        if text and (not text.endswith("\n") or text.endswith("\n\n")):
            yield Finding("layout", path, 1, f"{path}: must end with one newline")
        if path.endswith((".h", ".cuh")) and "\n#pragma once\n" not in "\n" + text:
            yield Finding("layout", path, 1, f"{path}: no #pragma once")


def check_readmes(tree):
    folders = {posixpath.dirname(p) for p in tree}
    for folder in sorted({posixpath.dirname(p) for p in tree if p.endswith(CODE)} - {""}):
        mirrored = within(folder, "tests") and folder != "tests" and folder[6:] in folders
        # A crate's src/ and a proto package's path belong to the folder above.
        home = re.sub(r"/src(/.*)?$", "", re.sub(r"^proto/.*", "proto", folder))
        if not mirrored and home + "/README.md" not in tree:
            yield Finding("readme", folder, 1, f"{home}: no README.md")


def all_findings(root):
    tree = read_tree(root)
    targets, reached = read_targets(tree)
    yield from check_layers(tree, targets)
    yield from check_includes(tree, targets)
    yield from check_dead(tree, targets, reached)
    yield from check_functions(tree)
    yield from check_sizes(tree)
    yield from check_banned(tree, read_banned(os.path.join(root, BANNED)))
    yield from check_layout(tree)
    yield from check_readmes(tree)


def numbers_of(findings):
    numbers = collections.Counter()
    for f in findings:
        at = f.rule, f.key
        numbers[at] = max(numbers[at], f.number) if f.rule in MEASURES else numbers[at] + f.number
    return numbers


def read_rows(path):
    with open(path, encoding="utf-8") as f:
        return [line for line in f.read().splitlines() if line and not line.startswith("#")]


def read_ratchet(path):
    return {tuple(row.split()[:2]): int(row.split()[2]) for row in read_rows(path)}


def write_ratchet(path, numbers):
    with open(path, "r+", encoding="utf-8") as f:
        header = [line for line in f if line.startswith("#")]
        f.seek(0)
        f.writelines(header + [f"{at[0]} {at[1]} {n}\n" for at, n in sorted(numbers.items())])
        f.truncate()


def problems_of(findings, numbers, ratchet):
    for f in findings:
        if numbers[f.rule, f.key] > ratchet.get((f.rule, f.key), 0):
            yield f"[{f.rule}] {f.message}"
    for at, old in sorted(ratchet.items()):
        if numbers[at] < old:
            yield f"[ratchet] {at[0]} {at[1]} fell from {old} to {numbers[at]}: run --update"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), "..", ".."))
    parser.add_argument("--update", action="store_true")
    args = parser.parse_args()
    path = os.path.join(args.root, RATCHET)
    findings = list(all_findings(args.root))
    numbers, ratchet = numbers_of(findings), read_ratchet(path)
    if args.update:
        ratchet = {at: min(n, numbers[at]) for at, n in ratchet.items() if numbers[at]}
        write_ratchet(path, ratchet)
    problems = list(problems_of(findings, numbers, ratchet))
    print("\n".join(problems + [f"tidy: {len(problems)} problems, {len(ratchet)} on the ratchet"]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
