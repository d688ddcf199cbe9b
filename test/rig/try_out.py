# SPDX-License-Identifier: Apache-2.0
"""What `make cluster` leaves to be tried: a protected Deployment, and three commands. The tests of the
cluster run the very same ones."""

import json
import os

from cluster import APP_IMAGE, APPS, Cluster

WEB = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
    "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
        "metadata": {"labels": {"app": "web"}, "annotations": {
            "cloudtaser.io/inject": "true", "cloudtaser.io/vault-ca-configmap": "vault-ca"}},
        "spec": {"terminationGracePeriodSeconds": 5, "containers": [{
            "name": "app", "image": APP_IMAGE, "command": ["/app", "--stay", "PGPASSWORD"],
            "env": [{"name": "PGPASSWORD", "value": "vault:secret/data/db#password"}]}]}}}}

# What it shows, the command.
COMMANDS = (
    ("the score, and that the app has its password (the hash of it)",
     "kubectl logs deploy/web -c app"),
    ("what anybody who may exec finds: no password",
     "kubectl exec deploy/web -c app -- sh -c 'cat /proc/[0-9]*/environ' | tr '\\0' '\\n'"),
    ("a pod that asks for more points than this node gives is refused",
     "kubectl create -f demanding.yaml"),
)


def write_files(folder):
    """The files that the commands name; JSON, which is YAML."""
    pod = json.loads(json.dumps(WEB["spec"]["template"]))
    pod.update(apiVersion="v1", kind="Pod")
    pod["metadata"]["name"] = "demanding"
    pod["metadata"]["annotations"]["cloudtaser.io/min-protection-score"] = "70"
    (folder / "demanding.yaml").write_text(json.dumps(pod, indent=2) + "\n")


def shell_environment(cluster: Cluster):
    """For a shell in which kubectl and helm work as they are."""
    cluster.api.kubectl("config", "set-context", "--current", f"--namespace={APPS}")
    return {**os.environ, "KUBECONFIG": str(cluster.api.kubeconfig),
            "PATH": f"{cluster.binaries}:{os.environ['PATH']}"}
