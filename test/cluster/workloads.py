# SPDX-License-Identifier: Apache-2.0
"""The objects that the tests create: what a developer would write, and no more."""

from cluster import APP_IMAGE

PREFIX = "cloudtaser.io/"
REFERENCE = "vault:secret/data/db#password"
# What Pod Security `restricted` asks for.
RESTRICTED_POD = {"runAsNonRoot": True, "runAsUser": 1000,
                  "seccompProfile": {"type": "RuntimeDefault"}}
RESTRICTED_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def container(*command, name="app", value=REFERENCE, **more):
    return {"name": name, "image": APP_IMAGE, "command": list(command),
            "env": [{"name": "PGPASSWORD", "value": value}], **more}


def staying(**more):
    return container("/app", "--stay", "PGPASSWORD", **more)


def ending(**more):
    return container("/app", "PGPASSWORD", **more)


def template(name, containers=None, inject=True, annotations=None, **spec):
    """A pod template labelled app=NAME. Pods of the tests are gone at once when deleted."""
    every = {"inject": "true", "vault-ca-configmap": "vault-ca"} if inject else {}
    every.update(annotations or {})
    return {"metadata": {"labels": {"app": name},
                         "annotations": {PREFIX + key: value for key, value in every.items()}},
            "spec": {"containers": containers or [staying()], "terminationGracePeriodSeconds": 5,
                     **spec}}


def pod(name, *arguments, **more):
    made = template(name, *arguments, **more)
    made["metadata"]["name"] = name
    return {"apiVersion": "v1", "kind": "Pod", **made}


def root_on_the_node(name):
    """A pod that sees and may end every process of the node."""
    return pod(name, [{"name": "app", "image": APP_IMAGE, "command": ["sleep", "3600"],
                       "securityContext": {"privileged": True}}], inject=False, hostPID=True)


def _controlled(kind, name, made, **spec):
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
            "spec": {"selector": {"matchLabels": {"app": name}}, "template": made, **spec}}


def deployment(name, replicas=1, **more):
    return _controlled("Deployment", name, template(name, **more), replicas=replicas)


def stateful_set(name, **more):
    return _controlled("StatefulSet", name, template(name, **more), serviceName=name)


def _job(name, **more):
    return {"backoffLimit": 0,
            "template": template(name, **{"containers": [ending()], "restartPolicy": "Never", **more})}


def job(name, **more):
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": _job(name, **more)}


def cron_job(name, **more):
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name},
            "spec": {"schedule": "* * * * *", "concurrencyPolicy": "Forbid",
                     "jobTemplate": {"spec": _job(name, **more)}}}
