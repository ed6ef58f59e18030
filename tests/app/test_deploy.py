"""`compose.yaml` and `deploy/kubernetes`: whole files, whose parts fit each other and the image."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from app.settings import Settings
from scripts import proxies, serve
from tests.app.servers import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
OWN_SECRET = "secret.yaml"  # of a host, ignored by git
MANIFESTS = [path for path in sorted(KUBERNETES.glob("*.yaml*")) if path.name != OWN_SECRET]
OF_SERVE = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b(?= \()", serve.__doc__ or ""))
OF_LIBPQ = {"PGPASSWORD"}
IMAGE = re.compile(r"(\$\{[A-Z_]+:-)?[a-z0-9-]+(:[a-z0-9.-]+)?\}?")
"""A name without the host of a registry."""


def known_variables() -> set[str]:
    own = {
        str(field.validation_alias or f"ACADEMY_{name.upper()}")
        for name, field in Settings.model_fields.items()
    }
    return own | OF_SERVE | OF_LIBPQ


def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text("utf-8").split("\nFROM ")[-1]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    return parsed


@pytest.fixture(scope="module")
def objects() -> dict[str, dict[str, Any]]:
    """The manifests by kind."""
    found = [one for path in MANIFESTS for one in yaml.safe_load_all(path.read_text("utf-8"))]
    by_kind = {one["kind"]: one for one in found}
    assert len(by_kind) == len(found)
    return by_kind


# --- the image ----------------------------------------------------------------------------------------------


def test_the_image_has_a_volume_for_classes_that_its_user_may_write() -> None:
    last_stage = dockerfile()
    (user,) = re.findall(r"^USER (\d+:\d+)$", last_stage, re.MULTILINE)
    (volume,) = re.findall(r"^VOLUME (\S+)$", last_stage, re.MULTILINE)
    assert f"ACADEMY_DATA_DIR={volume}" in last_stage
    own = last_stage.index(f"COPY --from=lesson --chown={user} {volume} {volume}\n")
    assert own < last_stage.index("\nVOLUME ")  # later changes of a volume's folder would be lost


# --- compose.yaml -------------------------------------------------------------------------------------------


def test_compose_has_two_equal_applications_a_database_and_a_proxy(compose: dict[str, Any]) -> None:
    services = compose["services"]
    lessons = [name for name in services if name.startswith("lesson")]
    assert len(lessons) == 2
    assert services[lessons[0]] == services[lessons[1]]
    assert {*services} - {*lessons} == {"database", "proxy"}
    port = re.findall(r"^EXPOSE (\d+)$", dockerfile(), re.MULTILINE)[0]
    assert services["proxy"]["environment"]["LESSON"].split() == [f"{name}:{port}" for name in lessons]
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert services[lessons[0]]["environment"]["ACADEMY_HOSTS"] == str(len(lessons))
    assert "HEALTHCHECK" in dockerfile()
    assert services["database"]["healthcheck"]["test"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, (name, other)
            assert other in services
    assert not {"front"} & {*services["database"]["networks"]}
    assert not {"back"} & {*services["proxy"]["networks"]}


def test_compose_names_known_variables_and_holds_no_secret(compose: dict[str, Any]) -> None:
    lesson = compose["services"]["lesson-1"]["environment"]
    assert {*lesson} <= known_variables()
    for service in compose["services"].values():
        assert IMAGE.fullmatch(service["image"]), service["image"]
        for name, value in service["environment"].items():
            if re.search("PASSWORD|KEY", name):
                assert re.fullmatch(r"\$\{\w+:\?.+\}", value), name  # required, and from outside
    assert "@database/" in lesson["DATABASE_URL"]
    database = compose["services"]["database"]["environment"]
    assert (
        lesson["DATABASE_URL"]
        == f"postgresql://{database['POSTGRES_USER']}@database/{database['POSTGRES_DB']}"
    )
    said = (ROOT / "compose.yaml").read_text("utf-8")
    needed = {*re.findall(r"\$\{(\w+):\?", said)}
    assert needed == {*re.findall(r"^#   (\w+)=", said, re.MULTILINE)}  # what its first lines tell to set
    assert ".env" in (ROOT / ".gitignore").read_text("utf-8").splitlines()


def test_volumes_and_networks_of_compose_exist(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert {*service["networks"]} <= {*compose["networks"]}
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).is_file() if source.startswith(".") else source in compose["volumes"]


def test_caddy_takes_the_file_with_the_addresses_of_compose(compose: dict[str, Any], tmp_path: Path) -> None:
    caddy = proxies.find("caddy")
    if caddy is None:
        pytest.skip("NOT TESTED: caddy is missing")
    asked = {"SITE": "lesson.example", "LESSON": compose["services"]["proxy"]["environment"]["LESSON"]}
    file = str(ROOT / "deploy" / "Caddyfile")
    done = subprocess.run(
        [caddy, "adapt", "--adapter", "caddyfile", "--config", file, "--validate"],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin", **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for address in asked["LESSON"].split():
        assert f'"dial":"{address}"' in done.stdout


def test_docker_takes_the_compose_file() -> None:
    docker = shutil.which("docker")
    if (
        not docker
        or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("NOT TESTED WITH DOCKER: docker compose is missing")
    values = dict.fromkeys(("SITE", "POSTGRES_PASSWORD", "ACADEMY_CLASS_KEY", "ACADEMY_CODE_KEY"), "value")
    command = [docker, "compose", "--file", str(ROOT / "compose.yaml"), "config", "--quiet"]
    done = subprocess.run(
        command, env={"PATH": "/usr/bin", **values}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# --- Kubernetes ---------------------------------------------------------------------------------------------


def test_manifests_are_of_the_current_versions_and_have_names(objects: dict[str, dict[str, Any]]) -> None:
    assert {kind: one["apiVersion"] for kind, one in objects.items()} == {
        "Deployment": "apps/v1",
        "Service": "v1",
        "Secret": "v1",
        "PodDisruptionBudget": "policy/v1",
        "Ingress": "networking.k8s.io/v1",
        "NetworkPolicy": "networking.k8s.io/v1",
    }
    assert {one["metadata"]["name"] for one in objects.values()} == {"lesson"}


def test_manifests_select_the_pods_and_their_port(objects: dict[str, dict[str, Any]]) -> None:
    deployment = objects["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["replicas"] == 2
    assert deployment["selector"]["matchLabels"] == labels
    assert objects["Service"]["spec"]["selector"] == labels
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    (container,) = deployment["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in dockerfile()
    (served,) = objects["Service"]["spec"]["ports"]
    assert served["targetPort"] == port["name"]
    assert objects["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"] == port["name"]
    rule = objects["Ingress"]["spec"]["rules"][0]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": "lesson", "port": {"name": served["name"]}}
    assert rule["host"] in objects["Ingress"]["spec"]["tls"][0]["hosts"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == port["name"]
        assert container[probe]["httpGet"]["path"] in ("/healthz", "/readyz")


def test_pods_run_as_the_image_s_user_and_write_only_to_their_volumes(
    objects: dict[str, dict[str, Any]],
) -> None:
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert IMAGE.fullmatch(container["image"])
    assert (
        f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}\n" in dockerfile()
    )
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {mount["name"] for mount in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    (data,) = [mount for mount in container["volumeMounts"] if mount["mountPath"] == "/data"]
    assert data["readOnly"] is True  # what a pod stored there would be lost with it
    # The server finishes its responses for 9 s after the end of preStop.
    assert pod["terminationGracePeriodSeconds"] >= 9 + int(
        container["lifecycle"]["preStop"]["exec"]["command"][1]
    )


def test_variables_of_the_pods_are_known_and_their_secrets_elsewhere(
    objects: dict[str, dict[str, Any]],
) -> None:
    deployment = objects["Deployment"]["spec"]
    (container,) = deployment["template"]["spec"]["containers"]
    plain = {one["name"] for one in container["env"]}
    secret = {*objects["Secret"]["stringData"]}
    assert plain | secret <= known_variables()
    assert not plain & secret
    assert secret == {"DATABASE_URL", "ACADEMY_CLASS_KEY", "ACADEMY_CODE_KEY"}
    assert {"name": "ACADEMY_HOSTS", "value": str(deployment["replicas"])} in container["env"]
    assert container["envFrom"] == [{"secretRef": {"name": objects["Secret"]["metadata"]["name"]}}]
    assert f"deploy/kubernetes/{OWN_SECRET}" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
