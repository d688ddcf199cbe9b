# SPDX-License-Identifier: Apache-2.0
"""What the benchmark sends: AdmissionReviews of a Deployment's pod as kube-apiserver writes them, and
the list of nodes that they are decided by."""

import json

ACCOUNT = "kube-api-access-x7x2b"
OPT_IN = {
    "inject": "true",
    "vault-address": "https://vault.example.com:8200",
    "vault-role": "web",
    "secret-paths": "secret/data/db",
    "env-map": "password=PGPASSWORD,username=PGUSER",
}


def environment():
    yield {"name": "API_KEY", "value": "vault:secret/data/api#key#2"}
    yield {"name": "DSN", "value": "postgres://u:${vault:secret/data/db#password}@db/x"}
    yield {"name": "LOG_LEVEL", "value": "info"}
    yield {"name": "NODE",
           "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}


def container(name):
    probe = {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}}
    probe.update(timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    return {
        "name": name,
        "image": "registry.example.com/team/app:1.4.2",
        "command": ["/app/server"],
        "args": ["--port", "8080"],
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "env": list(environment()),
        "resources": {"limits": {"cpu": "500m", "memory": "256Mi"},
                      "requests": {"cpu": "100m", "memory": "128Mi"}},
        "volumeMounts": [{"name": ACCOUNT, "readOnly": True,
                          "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
        "livenessProbe": probe,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                            "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]},
                            "seccompProfile": {"type": "RuntimeDefault"}},
    }


def managed_fields(annotations, names):
    """What the API server keeps about who set which field: a good part of a real request."""
    def fields(keys):
        return {f"f:{key}": {} for key in keys}
    owned = fields(("args", "command", "env", "image", "imagePullPolicy", "livenessProbe", "name",
                    "ports", "resources", "securityContext"))
    metadata = {"f:annotations": {".": {}, **fields(annotations)}, "f:generateName": {},
                "f:labels": {".": {}, **fields(("app", "pod-template-hash"))}}
    spec = {"f:containers": {f'k:{{"name":"{name}"}}': {".": {}, **owned} for name in names},
            **fields(("restartPolicy", "serviceAccountName"))}
    return [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
             "time": "2026-08-20T10:00:00Z", "fieldsType": "FieldsV1",
             "fieldsV1": {"f:metadata": metadata, "f:spec": spec}}]


def account_volume():
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace",
                                    "fieldRef": {"apiVersion": "v1",
                                                 "fieldPath": "metadata.namespace"}}]}},
    ]
    return {"name": ACCOUNT, "projected": {"defaultMode": 420, "sources": sources}}


def pod(opted_in, containers):
    names = [f"app{i}" for i in range(containers)]
    annotations = {f"cloudtaser.io/{k}": v for k, v in OPT_IN.items()} if opted_in else {}
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6d4cf56db6",
             "uid": "0f1a2b3c-0000-4000-8000-000000000001", "controller": True,
             "blockOwnerDeletion": True}
    tolerations = [{"key": f"node.kubernetes.io/{state}", "operator": "Exists",
                    "effect": "NoExecute", "tolerationSeconds": 300}
                   for state in ("not-ready", "unreachable")]
    return {
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"generateName": "web-6d4cf56db6-", "namespace": "shop",
                     "annotations": annotations,
                     "labels": {"app": "web", "pod-template-hash": "6d4cf56db6"},
                     "ownerReferences": [owner],
                     "managedFields": managed_fields(annotations, names)},
        "spec": {"volumes": [account_volume()], "containers": [container(n) for n in names],
                 "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
                 "dnsPolicy": "ClusterFirst", "serviceAccountName": "web", "serviceAccount": "web",
                 "securityContext": {}, "schedulerName": "default-scheduler", "priority": 0,
                 "enableServiceLinks": True, "preemptionPolicy": "PreemptLowerPriority",
                 "tolerations": tolerations},
        "status": {},
    }


def review(opted_in=True, containers=1):
    """One AdmissionReview of a pod's CREATE."""
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    resource = {"group": "", "version": "v1", "resource": "pods"}
    user = {"username": "system:serviceaccount:kube-system:replicaset-controller",
            "groups": ["system:serviceaccounts", "system:authenticated"]}
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
        "namespace": "shop", "operation": "CREATE", "userInfo": user,
        "object": pod(opted_in, containers), "oldObject": None, "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}}}


def node(name, kernel="6.1.0-18-amd64", labels=None):
    images = [{"names": [f"registry.example.com/team/image{i}@sha256:{i:064x}",
                         f"registry.example.com/team/image{i}:1.{i}"], "sizeBytes": 5000000 + i}
              for i in range(20)]
    return {"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name,
                                                  "kubernetes.io/os": "linux", **(labels or {})}},
            "spec": {"podCIDR": "10.0.0.0/24"},
            "status": {"capacity": {"cpu": "8", "memory": "32Gi", "pods": "110"},
                       "conditions": [{"type": "Ready", "status": "True"}], "images": images,
                       "nodeInfo": {"kernelVersion": kernel, "architecture": "amd64",
                                    "operatingSystem": "linux"}}}


def nodes(count):
    """What `kubectl get nodes -o json` prints."""
    return {"apiVersion": "v1", "kind": "List",
            "items": [node(f"node-{i}", "6.12.0" if i % 2 else "6.1.0") for i in range(count)]}


def write(folder):
    """The bodies one.json, ten.json and skip.json, and nodes.json, into a pathlib folder."""
    documents = {"one": review(), "ten": review(containers=10), "skip": review(opted_in=False),
                 "nodes": nodes(50)}
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document, separators=(",", ":")))
