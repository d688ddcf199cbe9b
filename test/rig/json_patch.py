# SPDX-License-Identifier: Apache-2.0
"""JSON Patch (RFC 6902) as an API server applies it: add, remove, replace, test, copy, move."""

import copy


class PatchError(Exception):
    """An operation that cannot be applied."""


def _tokens(pointer):
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise PatchError("%r is no JSON pointer" % pointer)
    return [t.replace("~1", "/").replace("~0", "~") for t in pointer[1:].split("/")]


def _index(token, items, extra):
    if token == "-" and extra:
        return len(items)
    if not token.isdigit() or (len(token) > 1 and token[0] == "0"):
        raise PatchError("%r is no index" % token)
    if int(token) >= len(items) + extra:
        raise PatchError("index %s is past the end" % token)
    return int(token)


def _step(node, token):
    if isinstance(node, list):
        return node[_index(token, node, 0)]
    if isinstance(node, dict) and token in node:
        return node[token]
    raise PatchError("there is no %r" % token)


def _get(document, pointer):
    for token in _tokens(pointer):
        document = _step(document, token)
    return document


def _add(document, pointer, value):
    tokens = _tokens(pointer)
    if not tokens:
        return value
    parent = document
    for token in tokens[:-1]:
        parent = _step(parent, token)
    if isinstance(parent, list):
        parent.insert(_index(tokens[-1], parent, 1), value)
    elif isinstance(parent, dict):
        parent[tokens[-1]] = value
    else:
        raise PatchError("%s: its parent holds nothing" % pointer)
    return document


def _remove(document, pointer):
    tokens = _tokens(pointer)
    parent = document
    for token in tokens[:-1]:
        parent = _step(parent, token)
    _step(parent, tokens[-1])
    del parent[_index(tokens[-1], parent, 0) if isinstance(parent, list) else tokens[-1]]
    return document


def _replace(document, pointer, value):
    if pointer == "":
        return value
    # In place: removing and adding would move a key to its object's end.
    tokens = _tokens(pointer)
    parent = _get(document, pointer[:pointer.rindex("/")])
    _step(parent, tokens[-1])
    parent[_index(tokens[-1], parent, 0) if isinstance(parent, list) else tokens[-1]] = value
    return document


def apply(document, operations):
    """A new document; PatchError names the operation that failed."""
    document = copy.deepcopy(document)
    for number, one in enumerate(copy.deepcopy(operations)):
        try:
            document = _apply_one(document, one)
        except (PatchError, KeyError) as error:
            raise PatchError("operation %d (%s %s): %s"
                             % (number, one.get("op"), one.get("path"), error)) from None
    return document


def _apply_one(document, one):
    kind = one["op"]
    if kind == "add":
        return _add(document, one["path"], one["value"])
    if kind == "replace":
        return _replace(document, one["path"], one["value"])
    if kind == "remove":
        return _remove(document, one["path"])
    if kind in ("copy", "move"):
        value = copy.deepcopy(_get(document, one["from"]))
        if kind == "move":
            document = _remove(document, one["from"])
        return _add(document, one["path"], value)
    if kind == "test":
        if _get(document, one["path"]) != one["value"]:
            raise PatchError("the value is another one")
        return document
    raise PatchError("this operation is not known")
