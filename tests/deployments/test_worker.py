"""The forking worker against a real Prefect server: how runs begin, and the ways in which they end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.states import Cancelling, Completed, Running

from deployments.blueprint import SET_DIRECTORY
from deployments.forking import ForkingWorker, module_entrypoint
from deployments.nursery import Nursery
from deployments.worker import PRELOAD

REPOSITORY = Path(__file__).resolve().parents[2]
STANDIN = Path(__file__).resolve().parent / "standin"
SECRET = ("pulsar", "a secret of the tests")
PATIENCE = 60.0
WORKER = """
import asyncio, sys
from pathlib import Path
from deployments.nursery import Nursery
from deployments.worker import work
root, log = map(Path, sys.argv[1:3])
asyncio.run(work(Nursery(root=root, preload=("prefect.flow_engine", "standin"), log=log), grace=float(sys.argv[3])))
"""


def until(truth: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Wait for something to be true, and give it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := truth():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not true within {seconds} s")


def is_alive(pid: int) -> bool:
    """Whether this process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def nurseries_of(worker_pid: int) -> list[int]:
    children = Path(f"/proc/{worker_pid}/task/{worker_pid}/children").read_text().split()
    return [int(pid) for pid in children if "deployments.cradle" in command_line(int(pid))]


@dataclass
class Server:
    """A Prefect server, and a deployment of the stand-in on its pool `pulsar`."""

    client: httpx.Client
    env: dict[str, str]
    home: Path
    deployment: str = ""

    def post(self, path: str, body: object) -> Any:
        """Send it, again while the server's database is busy with its start."""
        answer = until(lambda: (a := self.client.post(path, json=body)).status_code != 503 and a)
        return answer.raise_for_status().json()

    def ask(self, deed: str) -> Run:
        diary = self.home / f"{uuid.uuid4().hex}.diary"
        parameters = {"diary": str(diary), "deed": deed}
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return Run(self, self.post(f"/deployments/{self.deployment}/create_flow_run", body)["id"], diary)


@dataclass
class Run:
    """A flow run of the stand-in."""

    server: Server
    id: str
    diary: Path

    def about(self) -> dict[str, Any]:
        """What the run wrote of itself, once it runs."""
        until(self.diary.exists)
        found: dict[str, Any] = json.loads(self.diary.read_text())
        return found

    def state(self) -> str:
        answer = self.server.client.get(f"/flow_runs/{self.id}").raise_for_status().json()
        return str(answer["state"]["name"])

    def ends(self) -> str:
        return str(until(lambda: (s := self.state()) in {"Completed", "Failed", "Crashed", "Cancelled"} and s))

    def cancel(self) -> None:
        state = {"type": "CANCELLING", "name": "Cancelling"}
        self.server.post(f"/flow_runs/{self.id}/set_state", {"state": state})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("prefect")
    (temporary := home / "tmp").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    env = kept | {
        "PREFECT_HOME": str(home),
        "TMPDIR": str(temporary),  # a worker that is killed leaves its runner's directory
        "PREFECT_API_URL": url,
        "PREFECT_API_AUTH_STRING": ":".join(SECRET),
        "PREFECT_SERVER_API_AUTH_STRING": ":".join(SECRET),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("wb") as log, httpx.Client(base_url=url, auth=SECRET, timeout=30) as client:
        process = subprocess.Popen(command, env=env, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            found = Server(client, env, home)
            until(lambda: answers(client), 120)
            found.post("/work_pools/", {"name": "pulsar", "type": "process"})
            found.deployment = deploy(found)
            yield found
        finally:
            process.terminate()
            process.wait(30)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def deploy(server: Server) -> str:
    flow = server.post("/flows/", {"name": "standin"})
    body = {
        "name": "pulsar",
        "flow_id": flow["id"],
        "entrypoint": "standin.py:standin",
        "work_pool_name": "pulsar",
        "pull_steps": [{SET_DIRECTORY: {"directory": str(STANDIN)}}],
        "job_variables": {"stream_output": False},
    }
    return str(server.post("/deployments/", body)["id"])


@pytest.fixture
def grace(request: pytest.FixtureRequest) -> float:
    """What runs get to end when the worker is stopped, in seconds."""
    return float(getattr(request, "param", 0))


@pytest.fixture
def worker(server: Server, grace: float) -> Iterator[subprocess.Popen[bytes]]:
    log = server.home / "worker.log"
    command = [sys.executable, "-c", WORKER, str(STANDIN), str(server.home / "runs.log"), str(grace)]
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=server.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.platform
def test_a_run_is_forked_from_the_nursery_as_a_process_of_its_own(
    server: Server, worker: subprocess.Popen[bytes]
) -> None:
    run = server.ask("end")
    about = run.about()
    assert "deployments.cradle" in command_line(about["parent"])
    assert about["session"] == about["pid"]
    assert about["run"] == run.id
    assert about["api"] == server.env["PREFECT_API_URL"]
    assert about["stdin"] == "/dev/null"
    assert about["stdout"] == str(server.home / "runs.log")
    assert about["cwd"] == str(STANDIN)
    assert run.ends() == "Completed"


@pytest.mark.platform
def test_a_cancel_leaves_no_process_and_runs_the_hook(server: Server, worker: subprocess.Popen[bytes]) -> None:
    run = server.ask("stubborn")
    about = run.about()
    assert is_alive(about["child"])
    until(lambda: run.state() == "Running")
    run.cancel()
    assert run.ends() == "Cancelled"
    assert not is_alive(about["pid"])
    assert not is_alive(about["child"])
    assert run.diary.with_suffix(".cancelled").exists()


@pytest.mark.platform
def test_a_killed_run_is_reported_as_crashed_and_leaves_no_child(
    server: Server, worker: subprocess.Popen[bytes]
) -> None:
    run = server.ask("stubborn")
    about = run.about()
    os.kill(about["pid"], signal.SIGKILL)
    assert run.ends() == "Crashed"
    until(lambda: not is_alive(about["child"]))
    assert server.ask("end").ends() == "Completed"


@pytest.mark.platform
def test_a_stopped_worker_stops_and_reports_its_runs(server: Server, worker: subprocess.Popen[bytes]) -> None:
    runs = [server.ask("sleep"), server.ask("stubborn")]
    about = [run.about() for run in runs]
    worker.terminate()
    assert worker.wait(30) == 0
    assert not any(is_alive(process["pid"]) or is_alive(process["parent"]) for process in about)
    assert not is_alive(about[1]["child"])
    assert [run.state() for run in runs] == ["Crashed", "Crashed"]


@pytest.mark.platform
@pytest.mark.parametrize("grace", [8], indirect=True)
def test_runs_get_a_grace_when_their_worker_is_stopped(
    server: Server, worker: subprocess.Popen[bytes], grace: float
) -> None:
    quick, slow = runs = [server.ask("sleep"), server.ask("stubborn")]
    for run in runs:
        run.about()
    worker.terminate()
    begun = time.monotonic()
    for run in runs:
        until(run.diary.with_suffix(".winding").exists)
    quick.diary.with_suffix(".go").touch()
    assert quick.ends() == "Completed"
    assert is_alive(slow.about()["pid"])
    assert worker.wait(40) == 0
    assert time.monotonic() - begun >= grace
    assert slow.state() == "Crashed"
    assert not is_alive(slow.about()["child"])


@pytest.mark.platform
@pytest.mark.parametrize(
    ("grace", "signals"),
    [(600, [signal.SIGTERM, signal.SIGTERM]), (600, [signal.SIGTERM, signal.SIGINT]), (600, [signal.SIGINT])],
    indirect=["grace"],
)
def test_a_second_signal_or_a_ctrl_c_ends_the_grace(
    server: Server, worker: subprocess.Popen[bytes], signals: list[signal.Signals]
) -> None:
    run = server.ask("sleep")
    pid = run.about()["pid"]
    winding = run.diary.with_suffix(".winding")
    *first, last = signals
    for number in first:
        worker.send_signal(number)
        until(winding.exists)
    worker.send_signal(last)
    assert worker.wait(40) == 0
    assert winding.exists() == bool(first)
    assert not is_alive(pid)
    assert run.state() == "Crashed"


@pytest.mark.platform
def test_a_killed_worker_leaves_its_run_to_end_well_and_nothing_idle(
    server: Server, worker: subprocess.Popen[bytes]
) -> None:
    run = server.ask("sleep")
    about = run.about()
    worker.kill()
    until(lambda: not is_alive(about["parent"]))
    assert is_alive(about["pid"])
    run.diary.with_suffix(".go").touch()
    assert run.ends() == "Completed"
    until(lambda: not is_alive(about["pid"]))


@pytest.mark.platform
def test_a_lost_nursery_crashes_its_runs_and_is_replaced(server: Server, worker: subprocess.Popen[bytes]) -> None:
    run = server.ask("sleep")
    about = run.about()
    [nursery] = nurseries_of(worker.pid)
    os.kill(nursery, signal.SIGKILL)
    assert run.ends() == "Crashed"
    until(lambda: not is_alive(about["pid"]))
    assert server.ask("end").ends() == "Completed"
    assert nurseries_of(worker.pid) != [nursery]


async def test_the_nursery_forks_from_a_single_thread(tmp_path: Path) -> None:
    nursery = Nursery(root=REPOSITORY, preload=PRELOAD, log=tmp_path / "log")
    nursery.start()
    try:
        await asyncio.wait_for(nursery.ready(), PATIENCE)
        [pid] = nurseries_of(os.getpid())
        assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
        assert (tmp_path / "log").read_text() == "", "an import failed"
    finally:
        nursery.close()


class PrefectOfOneRun:
    """A client that knows one run, in a given state; and the starter that would run its hooks."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.hooks = 0

    async def read_flow_run(self, flow_run_id: uuid.UUID) -> FlowRun:
        return FlowRun(id=flow_run_id, flow_id=flow_run_id, state=self.state)

    async def set_flow_run_state(self, flow_run_id: uuid.UUID, state: State, force: bool) -> None:
        self.state = state

    async def run_cancellation_hooks(self, flow_run: FlowRun, state: State) -> None:
        self.hooks += 1


@pytest.mark.parametrize(
    ("before", "after", "hooks"), [(Cancelling(), StateType.CANCELLED, 1), (Completed(), StateType.COMPLETED, 0)]
)
async def test_a_run_that_ended_before_its_cancel_was_seen_is_cancelled(
    tmp_path: Path, before: State, after: StateType, hooks: int
) -> None:
    nursery = Nursery(root=STANDIN, preload=(), log=tmp_path / "log")
    worker = ForkingWorker("pulsar", nursery=nursery, on_ready=lambda: None)
    prefect = PrefectOfOneRun(before)
    worker._client = cast(Any, prefect)
    run = FlowRun(id=uuid.uuid4(), flow_id=uuid.uuid4(), state=Running())
    await worker._conclude_cancel(run, cast(Any, prefect))
    assert prefect.state.type is after
    assert prefect.hooks == hooks


def deployment_of(**fields: Any) -> DeploymentResponse:
    return DeploymentResponse.model_construct(**({"entrypoint": "standin.py:standin", "pull_steps": None} | fields))


def steps(directory: Path) -> list[dict[str, Any]]:
    return [{SET_DIRECTORY: {"directory": str(directory)}}]


def test_only_code_under_the_root_is_forked() -> None:
    assert module_entrypoint(deployment_of(pull_steps=steps(STANDIN)), STANDIN) == "standin.standin"
    nested = deployment_of(entrypoint="standin/standin.py:standin", pull_steps=steps(STANDIN.parent))
    assert module_entrypoint(nested, STANDIN.parent) == "standin.standin.standin"


@pytest.mark.parametrize(
    "deployment",
    [
        deployment_of(),
        deployment_of(pull_steps=steps(STANDIN.parent)),
        deployment_of(pull_steps=[{"prefect.deployments.steps.git_clone": {"repository": "x"}}]),
        deployment_of(pull_steps=steps(STANDIN) + steps(STANDIN)),
        deployment_of(pull_steps=steps(STANDIN), entrypoint="absent.py:standin"),
        deployment_of(pull_steps=steps(STANDIN), entrypoint="../test_worker.py:until"),
        deployment_of(pull_steps=steps(STANDIN), entrypoint=None),
        None,
    ],
)
def test_all_else_is_left_to_prefect(deployment: DeploymentResponse | None) -> None:
    assert module_entrypoint(deployment, STANDIN) is None
