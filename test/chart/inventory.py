# SPDX-License-Identifier: Apache-2.0
"""All that a cluster holds."""

# What comes and goes by itself.
PASSING = {"events", "leases", "endpoints", "endpointslices", "componentstatuses"}


def _group_versions(cluster):
    yield "/api/v1"
    for group in cluster.api("GET", "/apis")["groups"]:
        yield f"/apis/{group['preferredVersion']['groupVersion']}"


def inventory(cluster):
    """{(group and version, resource, namespace, name)} of every object that can be listed."""
    found = set()
    for base in _group_versions(cluster):
        for resource in cluster.api("GET", base)["resources"]:
            name = resource["name"]
            if "list" not in resource["verbs"] or "/" in name or name in PASSING:
                continue
            for item in cluster.api("GET", f"{base}/{name}")["items"] or ():
                meta = item["metadata"]
                found.add((base, name, meta.get("namespace", ""), meta["name"]))
    return found
