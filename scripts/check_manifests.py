#!/usr/bin/env python3
"""Reads all YAML and JSON below the given directory, and checks what a typo would break silently:
selectors that select nothing, volumes that are not there, settings and metrics nobody knows."""

import json
import pathlib
import re
import sys

import yaml

METRICS = {
    "evergreen_persist_pending",
    "evergreen_host_breaker_open",
    "evergreen_clock_skew_seconds",
    "evergreen_reconcile_repairs_total",
    "evergreen_fire_lateness_seconds",
    "evergreen_fire_lateness_seconds_bucket",
    "evergreen_refresh_outcomes_total",
    "evergreen_webhook_deliveries_total",
    "evergreen_webhook_events",
    "evergreen_webhook_oldest_undelivered_seconds",
}
# The environment that the program documents.
SETTINGS = {
    "EVERGREEN_" + name
    for name in """REDIS_URL SEAL_KEYS SEAL_KEYS_FILE API_KEYS_FILE JOURNAL_DIR NINJAONE_CLIENT_ID
    NINJAONE_CLIENT_SECRET NINJAONE_CLIENT_SECRET_FILE NINJAONE_HOSTS REFRESH_BUFFER
    REFRESH_MIN_DELAY LEASE TOKEN_TIMEOUT PARTITIONS REPLICAS SHUTDOWN_GRACE RETENTION PUBLIC_URL
    REDIRECT_URI WEBHOOK_URL WEBHOOK_SECRET WEBHOOK_SECRET_FILE LISTEN LOG LOG_FORMAT""".split()
}


def workload(document):
    """Complaints about one StatefulSet or Deployment."""
    spec = document["spec"]
    pod = spec["template"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    if not spec["selector"]["matchLabels"].items() <= labels.items():
        yield "its selector does not select its own pods"
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
    for container in pod["containers"]:
        ports = {port["name"] for port in container["ports"]}
        for mount in container["volumeMounts"]:
            if mount["name"] not in volumes:
                yield f"no volume {mount['name']}"
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if container[probe]["httpGet"]["port"] not in ports:
                yield f"{probe} asks a port that is not there"


def kubernetes(documents):
    """Complaints about all manifests together."""
    kinds = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    pods = [
        document["spec"]["template"]["metadata"]["labels"]
        for (kind, _), document in kinds.items()
        if kind == "StatefulSet"
    ]
    for (kind, name), document in kinds.items():
        complaints = []
        if kind == "StatefulSet":
            complaints += workload(document)
            if ("Service", document["spec"]["serviceName"]) not in kinds:
                complaints.append("its service is missing")
        if kind == "Service":
            selector = document["spec"]["selector"].items()
            if not any(selector <= labels.items() for labels in pods):
                complaints.append("it selects no pods")
        if kind in ("ConfigMap", "Secret"):
            settings = document.get("data", {}) | document.get("stringData", {})
            complaints += [f"unknown setting {name}" for name in settings.keys() - SETTINGS]
        for complaint in complaints:
            yield f"{kind} {name}: {complaint}"


def dashboard(text):
    """Complaints about a Grafana dashboard."""
    panels = json.loads(text)["panels"]
    for panel in panels:
        for target in panel["targets"]:
            for metric in re.findall(r"\bevergreen_\w+", target["expr"]):
                if metric not in METRICS:
                    yield f"panel {panel['title']!r}: unknown metric {metric}"
    if len({panel["id"] for panel in panels}) != len(panels):
        yield "two panels have one id"


def main():
    complaints = []
    manifests = []
    for path in sorted(pathlib.Path(sys.argv[1]).rglob("*")):
        if path.suffix in (".yaml", ".yml"):
            manifests += [d for d in yaml.safe_load_all(path.read_text()) if "metadata" in d]
        elif path.suffix == ".json":
            complaints += [f"{path}: {complaint}" for complaint in dashboard(path.read_text())]
    complaints += kubernetes(manifests)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    sys.exit(bool(complaints))


if __name__ == "__main__":
    main()
