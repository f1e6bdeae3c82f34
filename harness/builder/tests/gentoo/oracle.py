# SPDX-License-Identifier: Apache-2.0
"""Answers questions with Portage: each line of input is a JSON object, each line of output its answer.

{"ask": "versions", "pairs": [[left, right], ..]}     -> [-1 | 0 | 1 | null, ..]
{"ask": "atoms", "texts": [..]}                       -> [fields | null, ..]
{"ask": "matches", "pairs": [[atom, cpv:slot], ..]}   -> [true | false, ..]
{"ask": "dependencies", "texts": [[text, flags], ..]} -> [text | null, ..]
{"ask": "resolve", "binhost": DIR, "database": DIR, "provided": [..], "atoms": [..], "host": DIR | absent}
                                                      -> {"status", "merge", "uninstall", "output"}
    With "host", the packages are merged into another root, as `build_sysext` does, and "host" is the
    database of the system that merges; "merge" has the packages of the root only.
"""
import io
import json
import os
import re
import sys
import tempfile

import portage
import portage.dep
import portage.versions


def versions(question):
    def sign(left, right):
        order = portage.versions.vercmp(left, right)
        return None if order is None else (order > 0) - (order < 0)

    return [sign(*pair) for pair in question["pairs"]]


def read_atom(text):
    try:
        atom = portage.dep.Atom(text, allow_repo=True, eapi="8")
    except portage.exception.InvalidAtom:
        return None
    return {
        "name": atom.cp,
        "operator": atom.operator,
        "version": atom.version,
        "slot": atom.slot,
        "sub_slot": atom.sub_slot,
        "slot_operator": atom.slot_operator,
        "repository": atom.repo,
        "blocker": (1 + atom.blocker.overlap.forbid) if atom.blocker else 0,
        "flags": list(atom.use.tokens) if atom.use else [],
    }


def atoms(question):
    return [read_atom(text) for text in question["texts"]]


def matches(question):
    return [bool(portage.dep.match_from_list(atom, [cpv])) for atom, cpv in question["pairs"]]


def write(item):
    """Portage's own output of nested lists is not always a valid dependency."""
    if not isinstance(item, list):
        return "|| ( !x? ( x? ( a/b ) ) )" if str(item) == "__const__/empty-any-of" else str(item)
    operator, items = ("|| ", item[1:]) if item[:1] == ["||"] else ("", item)
    return f"{operator}( {' '.join(map(write, items))} )"


def reduce(text, flags):
    try:
        items = portage.dep.use_reduce(
            text, uselist=flags, is_valid_flag=lambda flag: True, opconvert=True,
            token_class=portage.dep.Atom, eapi="8",
        )
        return " ".join(map(write, items))
    except portage.exception.InvalidDependString:
        return None


def dependencies(question):
    return [reduce(*pair) for pair in question["texts"]]


def link(target, path):
    if os.path.lexists(path):
        os.unlink(path)
    os.symlink(target, path)


def resolve(question):
    os.makedirs("/var/db", exist_ok=True)
    if os.path.isdir("/var/db/pkg") and not os.path.islink("/var/db/pkg"):
        os.rmdir("/var/db/pkg")
    host = question.get("host")
    link(host or question["database"], "/var/db/pkg")
    roots = []
    if host:
        root = tempfile.mkdtemp()
        os.makedirs(f"{root}/var/db")
        link(question["database"], f"{root}/var/db/pkg")
        roots = [f"--root={root}", f"--sysroot={root}", "--config-root=/"]
    os.makedirs("/etc/portage/profile", exist_ok=True)
    with open("/etc/portage/profile/package.provided", "w", encoding="utf-8") as file:
        file.write("".join(f"{cpv}\n" for cpv in question["provided"]))
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            status = 70
            try:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                os.environ["PKGDIR"] = question["binhost"]
                from _emerge.main import emerge_main

                options = ["--usepkgonly", "--pretend", "--verbose", "--oneshot", "--color=n", "--nospinner"]
                status = emerge_main(args=[*options, *roots, *question["atoms"]])
            except SystemExit as end:
                status = end.code
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status if isinstance(status, int) else 1)
        _, ended = os.waitpid(child, 0)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    plan = re.findall(r"^\[(binary|ebuild|uninstall|blocks)\s*([^]]*)\]\s+(\S+)(.*)", text, re.MULTILINE)
    # `app-misc/foo-2::loadgauge [1::loadgauge] to /tmp/x/ USE=...`
    plan = [line[:3] for line in plan if not host or line[0] == "uninstall" or " to " in line[3]]
    return {
        "status": os.waitstatus_to_exitcode(ended),
        # NAME-VERSION-BUILD:SLOT::REPOSITORY
        "merge": [re.sub("-1$", "", cpv.split(":")[0]) for kind, _, cpv in plan if kind in ("binary", "ebuild")],
        "uninstall": [cpv.split(":")[0] for kind, _, cpv in plan if kind == "uninstall"],
        "output": text,
    }


ANSWERS = {
    "versions": versions, "atoms": atoms, "matches": matches, "dependencies": dependencies, "resolve": resolve,
}


def main():
    import _emerge.main  # noqa: F401  before the first question, so that every child inherits it
    import _emerge.actions, _emerge.depgraph, _emerge.create_depgraph_params  # noqa: F401, E401

    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(ANSWERS[question["ask"]](question)), flush=True)


if __name__ == "__main__":
    main()
