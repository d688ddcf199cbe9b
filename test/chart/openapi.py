# SPDX-License-Identifier: Apache-2.0
"""JSON schemas for kubeconform, made from what the API server itself publishes."""

import copy
import json
import re


def _strict(schema):
    """A field that nobody declared is wrong."""
    if isinstance(schema, dict):
        if "properties" in schema and "additionalProperties" not in schema:
            schema["additionalProperties"] = False
        for each in schema.values():
            _strict(each)
    elif isinstance(schema, list):
        for each in schema:
            _strict(each)


def _needed(name, definitions, found):
    """The definitions that one refers to, itself included."""
    if name not in found:
        found[name] = definitions[name]
        for other in re.findall(r'"#/definitions/([^"]+)"', json.dumps(definitions[name])):
            _needed(other, definitions, found)
    return found


def write_schemas(cluster, folder):
    """One file for each kind, KIND[-GROUP]-VERSION.json as kubeconform asks for it; returns the folder."""
    folder.mkdir(exist_ok=True)
    definitions = copy.deepcopy(cluster.api("GET", "/openapi/v2")["definitions"])
    for name, schema in definitions.items():
        # Swagger 2 cannot say it.
        if name.endswith((".intstr.IntOrString", ".resource.Quantity")):
            schema.clear()
            schema["type"] = ["string", "integer", "number"]
        elif name.endswith((".apiextensions.v1.JSON", ".pkg.runtime.RawExtension")):
            schema.clear()
    _strict(definitions)
    for name, schema in definitions.items():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            group = [kind["group"].split(".")[0]] if kind["group"] else []
            path = folder / ("-".join([kind["kind"].lower(), *group, kind["version"]]) + ".json")
            if not path.exists():
                path.write_text(json.dumps({"$ref": f"#/definitions/{name}",
                                            "definitions": _needed(name, definitions, {})}))
    return folder
