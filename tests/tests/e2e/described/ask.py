"""Asks a daemon for all that its description has, by schemathesis: what fits, and what nearly does.

Nothing may be answered by 500, nor with no word at all, and each refusal is a sentence. What would reach the
machine that the daemon runs on is taken out of every request before it goes.

    ask.py SOCKET DESCRIPTION SECONDS SEED
"""

import http.client
import json
import random
import re
import socket
import sys
import time

import hypothesis
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode

SOCKET, DESCRIPTION, SECONDS, SEED = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])

# How long the beginning of an answer may take.
PATIENCE = 60
# How long more of it is waited for, and how much of it: some have no end.
MORE_SECONDS = 0.2
MORE_BYTES = 1 << 20
# Of one operation in one go.
EXAMPLES = 6

# Of what an engine has that is in no swarm there is not much to ask.
NOT_HERE = {"Swarm", "Node", "Service", "Task", "Secret", "Config", "Plugin"}

# Keys of bodies, in lower case, that reach beyond a container.
DANGEROUS = {
    "privileged", "capadd", "devices", "devicerequests", "devicecgrouprules", "securityopt", "sysctls", "cgroupparent",
    "cgroup", "maskedpaths", "readonlypaths", "oomscoreadj", "driveropts", "driverconfig", "pidmode", "ipcmode",
    "utsmode", "usernsmode", "cgroupnsmode", "networkmode", "logconfig", "runtime", "groupadd", "options",
}
# Where a path of the host's would be mounted from.
SOURCES = {"binds", "source", "volumesfrom"}
# Waited for by the daemon.
WAITS = {"stoptimeout", "t", "timeout"}


# What a field may well be: of a body in which all is at random, nothing but the first wrong field is looked at.
SENSIBLE = {
    "Hostname": "h", "Domainname": "d", "User": "0:0", "ExposedPorts": {"80/tcp": {}}, "Env": ["A=b"], "Entrypoint": None,
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000}, "Volumes": {"/v": {}}, "WorkingDir": "/tmp/x",
    "StopSignal": "SIGTERM", "Shell": ["sh", "-c"], "Labels": {"a": "b"}, "MacAddress": "",
    "NetworkingConfig": {"EndpointsConfig": {"bridge": {}}},
    "HostConfig": {
        "Binds": ["vol:/data"], "Mounts": [{"Type": "volume", "Source": "vol", "Target": "/data"}], "Memory": 1 << 26,
        "PortBindings": {"80/tcp": [{"HostPort": "0"}]}, "RestartPolicy": {"Name": "on-failure"}, "Dns": ["127.0.0.1"],
        "ExtraHosts": ["a:127.0.0.1"], "Tmpfs": {"/t": "size=1m"}, "ShmSize": 1 << 20, "ConsoleSize": [1, 2],
        "Ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 64}], "CpuShares": 2, "PidsLimit": 64, "CapDrop": ["ALL"],
        "CpusetCpus": "0", "Isolation": "", "VolumeDriver": "", "VolumesFrom": ["two"], "Links": [], "MemorySwap": -1,
        "ContainerIDFile": "", "BlkioWeight": 0, "NanoCpus": 0, "CpuPeriod": 0, "CpuQuota": 0, "MemorySwappiness": None,
        "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0, "CpusetMems": "", "MemoryReservation": 0, "KernelMemory": 0,
        "BlkioWeightDevice": [], "BlkioDeviceReadBps": [], "BlkioDeviceWriteBps": [], "BlkioDeviceReadIOps": [],
        "BlkioDeviceWriteIOps": [], "DnsOptions": [], "DnsSearch": [], "StorageOpt": None, "Annotations": {},
        "KernelMemoryTCP": 0, "DnsOptions": ["ndots:1"],
    },
}


def sensible(body, random, share, known=SENSIBLE):
    """The same with a share of its fields as they are, and the others as they may well be, or not there."""
    made = {}
    for key, value in body.items():
        if isinstance(known.get(key), dict) and key == "HostConfig" and isinstance(value, dict):
            made[key] = sensible(value, random, share, SENSIBLE[key])
        elif random.random() < share:
            made[key] = value
        elif key in known and random.random() < 0.7:
            made[key] = known[key]
    return made


def folded(key):
    """As the daemon matches names of fields, and wider."""
    return str(key).replace("\u017f", "s").replace("\u212a", "k").lower().strip()


def is_hosts(value):
    """Whether a mount's source may be a path of the host."""
    text = value if isinstance(value, str) else json.dumps(value)
    return any(c in text for c in "/\\.~") or len(text) == 0


def harmless(value):
    if isinstance(value, list):
        return [harmless(v) for v in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, inner in value.items():
        name = folded(key)
        if name in DANGEROUS or name in SOURCES and is_hosts(inner):
            continue
        if name in WAITS and not isinstance(inner, str):
            inner = 1
        kept[key] = harmless(inner)
    return kept


class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(SOCKET)
        self.kept = self.sock


class Answer:
    def __init__(self, status, kind, body):
        self.status, self.kind, self.body = status, kind, body

    def json(self):
        return json.loads(self.body)


def ask(method, path, body=None, headers=None):
    connection = Unix("d", timeout=PATIENCE)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        whole = response.getheader("Content-Length") is not None
        text = b""
        if not whole:
            # Its own handle is gone where the answer ends with the connection.
            connection.kept.settimeout(MORE_SECONDS)
        end = time.monotonic() + MORE_SECONDS
        try:
            while len(text) < MORE_BYTES and (whole or time.monotonic() < end):
                piece = response.read1(65536)
                if not piece:
                    break
                text += piece
        except TimeoutError:
            pass
        return Answer(response.status, response.getheader("Content-Type") or "", text)
    finally:
        connection.close()


def post(path, body=None):
    text = None if body is None else json.dumps(body)
    return ask("POST", path, text, {"Content-Type": "application/json"})


class Things:
    """What is there to be asked for."""

    exec = "nosuch"

    def restore(self):
        if ask("GET", "/images/busybox/json").status != 200:
            post("/images/create?fromImage=busybox&tag=latest")
        for name in ("one", "two"):
            body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "StopTimeout": 1}
            post(f"/containers/create?name={name}", body)
        post("/containers/one/unpause")
        post("/containers/one/start")
        post("/volumes/create", {"Name": "vol"})
        made = post("/containers/one/exec", {"Cmd": ["true"], "AttachStdout": True})
        if made.status == 201:
            self.exec = made.json()["Id"]

    def clear(self, problems):
        for container in ask("GET", "/containers/json?all=1").json():
            if "/one" not in container["Names"] and "/two" not in container["Names"]:
                path = f"/containers/{container['Id']}?force=1&v=1"
                answer = ask("DELETE", path)
                if answer.status not in (204, 404, 409):
                    problems.add("DELETE", path, answer, None)

    def name(self, tag, random):
        return {
            "Container": random.choice(["one", "one", "two"]),
            "Exec": self.exec if random.random() < 0.7 else "one",
            "Image": "busybox",
            "Distribution": "127.0.0.1:5000/library/busybox",
            "Volume": "vol",
            "Network": random.choice(["bridge", "host", "none"]),
        }.get(tag, "one")


class Problems:
    def __init__(self):
        self.seen = {}

    def add(self, method, path, answer, body):
        said = answer if isinstance(answer, str) else f"{answer.status}: {answer.body[:600].decode(errors='replace')}"
        # One of a kind is enough.
        kind = (method, path.split("?")[0].count("/"), re.sub(r"[^a-z ]", "", said.split("message", 1)[-1][:90]))
        if kind not in self.seen:
            self.seen[kind] = f"{method} {path}\n  {said}\n  body: {str(body)[:2000]}"
            print(self.seen[kind], flush=True)


def judge(problems, method, path, body, headers):
    try:
        answer = ask(method, path, body, headers)
    except TimeoutError:
        return problems.add(method, path, "no answer", body)
    except http.client.HTTPException as e:
        return problems.add(method, path, f"no answer: {e!r}", body)
    except ConnectionResetError:
        # It did not want all of the body, and said why to nobody.
        return problems.add(method, path, "the connection was reset", body)
    # No swarm here, and what is not here at all. A registry that can't be reached is nobody's fault.
    unreachable = answer.status == 500 and any(words in answer.body for words in UNREACHABLE)
    if answer.status >= 500 and answer.status not in (501, 503) and not unreachable:
        return problems.add(method, path, answer, body)
    if answer.status >= 400 and method != "HEAD":
        try:
            if answer.json()["message"]:
                return answer.status
        except (ValueError, KeyError, TypeError):
            pass
        return problems.add(method, path, answer, body)
    if method == "POST" and answer.status == 201 and path.split("?")[0].endswith("/containers/create"):
        lives(problems, answer.json()["Id"], body)
    return answer.status


def lives(problems, id, body):
    """What could be made is started, used and removed."""
    for method, path, text in [
        ("POST", f"/containers/{id}/start", None),
        ("GET", f"/containers/{id}/json", None),
        ("POST", f"/containers/{id}/exec", '{"Cmd": ["true"]}'),
        ("DELETE", f"/containers/{id}?force=1&v=1", None),
    ]:
        answer = ask(method, path, text, {"Content-Type": "application/json"})
        if answer.status >= 500:
            problems.add(method, path, answer, body)


@schemathesis.serializer("application/x-tar")
def tar(_context, value):
    return getattr(value, "data", value)


UNREACHABLE = [b"dial tcp", b"no connections available"]
FILTERS = ['{"label":["a=b"]}', '{"name":{"o.*":true},"status":["running"]}', '{"dangling":["true"]}', '{"until":["1h"]}']


def request_of(case, tag, things, random, base):
    for key in list(case.path_parameters or {}):
        if key in ("id", "name") and random.random() < 0.75:
            case.path_parameters[key] = things.name(tag, random)
    query = case.query or {}
    for key in list(query):
        if folded(key) in WAITS:
            query[key] = 1
    if "filters" in query and random.random() < 0.5:
        query["filters"] = random.choice(FILTERS)
    if "fromSrc" in query and random.random() < 0.9:
        query["fromSrc"] = "-"
    if "container" in query and random.random() < 0.9:
        query["container"] = "two"
    if isinstance(case.body, (dict, list)):
        case.body = harmless(case.body)
    if isinstance(case.body, dict) and case.operation.path == "/containers/create" and random.random() < 0.9:
        share = random.choice([0.02, 0.05, 0.1, 0.3])
        case.body = {**sensible(case.body, random, share), "Image": "busybox", "Cmd": ["sleep", "1"]}
        if random.random() < 0.8:
            for key in ("platform", "name"):
                query.pop(key, None)
    if isinstance(case.body, (dict, list)) and random.random() < 0.95:
        case.media_type = "application/json"
    try:
        kwargs = case.as_transport_kwargs(base_url=base)
    except schemathesis.errors.SerializationNotPossible:
        return None
    kwargs = {k: kwargs[k] for k in ("method", "url", "headers", "params", "json", "data") if k in kwargs}
    prepared = requests.Request(**kwargs).prepare()
    headers = {k: v for k, v in prepared.headers.items() if k.lower() not in ("content-length", "user-agent")}
    return prepared.method, prepared.path_url, prepared.body, headers


def main():
    raw = yaml.safe_load(open(DESCRIPTION))
    schema = schemathesis.openapi.from_dict(raw)
    operations = [result.ok() for result in schema.get_all_operations()]
    base = "http://d" + raw["basePath"].rstrip("/")
    things, problems, asked, statuses = Things(), Problems(), 0, {}
    end = time.monotonic() + SECONDS
    turn = 0
    while time.monotonic() < end:
        chance = random.Random(SEED * 1000 + turn)
        # Each turn in another order, so that one operation meets what others have left.
        for operation in chance.sample(operations, len(operations)):
            if time.monotonic() >= end:
                break
            tag = (operation.definition.raw.get("tags") or [""])[0]
            if tag in NOT_HERE and chance.random() < 0.9:
                continue
            things.restore()
            mode = GenerationMode.NEGATIVE if chance.random() < 0.3 else GenerationMode.POSITIVE
            requested = []

            @hypothesis.seed(SEED * 1000 + turn)
            @hypothesis.settings(
                max_examples=EXAMPLES, database=None, deadline=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck), print_blob=False,
            )
            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            def each(case):
                made = request_of(case, tag, things, chance, base)
                if made is not None:
                    requested.append(made)

            try:
                each()
            except Exception as e:
                # Where nothing can be made wrong, nothing is.
                if "Unsatisfiable" not in repr(type(e)) and "NoExamples" not in repr(e):
                    print(f"{operation.label}: {e!r}"[:300], flush=True)
            for method, path, body, headers in requested:
                try:
                    status = judge(problems, method, path, body, headers)
                except (ConnectionRefusedError, FileNotFoundError) as e:
                    problems.add(method, path, f"the daemon is gone: {e}", body)
                    return report(problems, asked, statuses)
                statuses[status] = statuses.get(status, 0) + 1
                asked += 1
        things.clear(problems)
        turn += 1
    report(problems, asked, statuses)


def report(problems, asked, statuses):
    counts = ", ".join(f"{n} of {status}" for status, n in sorted(statuses.items(), key=str))
    print(f"{asked} requests: {counts}")
    if problems.seen:
        print(f"{len(problems.seen)} wrong")
        sys.exit(1)


main()
