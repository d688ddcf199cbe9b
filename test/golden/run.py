#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Golden cases of the decision engine.

Each mutate/CASE/input.json is decided by the program `decide`; what comes out - the answer with its
patch decoded, and what the patch makes of the pod - must equal mutate/CASE/expected.json. Every patch
is applied by an RFC 6902 of our own, and the patched pod is sent through again: nothing may be left
to do. `--update` writes the expected files instead (tools/update-golden).
"""
import argparse
import base64
import copy
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ENOUGH = 40  # fewer cases mean that the folder was not found whole


def walk(document, pointer):
    """The parent of what a JSON Pointer (RFC 6901) names, and the last token."""
    tokens = [t.replace("~1", "/").replace("~0", "~") for t in pointer.split("/")[1:]]
    for token in tokens[:-1]:
        document = document[int(token)] if isinstance(document, list) else document[token]
    return document, tokens[-1]


def insert(document, pointer, value):
    parent, last = walk(document, pointer)
    if isinstance(parent, list):
        at = len(parent) if last == "-" else int(last)
        if not 0 <= at <= len(parent):
            raise ValueError(f"{pointer}: no such place in a list of {len(parent)}")
        parent.insert(at, value)
    else:
        parent[last] = value


def remove(document, pointer):
    parent, last = walk(document, pointer)
    return parent.pop(int(last) if isinstance(parent, list) else last)


def apply_patch(document, patch):
    """RFC 6902, as far as the webhook uses it; anything amiss raises."""
    result = copy.deepcopy(document)
    for op in patch:
        if op["op"] == "add":
            insert(result, op["path"], copy.deepcopy(op["value"]))
        elif op["op"] == "replace":
            remove(result, op["path"])
            insert(result, op["path"], copy.deepcopy(op["value"]))
        elif op["op"] == "move":
            insert(result, op["path"], remove(result, op["from"]))
        else:
            raise ValueError(f"unexpected operation {op['op']}")
    return result


def changes(before, after):
    """The members of metadata and spec that a patch has changed, whole."""
    return {part: {key: value for key, value in after.get(part, {}).items()
                   if before.get(part, {}).get(key) != value} for part in ("metadata", "spec")}


def decode(decided):
    """Replaces the answer's base64 patch by what it says."""
    response = (decided.get("answer") or {}).get("response", {})
    if "patch" in response:
        response["patch"] = json.loads(base64.b64decode(response["patch"], validate=True))
    return response.get("patch")


def decide(program, case):
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(case, file)
        file.flush()
        done = subprocess.run([program, file.name], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise ValueError(f"decide ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def check_answer(decided, case):
    """What holds for every answer, whatever the case."""
    if decided["code"] != 0:
        assert decided["error"] and decided["answer"] is None
        return
    answer = decided["answer"]
    response = answer["response"]
    assert answer["apiVersion"] == "admission.k8s.io/v1" and answer["kind"] == "AdmissionReview"
    uid = case["uid"] if "body" in case else case["review"]["request"]["uid"]
    assert response["uid"] == uid, "another uid"
    for warning in response.get("warnings", []):
        assert len(warning.encode()) <= 256, f"a warning of {len(warning.encode())} bytes"
    if not response["allowed"]:
        assert response["status"]["code"] == 403 and response["status"]["message"]
        assert "patch" not in response
    if "patch" in response:
        assert response["patchType"] == "JSONPatch"


def check_again(program, case, pod):
    """The patched pod, as the API server sends it in a reinvocation, needs nothing more."""
    again = copy.deepcopy(case)
    again["review"]["request"]["object"] = pod
    decided = decide(program, again)
    patch = decode(decided)
    assert decided["outcome"] == "unchanged" and patch is None, \
        f"not idempotent: {decided['outcome']} {patch} {json.dumps(decided['answer'])}"


def run_case(program, folder):
    case = json.loads((folder / "input.json").read_text(encoding="utf-8"))
    decided = decide(program, case)
    patch = decode(decided)
    check_answer(decided, case)
    result = {"about": case["about"], **decided}
    if patch is not None:
        before = case["review"]["request"]["object"]
        pod = apply_patch(before, patch)
        check_again(program, case, pod)
        result["changed"] = changes(before, pod)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("case", nargs="*")
    args = parser.parse_args()
    folders = sorted(f.parent for f in HERE.glob("mutate/*/input.json"))
    folders = [f for f in folders if not args.case or f.name in args.case]
    failed = 0
    for folder in folders:
        expected = folder / "expected.json"
        try:
            text = json.dumps(run_case(args.program, folder), indent=2, ensure_ascii=False) + "\n"
            if args.update:
                expected.write_text(text, encoding="utf-8")
            elif text != expected.read_text(encoding="utf-8"):
                raise AssertionError(f"differs from expected.json:\n{text}")
        except (AssertionError, ValueError, KeyError, IndexError, OSError) as problem:
            failed += 1
            print(f"FAIL {folder.name}: {problem}")
    print(f"{len(folders)} cases, {failed} failed")
    return 1 if failed or (not args.case and len(folders) < ENOUGH) else 0


if __name__ == "__main__":
    sys.exit(main())
